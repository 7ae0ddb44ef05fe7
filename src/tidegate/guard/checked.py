"""What a guard says of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tidegate.types import Action, Finding


class Checked(NamedTuple):
    """The result of one check. It is true if the text may be used.

    `passed` says that no rail has stopped the text; it may have been changed. `text` is the validated text: as it was, or
    with the changes of the rails, and empty if it did not pass. `action` is the most severe action, and `rail` the rail
    that took it, for `reason`; both are empty if no rail objected. `findings` has one entry for each rail that has checked
    the text. Nothing but `text` has words of the text.
    """

    passed: bool
    action: Action
    text: str
    findings: tuple[Finding, ...] = ()
    rail: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return self.passed

    @property
    def validated_output(self) -> str | None:
        """The validated text, and None if it did not pass."""
        return self.text if self.passed else None

    @property
    def validation_passed(self) -> bool:
        """Whether the text is valid as `text` has it. A rail that only logs what it found leaves a text that is not."""
        return self.passed and self.action.word != "log"


class Blocked(Exception):
    """A rail has stopped a text. `checked` says which one, and why."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(f"the rail '{checked.rail}' stopped the text: {checked.reason}")
        self.checked = checked
