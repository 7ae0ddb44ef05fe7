"""The form of an answer: what a request demands, and whether an answer has it. Pure: no I/O and no clock.

`asked` reads the demand in every spelling, `checker` checks an answer while it arrives and at its end, `repair` mends what
can only be meant in one way, and `tools` checks tool calls.
"""
