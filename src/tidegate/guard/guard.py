"""`Guard`: rails in a program of one's own, without a gateway.

Only what every guard needs is imported with this module. The rails, and what reads their settings, are imported when the
first guard is made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

if TYPE_CHECKING:
    from tidegate.guard.checked import Checked
    from tidegate.guard.lineup import Lineup
    from tidegate.guard.making import Crew, Given
    from tidegate.types import Surface

SurfaceName = Literal["input", "system", "retrieval", "tool", "output"]


class Guard:
    """Rails that check texts in this process. It starts nothing, and holds nothing that has to be closed.

    `rails` are named rails such as `DetectPII()`, settings as in a configuration such as `{"kind": "pii"}`, or rails of
    one's own. `profile` names one that exists without being configured, `rules`, `standard`, `strict` or `moderation`;
    `rails` then come after its own. Rails that ask the detector load its model with the first text, for all guards of the
    process, and keep it.

    Raises ConfigError, with every mistake, for rails that cannot be made. So are those that ask models or services: a
    gateway has them, and `POST /v1/checks`.

    What happens to a text that a rail objects to is its `on_fail`, by a gateway's word or by one that others use:

    - `fix`: the rail's corrected text, or else a mask over the parts found (`redact`)
    - `filter`, `refrain`: the text does not pass (`block`)
    - `exception`: the same, and the check raises `Blocked`
    - `noop`: nothing, but the result says so (`log`)
    - `reask`: the text does not pass, and the result's action is `regenerate`: whoever has a model asks it again
    - `review`: the text does not pass, and the result's action is `review`: no person is there to decide

    Threads may share a guard, and tasks too. Rails of one's own have to allow that; Tidegate's do. Only `use` and
    `use_many` change a guard: checks that run meanwhile go on with the rails that they began with.
    """

    def __init__(self, rails: Iterable[Given] = (), *, profile: str | None = None) -> None:
        self._crew: Crew | None = None
        self._lineup: Lineup | None = None
        rails = list(rails)
        if rails or profile is not None:
            from tidegate.guard.making import crew_of  # noqa: PLC0415 - see the top of the module

            self._take(crew_of(rails, profile))

    @classmethod
    def from_file(cls, path: str | Path, *, profile: str | None = None) -> Self:
        """Return a guard with a profile of a configuration file.

        Without `profile` it is that of the policy `default`, or `rules` if there is no such policy. Raises ConfigError,
        also if that policy has `rails: none`.
        """
        from tidegate.guard.making import crew_of_file  # noqa: PLC0415 - see the top of the module

        made = cls()
        made._take(crew_of_file(Path(path), profile))
        return made

    def use(self, rail: Given, **settings: Any) -> Self:
        """Add one rail, and return the guard. A class of `tidegate.guard` is made with `settings`. Raises ConfigError."""
        return self.use_many(rail(**settings) if isinstance(rail, type) else rail)

    def use_many(self, *rails: Given) -> Self:
        """Add rails, and return the guard. Raises ConfigError; nothing has changed then."""
        from tidegate.guard.making import crew_of  # noqa: PLC0415 - see the top of the module

        self._take(crew_of(rails) if self._crew is None else self._crew.joined_by(rails))
        return self

    def check(
        self, text: str, *, surface: SurfaceName | Surface | None = None, question: str = ""
    ) -> Checked:
        """Check a text.

        Each rail checks the text once. With a `surface`, only the rails that check texts of that surface do. `question` is
        what the text answers, for rails that ask.

        Rails that are not rules run in an event loop of their own, which is closed at the end. Raises Blocked for a rail
        with `on_fail: exception`, TypeError for what is no text, ValueError if no rail checks such texts, and RuntimeError
        if rails would need a loop where one runs already: await `acheck` there.
        """
        lineup, at, text = self._ready(), _surface(surface), _text(text)
        if not lineup.waits(at):
            return lineup.check(text, at, question)
        return _run(lineup.acheck(text, at, question))

    async def acheck(
        self, text: str, *, surface: SurfaceName | Surface | None = None, question: str = ""
    ) -> Checked:
        """Check a text, as `check` does. Other tasks get turns while the rails check a long text."""
        return await self._ready().acheck(_text(text), _surface(surface), question)

    def check_many(
        self, texts: Iterable[str], *, surface: SurfaceName | Surface | None = None, question: str = ""
    ) -> Sequence[Checked]:
        """Check texts, and return the results in their order. Rails that are not rules check them side by side.

        Raises what `check` raises, and TypeError for a single text. Nothing is checked if one of them is no text.
        """
        lineup, at, texts = self._ready(), _surface(surface), _texts(texts)
        if not lineup.waits(at):
            return [lineup.check(text, at, question) for text in texts]
        return _run(lineup.acheck_many(texts, at, question))

    def stream(
        self, source: AsyncIterable[str], *, question: str = "", refusal: Literal["raise", "say"] = "raise"
    ) -> AsyncGenerator[str, None]:
        """Return the clean text of a stream, by the rails that check answers (the surface `output`).

        Rails that find spans hold back what may still become a match. Others judge passages, or the whole text at its end,
        as in a gateway. What is held when the source fails never leaves.

        A rail that stops the text ends the source. Then the stream raises Blocked, or says the profile's refusal and
        ends. Raises ValueError if no rail checks answers.
        """
        if refusal not in ("raise", "say"):
            raise ValueError(f"'refusal' must be 'raise' or 'say', not '{refusal}'")
        return self._ready().stream(source, question, refusal)

    def validate(self, text: str, **more: Any) -> Checked:
        """Check a text, as `check` does: the result has `validated_output` and `validation_passed`."""
        return self.check(text, **more)

    def _take(self, crew: Crew) -> None:
        self._lineup = crew.lineup()
        self._crew = crew

    def _ready(self) -> Lineup:
        if self._lineup is None:
            raise ValueError("this guard has no rails: give a list of them, a profile, or call use_many")
        return self._lineup


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"check takes a text; for several use check_many: got {type(given).__name__}")
    return given


def _texts(given: object) -> Sequence[str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"check_many takes several texts; for one use check: got {type(given).__name__}")
    return [_text_at(at, one) for at, one in enumerate(cast("Iterable[object]", given))]


def _text_at(at: int, given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"check_many takes texts, but texts[{at}] is of type {type(given).__name__}")
    return given


def _surface(given: SurfaceName | Surface | None) -> Surface | None:
    if given is None:
        return None
    from tidegate.types import Surface  # noqa: PLC0415 - see the top of the module

    try:
        return Surface(given)
    except ValueError:
        known = ", ".join(one.value for one in Surface)
        raise ValueError(f"'surface' must be one of {known}, not {given!r}") from None


def _run(work: Any) -> Any:
    import asyncio  # noqa: PLC0415 - see the top of the module

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise RuntimeError("an event loop runs here, and some rails are not rules: await `acheck`")
