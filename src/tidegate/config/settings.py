"""The base class of every section of the configuration. Key names end in their unit: `_ms`, `_s`, `_bytes`, `_tokens`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class Settings(BaseModel):
    """The base of every section. It is frozen, and refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


def _text(name: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"a name must be text: write '{name}' in quotes")  # noqa: TRY004 - pydantic collects ValueErrors
    return name


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError("a name must not be empty")
    return name


def not_empty(text: str, example: str) -> str:
    """Return the text. Raises ValueError if the text has no visible character."""
    if not text.strip():
        raise ValueError(f"is empty: {example}, or leave the setting out")
    return text


# The name of an engine or a model. YAML reads an unquoted 1 or yes as a number or a boolean.
Name = Annotated[str, BeforeValidator(_text), AfterValidator(_named)]
