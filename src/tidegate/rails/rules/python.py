"""The rail `python`: a rail of the operator's own, from a Python file that the configuration names."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, NoReturn, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError, field_validator

from tidegate.config.files import check_file
from tidegate.config.rails import RailConfig
from tidegate.ports import Check, Rule
from tidegate.rails.foreign import attempted
from tidegate.types.verdict import RailFacts, Surface

T = TypeVar("T")
HOW = "docs/writing-a-rail.md"


class PythonFileConfig(RailConfig):
    """Settings of the rail `python`."""

    kind: Literal["python"] = "python"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    file: Path = Field(
        description="Python file with one class that has a method `check`. The file is run with the rights of the gateway."
    )
    settings: Mapping[str, Any] = Field(
        default={}, description="Settings of the rail itself, as its class declares them in `Config`."
    )

    @field_validator("file")
    @classmethod
    def _file_there(cls, path: Path) -> Path:
        return check_file(path)


class PythonFile:
    """Makes the rail of a file: what is made is an instance of the file's own class, a `ports.Rule` or `ports.Check`.

    Raises ValueError with the file, the class and the fix if the file has no usable rail.
    """

    Config: ClassVar[type[PythonFileConfig]] = PythonFileConfig

    def __new__(cls, config: PythonFileConfig) -> Rule | Check:  # type: ignore[misc]
        rail_class = _rail_class(config.file)
        where = f"{config.file}: class {rail_class.__name__}"
        rail = _made(rail_class, config.settings, config.file, where)
        wrong = _wrong(rail)
        if wrong:
            raise ValueError(f"{where} {wrong} (see {HOW})")
        return cast("Rule | Check", rail)


def _rail_class(path: Path) -> type[Any]:
    module = _run(path)
    found = [
        one
        for one in vars(module).values()
        if inspect.isclass(one) and one.__module__ == module.__name__ and hasattr(one, "check")
    ]
    if not found:
        raise ValueError(f"{path} has no class with a method `check`: write one (see {HOW})")
    if len(found) > 1:
        names = ", ".join(one.__name__ for one in found)
        raise ValueError(f"{path} has several classes with a method `check`, {names}: keep one of them there")
    return found[0]


def _run(path: Path) -> ModuleType:
    # The module is registered while it runs and no longer, so that a file can be read again after a change.
    name = f"tidegate_rail_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    loader = spec.loader if spec is not None else None
    if spec is None or loader is None:
        raise ValueError(f"{path} is not a Python file: its name has to end with .py")
    module = importlib.util.module_from_spec(spec)
    # Pydantic looks up names of annotations there, which are texts with `from __future__ import annotations`.
    sys.modules[name] = module
    try:
        _foreign(str(path), path, lambda: loader.exec_module(module))
    finally:
        del sys.modules[name]
    return module


def _foreign(where: str, path: Path, run: Callable[[], T]) -> T:
    """Run code of the file, which may do anything. Raises ValueError for whatever it raises."""
    return attempted(run, partial(_cannot_run, where, path))


def _cannot_run(where: str, path: Path, error: BaseException) -> NoReturn:
    if isinstance(error, ValidationError):
        mistakes = "; ".join(f"settings.{_path(one['loc'])}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{where}: {mistakes}") from error  # noqa: TRY004
    line = _line(error, path)
    raise ValueError(f"{where}{line} raised {type(error).__name__}: {error}") from error


def _line(error: BaseException, path: Path) -> str:
    """Return the last line of the file that an error went through, as `, line 3`."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f", line {lines[-1]}" if lines else ""


def _made(rail_class: type[Any], settings: Mapping[str, Any], path: Path, where: str) -> object:
    model = getattr(rail_class, "Config", None)
    if model is None and settings:
        raise ValueError(f"{where} has no `Config`: give it one, or leave out `settings`")
    if model is not None and not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise ValueError(
            f"{where} has a `Config` that is no pydantic model: derive it from pydantic.BaseModel"
        )

    def make() -> object:
        return rail_class() if model is None else rail_class(model.model_validate(dict(settings)))

    return _foreign(where, path, make)


def _path(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))


def _wrong(rail: Any) -> str:
    """Return what keeps an object from being a rail, with the fix, or nothing."""
    about: object = getattr(rail, "about", None)
    if not isinstance(about, RailFacts):
        return "has no `about`: set it to RailFacts(...)"
    if not about.surfaces or not all(isinstance(one, Surface) for one in about.surfaces):  # pyright: ignore[reportUnnecessaryIsInstance]
        return "names no surfaces in `about`: set `surfaces` to a set of Surface"
    waits = inspect.iscoroutinefunction(rail.check)
    if about.tier == 0 and waits:
        return "has an `async def check` and tier 0: write `def check`, or set `tier=1` in `about`"
    if about.tier > 0 and not waits:
        return f"has tier {about.tier} and a plain `def check`: write `async def check`, or leave `tier` out"
    return ""
