"""`tidegate rails audit`: the audit of rails, or a part of it, as CSV or as lines of JSON."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from tidegate.cli import settings, store
from tidegate.cli.rails.choosing import AsJson, ConfigPath
from tidegate.kernel.plain import plain, plain_json
from tidegate.telemetry.audit import DecisionLine, Line
from tidegate.types import Action
from tidegate.types.case import APPROVE, EDIT, REJECT, RELEASE

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86_400})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula. The names of models come from clients (OWASP, CSV injection)."""
_ACTIONS = (*(action.word for action in Action), APPROVE, EDIT, REJECT, RELEASE)
_COLUMNS = tuple(dict.fromkeys((*Line.__struct_fields__, *DecisionLine.__struct_fields__)))
AnyLine = Line | DecisionLine


class _Kind(msgspec.Struct):
    """What tells the two kinds of lines apart: only a decision is about a case."""

    case: str | None = None


def audit(
    file: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    rail: str = "",
    action: str = "",
    since: str = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Export the audit of rails, or a part of it, as CSV or as lines of JSON.

    The audit has a line for each rail that objected to a text or failed, and one for each decision about a case by a person
    or by the deadline. It has no text of users: `rails.audit_path`.

    For example:

    `tidegate rails audit > audit.csv`: the audit of tidegate.yaml, for a spreadsheet

    `tidegate rails audit rails.jsonl --rail injection --action block --since 24h`: what a rail has blocked since yesterday

    `tidegate rails audit --action reject`: what people have rejected, by whom and why

    `tidegate rails audit --since 2026-11-01 --json`: since a day, UTC, one JSON object a line

    Exit status: 0 if the whole file was read; 1 if a line of it is broken and was left out; 2 if there is no such file.

    Parameters
    ----------
    file
        The audit. Default: `rails.audit_path` of the configuration.
    rail
        Only this rail, by its name.
    action
        Only this action: log, redact, fix, regenerate or block; `pass`, for rails that failed; approve, edit or
        reject, for decisions of people; release, for texts that the deadline let go.
    since
        Only from this time on: a time ago such as 30m, 24h or 7d, or a date or time such as 2026-11-01 or
        2026-11-01T08:00, UTC unless it says otherwise.
    config
        The configuration with `rails.audit_path`. Default: tidegate.yaml.
    as_json
        Print one JSON object a line instead of CSV.

    """
    if action and action not in _ACTIONS:
        settings.fail(f"--action: there is no action '{action}'; there are: {', '.join(_ACTIONS)}")
    path, earliest = file or _configured(config), _time(since)

    def wanted(line: AnyLine) -> bool:
        return (
            line.at >= earliest and (not rail or line.rail == rail) and (not action or line.action == action)
        )

    broken: list[str] = []
    lines = filter(wanted, _lines(path, broken.append))
    _write_json(lines) if as_json else _write_csv(lines)
    for message in broken:
        print(plain(message), file=sys.stderr)
    sys.exit(1 if broken else 0)


def _configured(config: Path | None) -> Path:
    loaded, path = settings.load(config)
    if loaded.rails.audit_path is None:
        settings.fail(
            f"{path or 'the built-in configuration'} has no audit: set rails.audit_path, or name a file"
        )
    return loaded.rails.audit_path


def _time(text: str) -> float:
    """Return a time in seconds since the epoch. Ends with status 2 for a text that is none."""
    if not text:
        return float("-inf")
    if ago := _AGO.fullmatch(text):
        return store.now() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        settings.fail(
            f"--since: '{text}' is no time: write a time ago such as 24h, or a date such as 2026-11-01"
        )
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _lines(path: Path, broken: Callable[[str], None]) -> Iterator[AnyLine]:
    """Yield the lines of an audit, and tell of those that are broken, such as the last one of a full disk."""
    kind = msgspec.json.Decoder(_Kind).decode
    found, decided = msgspec.json.Decoder(Line).decode, msgspec.json.Decoder(DecisionLine).decode
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                try:
                    yield (found if kind(data).case is None else decided)(data)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    broken(f"{path}:{number}: not a line of an audit, left out: {error}")
    except OSError as error:
        settings.fail(f"{path}: cannot be read: {error.strerror}; the audit is written to rails.audit_path")


def _write_csv(lines: Iterator[AnyLine]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        values = msgspec.structs.asdict(line)
        values["at"] = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
        writer.writerow([_cell(values.get(name, "")) for name in _COLUMNS])


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    shown = plain(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _write_json(lines: Iterator[AnyLine]) -> None:
    for line in lines:
        print(plain_json(msgspec.json.encode(line).decode()))
