"""The local store: one SQLite file, which needs no server. One process writes much; others, such as the CLI, a little."""

from tidegate.stores.local.store import LocalStore

__all__ = ["LocalStore"]
