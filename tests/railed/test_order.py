"""Which rails run, in which order, and what each of them sees."""

from __future__ import annotations

from virtual import run

from railed import made
from railed.world import chat, railed


def seen() -> list[tuple[str, str]]:
    return [(one.rail, one.text) for one in made.seen]


def rule(name: str, finds: str = "bad", **more: object) -> dict[str, object]:
    return {"kind": "rule", "name": name, "finds": finds, **more}


def check(name: str, finds: str = "bad", **more: object) -> dict[str, object]:
    return {"kind": "check", "name": name, "finds": finds, **more}


def test_rails_that_change_texts_run_first_in_the_order_of_the_profile_and_others_see_what_they_made() -> (
    None
):
    async def work() -> None:
        rails = [
            rule("log", "x", on_fail="log"),
            rule("mask", "one", on_fail="redact"),
            rule("fix", "<BAD>", puts="two", on_fail="fix"),
            check("judge", "x", tier=2),
        ]
        async with railed([{**one, "surfaces": ["input"]} for one in rails]) as world:
            await world.ask(chat("one and one"))
            assert seen() == [
                ("mask", "one and one"),
                ("fix", "<BAD> and <BAD>"),
                ("log", "two and two"),
                ("judge", "two and two"),
            ]
            assert world.engine.asked[0].messages[-1]["content"] == "two and two"

    run(work())
