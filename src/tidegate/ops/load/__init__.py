"""The load tester: it plans requests, sends them, and reports the results.

`plan` decides when requests are sent, and `prompts` what they contain. `client` sends one request and times it. `run`
drives the steps. `figures` computes the figures from the samples, `result` is the file format, and `report` shows a result.
"""
