"""What every section of the configuration is. Units stand in the key names: `_ms`, `_s`, `_bytes`, `_tokens`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class Settings(BaseModel):
    """The base of every section: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


def _text(name: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"a name must be text: write '{name}' in quotes")  # noqa: TRY004 - what pydantic collects
    return name


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError("a name must not be empty")
    return name


def not_empty(text: str, example: str) -> str:
    """The text itself. Raises ValueError for one without a visible character."""
    if not text.strip():
        raise ValueError(f"is empty: {example}, or leave the setting out")
    return text


# What people call an engine or a model; YAML reads an unquoted 1 or yes as something else.
Name = Annotated[str, BeforeValidator(_text), AfterValidator(_named)]
