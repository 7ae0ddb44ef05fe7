"""The settings, and the code that reads them: one YAML file becomes one frozen tree. All mistakes are reported at once.

There are many modules, because each section of the file has its own: `server.py`, `engines.py`, `policies.py` and so on.
`tree.py` puts them together. `reading.py`, `references.py` and `mistakes.py` read the file and find what is wrong in it.
"""

from tidegate.config import files, urls
from tidegate.config.advice import warnings
from tidegate.config.auth import AuthConfig
from tidegate.config.connections import ConnectionConfig, TimeoutsConfig
from tidegate.config.engines import (
    DEFAULT_PROBE,
    EmbeddedConfig,
    EmbedderConfig,
    EngineConfig,
    HttpEngineConfig,
    LlamaCppConfig,
    LoraConfig,
    OpenAIConfig,
    ScriptedConfig,
    SglangConfig,
    VllmConfig,
)
from tidegate.config.idempotency import IdempotencyConfig
from tidegate.config.jwt import ClaimsConfig, JwtConfig
from tidegate.config.kinds import Kinded
from tidegate.config.models import DeploymentConfig, ModelConfig, StructureConfig
from tidegate.config.policies import DefaultsConfig, LimitsConfig, PolicyConfig
from tidegate.config.queue import ClassConfig, QueueConfig
from tidegate.config.reading import DEFAULT_PATH, EMBEDDED_MODEL, built_in, load, parse, parse_text, read_text
from tidegate.config.review import ReviewConfig
from tidegate.config.server import AdminConfig, ServerConfig, TlsConfig
from tidegate.config.settings import Settings
from tidegate.config.stores import LocalStoreConfig, StoreConfig
from tidegate.config.tenants import KeyConfig, OrganisationConfig, TeamConfig, UserConfig
from tidegate.config.tree import Config, digest, engine_digest, issuer_digest, limits_of, store_digest

__all__ = [
    "DEFAULT_PATH",
    "DEFAULT_PROBE",
    "EMBEDDED_MODEL",
    "AdminConfig",
    "AuthConfig",
    "ClaimsConfig",
    "ClassConfig",
    "Config",
    "ConnectionConfig",
    "DefaultsConfig",
    "DeploymentConfig",
    "EmbeddedConfig",
    "EmbedderConfig",
    "EngineConfig",
    "HttpEngineConfig",
    "IdempotencyConfig",
    "JwtConfig",
    "KeyConfig",
    "Kinded",
    "LimitsConfig",
    "LlamaCppConfig",
    "LocalStoreConfig",
    "LoraConfig",
    "ModelConfig",
    "OpenAIConfig",
    "OrganisationConfig",
    "PolicyConfig",
    "QueueConfig",
    "ReviewConfig",
    "ScriptedConfig",
    "ServerConfig",
    "Settings",
    "SglangConfig",
    "StoreConfig",
    "StructureConfig",
    "TeamConfig",
    "TimeoutsConfig",
    "TlsConfig",
    "UserConfig",
    "VllmConfig",
    "built_in",
    "digest",
    "engine_digest",
    "files",
    "issuer_digest",
    "limits_of",
    "load",
    "parse",
    "parse_text",
    "read_text",
    "store_digest",
    "urls",
    "warnings",
]
