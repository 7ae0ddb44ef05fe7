"""The section `stores`: databases for what outlives the process."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from tidegate.config.settings import Settings


class StoreConfig(Settings):
    """The settings of every store. A store in another package subclasses this to add its own."""

    kind: str = Field(description="The kind of database.")


class LocalStoreConfig(StoreConfig):
    """One SQLite file on a local disk. It needs no server, and is made if it is not there."""

    path: Path = Field(
        description="The file. A relative path begins where the gateway is started.",
        examples=["tidegate.db"],
    )

    @field_validator("path")
    @classmethod
    def _named(cls, path: Path) -> Path:
        if path == Path():  # the path of an empty text
            raise ValueError("is empty: name a file, such as tidegate.db")
        return path
