"""The load tester: who is to send what and when, sending it, and what came of it.

`plan` says when, `prompts` what, `client` sends one request and times it, `run` drives the steps, `figures` makes numbers
of the samples, `result` is the file they are kept in, `report` and `compare` show it.
"""
