"""The section `models`: the models that clients may request, and the engines that serve them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tidegate.config.policies import LimitsConfig
from tidegate.config.settings import Name, Settings, not_empty


class DeploymentConfig(Settings):
    """One engine that serves a model."""

    engine: str = Field(description="Name of an engine under `engines`.")
    model: str | None = Field(
        default=None,
        description="The engine's name for the model. Default: the name in the client's request.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="Share of the calls, relative to the other deployments of its tier.",
    )
    tier: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="A deployment of a later tier gets a call only when those of earlier tiers have failed, or are not"
        " ready.",
    )
    tags: tuple[Name, ...] = Field(
        default=(), description="Words of your own that policies may ask for, such as `eu`."
    )
    tools: bool | None = Field(
        default=None, description="Whether it can call tools. Default: as the engine says, and else yes."
    )
    vision: bool | None = Field(
        default=None, description="Whether it takes images. Default: as the engine says, and else yes."
    )
    schemas: bool | None = Field(
        default=None,
        description="Whether its answers can follow a JSON schema, a grammar or a pattern. Default: yes.",
    )
    context_tokens: int | None = Field(
        default=None,
        gt=0,
        description="Most tokens of a prompt and its answer together. Default: as the engine says, and else not checked.",
    )

    @field_validator("model")
    @classmethod
    def _named(cls, model: str | None) -> str | None:
        return None if model is None else not_empty(model, "give the engine's name for the model")


class StructureConfig(Settings):
    """What happens to answers whose form the request demands. See [Structured answers](structure.md)."""

    check: bool = Field(
        default=True,
        description="Whether the gateway checks such answers: against the schema, pattern, choice or grammar of the"
        " request, and the arguments of tool calls against its `tools`. Without the check, a deployment has to accept the"
        " field that demands the form.",
    )
    repair: bool = Field(
        default=True,
        description="Whether code fences, text around the answer, unclosed ends and trailing commas are mended, if the"
        " result is valid.",
    )
    reasks: int = Field(
        default=1,
        ge=0,
        le=5,
        description="How often the engine is asked again, with the error, for an answer that cannot be repaired. The caller"
        " does not pay for the failed answers.",
    )
    most_repeats: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="How often the same tool call with the same arguments may come since the user's last message. One more"
        " is an error.",
    )
    hold: Literal["none", "whole"] = Field(
        default="none",
        description="What a stream waits for: nothing, so that an invalid answer ends in an error event (`none`), or its"
        " end, so that it can be repaired and asked for again (`whole`).",
    )


class ModelConfig(Settings):
    """A model that clients may request. [Routing](routing.md) says which deployment serves a call."""

    deployments: tuple[DeploymentConfig, ...] = Field(
        min_length=1, description="The engines that serve the model."
    )
    affinity: Literal["prefix", "adapter", "none"] = Field(
        default="prefix",
        description="Which calls go to the same deployment, as long as it has no more than its share of the load: those"
        " with the same system prompt and tools (`prefix`), those for the same model name, such as that of a LoRA adapter"
        " (`adapter`), or none.",
    )
    limits: LimitsConfig = Field(
        default=LimitsConfig(), description="How much all callers together may use of it."
    )
    continues: bool = Field(
        default=False,
        description="Whether another engine goes on with a streamed answer that breaks off, where it can. It has to declare"
        " that with `engines.NAME.continues`.",
    )
    hedges: bool = Field(
        default=False,
        description="Whether another engine is asked too when the answer to a small call, not streamed, takes longer than"
        " usual. See [Hedging](routing.md#hedging).",
    )
    structure: StructureConfig = Field(
        default=StructureConfig(), description="What happens to answers whose form the request demands."
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
