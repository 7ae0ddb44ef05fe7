"""The sources of texts. An enum, not behaviour."""

from __future__ import annotations

import enum


class Surface(enum.Enum):
    """The source of a text.

    - `input`: what the client's user wrote, and what earlier answers in the same chat said.
    - `system`: what the application wrote: system and developer messages, and the descriptions of tools.
    - `retrieval`: documents that the application looked up.
    - `tool`: the results of tools.
    - `output`: what the engine wrote, the arguments of tool calls included.
    """

    INPUT = "input"
    SYSTEM = "system"
    RETRIEVAL = "retrieval"
    TOOL = "tool"
    OUTPUT = "output"

    # Enum's own hash is a Python function, which would cost each check a microsecond.
    __hash__ = object.__hash__
