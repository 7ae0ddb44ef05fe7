"""The drill: a gateway in front of three scripted engines, load, and faults at known times, with a verdict at the end.

`plan` says who calls and what happens when. `processes` runs the engines and the gateway, and `run` plays the plan.
`figures` computes the figures of the calls that were seen, `verdict` judges them, and `page` shows the result.
"""
