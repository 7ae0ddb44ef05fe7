"""`structured(Model)`, for programs that want answers as instances of a pydantic model or another type of Python."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")


class Form(dict[str, Any], Generic[T]):
    """The value of `response_format` that demands answers of a type, and the reader of these answers.

    It is a dictionary, so that every client can send it.
    """

    def __init__(self, kind: type[T]) -> None:
        self._reader: TypeAdapter[T] = TypeAdapter(kind)
        name = getattr(kind, "__name__", "answer")
        named = {"name": name, "schema": self._reader.json_schema()}
        super().__init__(type="json_schema", json_schema=named)

    def parse(self, answer: Any) -> T:
        """Return an answer as an instance of the type.

        `answer` is the text, the answer of an OpenAI client, or its JSON as a dictionary; of several choices, the first one
        counts. Raises ValueError for a refusal and for an answer without text, and pydantic.ValidationError, which is a
        ValueError, for one of another form.
        """
        return self._reader.validate_json(_text(answer))


def structured(kind: type[T]) -> Form[T]:
    """Return what to send as `response_format`, for answers of a type; its method `parse` reads them.

    form = tidegate.structured(Person)
    answer = client.chat.completions.create(model="m", messages=messages, response_format=form)
    person = form.parse(answer)
    """
    return Form(kind)


def _text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    message = _member(_first(_member(answer, "choices")), "message")
    refusal, content = _member(message, "refusal"), _member(message, "content")
    if refusal:
        raise ValueError(f"the model refused to answer: {refusal}")
    if not isinstance(content, str):
        raise ValueError("the answer has no text; pass the text, or the whole answer of a chat")  # noqa: TRY004
    return content


def _first(choices: Any) -> Any:
    return cast("list[Any]", choices)[0] if isinstance(choices, list) and choices else None


def _member(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else getattr(value, name, None)
