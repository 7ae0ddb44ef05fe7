"""Asks a gateway for answers under JSON schemas, many times, half of them streamed, and counts the valid ones.

.venv/bin/tidegate serve                                          # in another terminal: the embedded model
.venv/bin/python scripts/structured_answers.py                    # 100 answers: minutes
.venv/bin/python scripts/structured_answers.py --times 10 --url http://127.0.0.1:8080/v1
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import jsonschema_rs
from openai import APIError, OpenAI
from openai.types.chat import ChatCompletion

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad", "mixed"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
    "additionalProperties": False,
}
BASKET = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "fruit": {"enum": ["apple", "pear", "fig"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["fruit", "count"],
        "additionalProperties": False,
    },
    "minItems": 1,
    "maxItems": 3,
}
TASKS = [
    (PERSON, "Invent a person."),
    (MOOD, "What is the mood of: 'I love this boat, but it leaks.'?"),
    (BASKET, "What is in the basket?"),
]


def main() -> int:
    """Ask, count and print. Returns 1 if an answer was invalid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="how many answers")
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1", help="the base URL of the gateway")
    given = parser.parse_args()
    wrong: list[str] = []
    with OpenAI(base_url=given.url, api_key="-", max_retries=0) as client:
        for number in range(given.times):
            schema, question = TASKS[number % len(TASKS)]
            text = _asked(client, schema, question, stream=number % 2 == 1, seed=number)
            if not _is_valid(schema, text):
                wrong.append(text)
    print(f"{given.times - len(wrong)} of {given.times} answers were valid")
    for text in wrong:
        print(f"invalid: {text!r}")
    return 1 if wrong else 0


def _asked(client: OpenAI, schema: Any, question: str, *, stream: bool, seed: int) -> str:
    asked: Any = {
        "model": "default",
        "messages": [{"role": "user", "content": question}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "max_tokens": 200,
        "temperature": 0.8,
        "seed": seed,
    }
    try:
        if not stream:
            answer: ChatCompletion = client.chat.completions.create(**asked)
            return answer.choices[0].message.content or ""
        events = client.chat.completions.create(**asked, stream=True)
        return "".join(choice.delta.content or "" for event in events for choice in event.choices)
    except APIError as error:
        return f"an error: {error}"


def _is_valid(schema: Any, text: str) -> bool:
    try:
        return jsonschema_rs.is_valid(schema, json.loads(text))
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
