"""The cases of a directory in the form of the JSON Schema test suite: `SUITE=path pytest tests/structure/test_suite.py`.

Each file is a list of `{schema, tests: [{data, valid}]}`; subfolders are read too (https://github.com/json-schema-org/
JSON-Schema-Test-Suite). Give the folder of one draft, such as `tests/draft2020-12`. Skipped without `SUITE`.
"""

import json
import os
import pathlib

import pytest

from tidegate.errors import BadRequest
from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of

SUITE = os.environ.get("SUITE", "")
FILES = sorted(pathlib.Path(SUITE).rglob("*.json")) if SUITE else []
DRAFTS = {
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
}
DRAFTS |= {"draft4": "http://json-schema.org/draft-04/schema#"}
DRAFTS |= {"draft2019-09": "https://json-schema.org/draft/2019-09/schema"}


def with_draft(schema, path):
    draft = next((uri for name, uri in DRAFTS.items() if name in path.parts), None)
    if draft and isinstance(schema, dict) and "$schema" not in schema:
        return {"$schema": draft, **schema}
    return schema


def is_checked(case, path):
    """Formats are on, while the suite has them off outside of `optional/format`."""
    return "format" not in json.dumps(case["schema"]) or "format" in path.parts


@pytest.mark.skipif(not SUITE, reason="SUITE names no directory of a JSON Schema test suite")
@pytest.mark.timeout(600)
def test_the_suite():
    wrong, late, refused, total = [], 0, 0, 0
    for path in FILES:
        for case in filter(lambda case: is_checked(case, path), json.loads(path.read_text())):
            try:
                checker = checker_of(
                    Shape("json_schema", schema=with_draft(case["schema"], path), field="schema")
                )
            except BadRequest as error:
                refused += 1
                print("refused:", path.name, case["description"], error.message)
                continue
            for test in case["tests"]:
                total += 1
                text = json.dumps(test["data"])
                valid = checker.errors(text) == ""
                beginning = checker.begin()
                alive = all(map(beginning.feed, text)) and beginning.feed(" ")
                if valid is not test["valid"] or (test["valid"] and not alive):
                    wrong.append(
                        (path.name, case["description"], test["description"], checker.errors(text), alive)
                    )
                late += alive and not test["valid"] and not checker.unsupported
                if alive and not test["valid"] and not checker.unsupported:
                    print("not stopped:", path.name, case["description"], test["description"])
    print(f"{total} answers, {refused} schemas refused, {late} not stopped on the way, {len(wrong)} wrong")
    assert total
    assert not wrong, wrong[:10]
