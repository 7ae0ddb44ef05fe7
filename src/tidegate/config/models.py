"""The section `models`: what clients may ask for, and where it is served."""

from __future__ import annotations

from pydantic import Field, field_validator

from tidegate.config.policies import LimitsConfig
from tidegate.config.settings import Settings, not_empty


class DeploymentConfig(Settings):
    """One place where a model is served."""

    engine: str = Field(description="Name of an engine above.")
    model: str | None = Field(
        default=None, description="The engine's name for the model; default: the name the client asked."
    )

    @field_validator("model")
    @classmethod
    def _named(cls, model: str | None) -> str | None:
        return None if model is None else not_empty(model, "give the engine's name for the model")


class ModelConfig(Settings):
    """A model that clients may ask for; the least busy deployment serves."""

    deployments: tuple[DeploymentConfig, ...] = Field(min_length=1, description="Where it is served.")
    limits: LimitsConfig = Field(
        default=LimitsConfig(), description="How much all callers together may use of it."
    )
