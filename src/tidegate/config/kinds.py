"""Sections whose settings depend on their `kind`. The class that the registry finds for a kind has a model of its settings.

The module works for every group: `Annotated[RailConfig, Kinded("tidegate.rails")]` is read in the same way as engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from tidegate import registry
from tidegate.config.settings import Settings


@dataclass(frozen=True)
class Kinded:
    """Marks a type as the base of a group's settings: `Annotated[EngineConfig, Kinded("tidegate.engines")]`.

    A section is read as the `Config` of the class that `registry.find(group, kind)` returns. This `Config` must be a
    subclass of the marked type. A dump has all its fields. Raises registry.UnknownGroup.
    """

    group: str

    def __post_init__(self) -> None:
        registry.built_in(self.group)  # raises UnknownGroup, so a wrong group name is found on import

    def model(self, settings: Any, base: type[Settings] = Settings) -> type[Settings]:
        """Return the model for the `kind` of one section. Raises registry.UnknownKind with the reason."""
        kind = cast("dict[Any, Any]", settings).get("kind") if isinstance(settings, dict) else None
        if not isinstance(kind, str):
            wrong = "is missing; one of" if kind is None else "must be one of"
            raise registry.UnknownKind(f"{wrong}: {', '.join(registry.kinds(self.group)) or 'none'}")
        try:
            model: Any = registry.find(self.group, kind).Config
        except (ImportError, AttributeError) as error:  # another package that is broken or too old
            raise registry.UnknownKind(f"cannot be loaded: {error}") from error
        if not isinstance(model, type) or not issubclass(model, base):
            raise registry.UnknownKind(f"cannot be loaded: its Config is not a subclass of {base.__name__}")
        return model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema by which pydantic reads and writes a section."""
        base: type[Settings] = source

        def read(settings: Any, _: ValidatorFunctionWrapHandler) -> Settings:
            if isinstance(settings, base):
                return settings
            try:
                model = self.model(settings, base)
            except registry.UnknownKind as error:
                raise _at("kind", str(error)) from error
            return model.model_validate(settings)

        # The base's own schema only gives the name in a JSON schema. The serializer is that of `SerializeAsAny`.
        return core_schema.no_info_wrap_validator_function(
            read,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda settings, write: write(settings), schema=core_schema.any_schema()
            ),
        )


def _at(place: str, reason: str) -> ValidationError:
    """Return a mistake at one key of a section, in the form of pydantic's own errors."""
    mistake = PydanticCustomError("kind", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data(
        "kind", [InitErrorDetails(type=mistake, loc=(place,), input=None)], hide_input=True
    )
