"""The scripted engine, which answers by a script, with exact timing and chosen faults.

The module `engine` runs it in the gateway's process. The module `server` runs it as a stand-alone server.
"""
