"""The whole file: one tree of frozen models, each section in a file of its own beside this one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field, SecretStr

from tidegate.config.engines import EngineConfig
from tidegate.config.kinds import Kinded
from tidegate.config.models import ModelConfig
from tidegate.config.server import AdminConfig, ServerConfig
from tidegate.config.settings import Name, Settings


class Config(Settings):
    """The whole file."""

    server: ServerConfig = Field(default=ServerConfig(), description="Listening, deadlines, draining.")
    admin: AdminConfig = Field(default=AdminConfig(), description="The admin API.")
    engines: Mapping[Name, Annotated[EngineConfig, Kinded("tidegate.engines")]] = Field(
        default={}, description="Where answers are made, by name."
    )
    models: Mapping[Name, ModelConfig] = Field(
        default={},
        description="What clients may ask for: a name, or a prefix and `*`. The longest match wins.",
    )


def digest(settings: Settings) -> str:
    """A fingerprint of a section, secrets and the state of the files it names included."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path) and value.is_file():
            found = value.stat()
            return [str(value), found.st_size, found.st_mtime_ns]
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    return hashlib.sha256(
        msgspec.json.encode(settings.model_dump(mode="python"), enc_hook=plain, order="deterministic")
    ).hexdigest()
