"""Evaluations: how well a part of the gateway decides, measured on labelled data.

Nothing here knows a gateway: what is judged is given as a function.
"""
