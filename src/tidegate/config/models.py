"""The section `models`: the models that clients may request, and the engines that serve them."""

from __future__ import annotations

from pydantic import Field, field_validator

from tidegate.config.policies import LimitsConfig
from tidegate.config.settings import Settings, not_empty


class DeploymentConfig(Settings):
    """One engine that serves a model."""

    engine: str = Field(description="Name of an engine under `engines`.")
    model: str | None = Field(
        default=None,
        description="The engine's name for the model. Default: the name in the client's request.",
    )

    @field_validator("model")
    @classmethod
    def _named(cls, model: str | None) -> str | None:
        return None if model is None else not_empty(model, "give the engine's name for the model")


class ModelConfig(Settings):
    """A model that clients may request. The least busy deployment serves a call."""

    deployments: tuple[DeploymentConfig, ...] = Field(
        min_length=1, description="The engines that serve the model."
    )
    limits: LimitsConfig = Field(
        default=LimitsConfig(), description="How much all callers together may use of it."
    )
    fallbacks: tuple[str, ...] = Field(
        default=(), description="Models that serve its calls when all its deployments fail, in order."
    )
    fallbacks_on_context: tuple[str, ...] = Field(
        default=(), description="Models for prompts that are too long for it, in order."
    )
    fallbacks_on_refusal: tuple[str, ...] = Field(
        default=(), description="Models for requests that its engine's content filter refuses, in order."
    )
