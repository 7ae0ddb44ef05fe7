"""Tags of deployments, and policies that ask for them: each mistake is told with its place and what to do."""

from __future__ import annotations

import pytest
from config.mistakes import GOOD, problems

from tidegate import config
from tidegate.errors import Problem

TAGGED = GOOD.replace("{engine: near}", "{engine: near, tags: [eu, own]}, {engine: near, tags: [us]}")


@pytest.mark.parametrize("tags", ["[eu]", "[us]", "[own, eu]", "[]"])
def test_tags_that_a_deployment_has_can_be_asked_for(tags: str) -> None:
    config.parse_text(f"{TAGGED}policies: {{near: {{tags: {tags}}}}}\n", source="tidegate.yaml")


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (
            "[ue]",
            "there is no deployment with the tag 'ue'; there are: eu, own, us (see models.NAME.deployments[].tags)",
        ),
        ("[us, eu]", "no deployment has all of the tags eu, us: name fewer, or tag one"),
    ],
)
def test_a_policy_that_no_deployment_can_serve_is_a_mistake(tags: str, told: str) -> None:
    text = f"{TAGGED}policies: {{near: {{tags: {tags}}}}}\n"
    assert problems(text) == [Problem("policies.near.tags", told)]


def test_without_any_tagged_deployment_that_is_told() -> None:
    (problem,) = problems(f"{GOOD}policies: {{near: {{tags: [eu]}}}}\n")
    assert problem.message.startswith("there is no deployment with the tag 'eu'; there are: none")


@pytest.mark.parametrize("tags", ["eu", "[1]", "{eu: 1}", "[[eu]]", "['']"])
@pytest.mark.parametrize("of", ["policies", "models"])
def test_tags_are_a_list_of_names(tags: str, of: str) -> None:
    text = (
        f"{TAGGED}policies: {{near: {{tags: {tags}}}}}\n"
        if of == "policies"
        else GOOD.replace("{engine: near}", f"{{engine: near, tags: {tags}}}")
    )
    place = "policies.near.tags" if of == "policies" else "models.m.deployments[0].tags"
    found = [problem.path for problem in problems(text)]
    assert found
    assert all(path.startswith(place) for path in found)


@pytest.mark.parametrize("typo", ["tag", "tagss"])
def test_a_misspelled_setting_is_told_with_the_right_name(typo: str) -> None:
    (problem,) = problems(GOOD.replace("{engine: near}", f"{{engine: near, {typo}: [eu]}}"))
    assert "'tags'" in problem.message
    (problem,) = problems(f"{TAGGED}policies: {{near: {{{typo}: [eu]}}}}\n")
    assert "'tags'" in problem.message
