"""Rails by the names of classes, such as `DetectPII(["EMAIL_ADDRESS"], on_fail="fix")`.

Every kind of rail has a class of its own name: `tidegate.guard.TokenLimit` for `token_limit`. Some kinds have a second one,
whose name and arguments are those that other libraries use. The classes only hold settings: a guard makes the rails, and
what rails need is imported then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.ports import Rule


class NamedRail:
    """The settings of one rail. `kind` is that of the registry."""

    kind = ""

    def __init__(self, *, on_fail: str = "block", **settings: Any) -> None:
        """`on_fail` says what happens to a text that the rail objects to: see `Guard`. The rest are its settings."""
        self.on_fail = on_fail
        self.settings: dict[str, Any] = {"kind": self.kind, **settings}

    def __repr__(self) -> str:
        said = [f"{name}={value!r}" for name, value in self.settings.items() if name != "kind"]
        return f"{type(self).__name__}({', '.join([*said, f'on_fail={self.on_fail!r}'])})"

    def rule(self) -> Rule | None:
        """Return the rail itself if it is of no kind of the registry."""
        return None


class DetectPII(NamedRail):
    """Finds personal data: all kinds, or those that are named, such as `EMAIL_ADDRESS`.

    Whoever names a kind wants to find it, so named kinds also count where only their form speaks for them: 555-0123
    without a word such as 'call' before it.
    """

    kind = "pii"
    chosen_threshold = 0.4
    """The `score_threshold` for kinds that are named. That of the rail is 0.5."""

    def __init__(
        self, entities: Sequence[str] | str | None = None, *, on_fail: str = "block", **settings: Any
    ) -> None:
        if entities is not None and entities != "pii":
            named = [entities] if isinstance(entities, str) else list(entities)
            settings = {"entities": named, "score_threshold": self.chosen_threshold, **settings}
        super().__init__(on_fail=on_fail, **settings)


class SecretsPresent(NamedRail):
    """Finds credentials, such as API keys and private keys."""

    kind = "secrets"


class DetectPromptInjection(NamedRail):
    """Finds texts that try to take over the instructions of a model."""

    kind = "injection"


class DetectJailbreak(DetectPromptInjection):
    """The same under another name that is in use."""


class ToxicLanguage(NamedRail):
    """Finds texts that insult, threaten or demean, by what they mean. With `fix`, toxic sentences are left out.

    `threshold` is the probability from which a text is toxic; without one it is that of the detector.
    """

    kind = "toxicity_detector"

    def __init__(self, threshold: float | None = None, *, on_fail: str = "block", **settings: Any) -> None:
        if threshold is not None:
            channels = ("user", "document", "tool_output", "model_output")
            settings = {"thresholds": dict.fromkeys(channels, threshold), **settings}
        if on_fail == "fix":
            settings = {"hold": "whole", **settings}
        super().__init__(on_fail=on_fail, **settings)


class BanList(NamedRail):
    """Finds words and phrases of your own."""

    kind = "blocklist"

    def __init__(self, banned_words: Sequence[str] = (), *, on_fail: str = "block", **settings: Any) -> None:
        if banned_words:
            settings = {"words": list(banned_words), **settings}
        super().__init__(on_fail=on_fail, **settings)


class RegexMatch(NamedRail):
    """Demands that a text matches a pattern of RE2: as a whole, or with `match_type="search"` somewhere.

    The kind `regex` is for the opposite: it finds what must not be there.
    """

    def __init__(self, regex: str, *, match_type: str = "fullmatch", on_fail: str = "block") -> None:
        """Raises ValueError for a pattern that RE2 does not take, and for another type of match."""
        super().__init__(on_fail=on_fail, name="regex_match")
        self._asked = regex, match_type

    def rule(self) -> Rule:
        from tidegate.guard.demands import Matches  # noqa: PLC0415 - see the top of the module

        return Matches(*self._asked)


class ValidLength(NamedRail):
    """Demands a length from `min` up to `max` characters. `fix` cuts a text that is too long."""

    def __init__(self, min: int = 0, max: int | None = None, *, on_fail: str = "block") -> None:
        super().__init__(on_fail=on_fail, name="valid_length")
        self._asked = min, max

    def rule(self) -> Rule:
        from tidegate.guard.demands import Length  # noqa: PLC0415 - see the top of the module

        return Length(*self._asked)


def class_of(name: str) -> type[NamedRail] | None:
    """Return the class of a name such as `TokenLimit`, which stands for the kind `token_limit`, or None."""
    from tidegate import registry  # noqa: PLC0415 - nobody needs it who imports a guard alone

    for kind in registry.kinds("tidegate.rails"):
        if class_name(kind) == name:
            return type(name, (NamedRail,), {"kind": kind, "__module__": __name__})
    return None


def class_name(kind: str) -> str:
    """Return the name of the class of a kind: `TokenLimit` for `token_limit`."""
    return "".join(part.capitalize() for part in kind.replace("-", "_").split("_"))
