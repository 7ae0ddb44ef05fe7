"""Writes what the documentation takes from the code: configuration, request fields, errors, listings.

    .venv/bin/python scripts/config_reference.py            write
    .venv/bin/python scripts/config_reference.py --check    write nothing; status 1 if a page is out of date

`docs/configuration.md` is written whole; in the other pages, what stands between `<!-- generated: NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tidegate import errors, registry
from tidegate.cli.rails.listing import COLUMNS, kind_of, row
from tidegate.config import (
    AdminConfig,
    AuthConfig,
    ClaimsConfig,
    ClassConfig,
    Config,
    DefaultsConfig,
    DeploymentConfig,
    EngineConfig,
    HttpEngineConfig,
    IdempotencyConfig,
    JwtConfig,
    KeyConfig,
    LimitsConfig,
    LoraConfig,
    ModelConfig,
    OrganisationConfig,
    PolicyConfig,
    QueueConfig,
    ServerConfig,
    Settings,
    StoreConfig,
    StructureConfig,
    TeamConfig,
    TimeoutsConfig,
    TlsConfig,
    UserConfig,
)
from tidegate.config.quotas import QuotasConfig
from tidegate.config.rails import PassagesConfig, ProfileConfig, RailConfig, RailsConfig
from tidegate.config.review import ReviewConfig, WebhookConfig
from tidegate.engines import fields
from tidegate.rails.asked.hazards import HAZARDS
from tidegate.rails.remote.http import HttpConfig, LabelsConfig, SaysConfig, ScoreConfig, SpansConfig
from tidegate.rails.remote.service import RemoteConfig
from tidegate.stages.structured import InvalidStructure
from tidegate.types import ENGINE_ENDPOINTS, Endpoint

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GROUP = "tidegate.engines"
STORES = "tidegate.stores"
RAILS = "tidegate.rails"

SECTIONS: list[tuple[str, type[Settings]]] = [
    ("server", ServerConfig),
    ("server.tls", TlsConfig),
    ("admin", AdminConfig),
    ("models.NAME", ModelConfig),
    ("models.NAME.deployments[]", DeploymentConfig),
    ("models.NAME.structure", StructureConfig),
    ("auth", AuthConfig),
    ("auth.jwt", JwtConfig),
    ("auth.jwt.claims", ClaimsConfig),
    ("policies.NAME", PolicyConfig),
    ("policies.NAME.defaults", DefaultsConfig),
    ("policies.NAME.limits", LimitsConfig),
    ("queue", QueueConfig),
    ("queue.classes.NAME", ClassConfig),
    ("idempotency", IdempotencyConfig),
    ("organisations.NAME", OrganisationConfig),
    ("organisations.NAME.teams.NAME", TeamConfig),
    ("organisations.NAME.teams.NAME.users.NAME", UserConfig),
    ("keys.NAME", KeyConfig),
    ("engines.NAME", EngineConfig),
]
OF_HTTP = {"verdict": SaysConfig, "score": ScoreConfig, "categories": LabelsConfig, "spans": SpansConfig}
"""The sections of the rail `http`."""
TIMEOUTS = "engines.NAME.timeouts"
LORA = "engines.NAME.lora[]"

INTRO = """\
# Configuration

<!-- Written by scripts/config_reference.py from the models in src/tidegate/config: change those, then run it. -->

The configuration is one file: `tidegate.yaml` in the working directory, or the file named by `--config`. An empty file
means the [built-in configuration](quick-start.md). An unknown key is a mistake. All mistakes are reported at once, each
with its path. `tidegate check` prints the configuration that results, defaults included.

- `${NAME}` anywhere in a text is replaced by that environment variable. As in shells, `${NAME:-default}` gives a default
  for a variable that is missing or empty. Secrets belong in environment variables, never in the file.
- Write a name or a text in quotes if YAML would read it as something else: `"on"`, `"4"`, `"null"`. A repeated key is a
  mistake, and so is an empty key, token or host.
- The name of a setting ends in its unit: `_ms` and `_s` for time, `_bytes`, `_tokens`, `_mib`.
- The file is read again when it changes, on SIGHUP and on `POST /admin/reload`; see [Operations](operations.md#reload).
  A change of `server` takes effect at the next start.
"""

WORDS: Mapping[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Any: "value",
    Path: "path",
    datetime: "time",
    SecretStr: "secret text",
}


def type_in_words(annotation: Any) -> str:
    """An annotation as a reader of YAML would say it."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_in_words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(type_in_words(part) for part in arguments if part is not type(None))
    if origin is tuple and get_origin(arguments[0]) is Literal:
        return f"list of {', '.join(f'`{value}`' for value in get_args(arguments[0]))}"
    if origin is tuple:
        return f"list of {plural(type_in_words(arguments[0]))}"
    if origin is Mapping:
        return f"name → {type_in_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "section"
    raise TypeError(f"no words for {annotation}")


def plural(words: str) -> str:
    return words if words == "true or false" else f"{words}s"


def bounds(field: FieldInfo) -> str:
    """The limits of a value, such as `> 0, ≤ 64`."""
    found: list[str] = []
    for limit in field.metadata:
        match limit:
            case Ge(ge=value):
                found.append(f"≥ {value}")
            case Gt(gt=value):
                found.append(f"> {value}")
            case Le(le=value):
                found.append(f"≤ {value}")
            case Lt(lt=value):
                found.append(f"< {value}")
            case MinLen(min_length=value):
                found.append(f"at least {value}")
            case AfterValidator() | BeforeValidator():
                pass
            case _:
                raise TypeError(f"no words for {limit}")
    return ", ".join(found)


def default_in_words(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "*required*"
    if value is None or value in ((), {}, "") or isinstance(value, Settings):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):  # of sections by name
        return ", ".join(f"`{name}: {section_in_words(section)}`" for name, section in value.items())
    if isinstance(value, tuple):
        return f"`[{', '.join(map(quoted, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def section_in_words(section: Settings) -> str:
    """Return the settings of a section, which are numbers."""
    told = (f"{name}: {getattr(section, name):g}" for name in type(section).model_fields)
    return f"{{{', '.join(told)}}}"


def quoted(text: str) -> str:
    """A text as it stands in a list of YAML."""
    return text if text.isalnum() else f'"{text}"'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def settings_table(names: Mapping[str, FieldInfo]) -> str:
    rows = (
        (
            f"`{name}`",
            type_in_words(field.annotation) + (f", {limits}" if (limits := bounds(field)) else ""),
            default_in_words(field),
            " ".join(
                filter(None, [field.description, *(f"Example: `{item}`." for item in field.examples or [])])
            ),
        )
        for name, field in names.items()
    )
    return table(["key", "type", "default", "meaning"], rows)


def own_fields(model: type[Settings], *parents: type[Settings]) -> dict[str, FieldInfo]:
    """The settings of a model without those of its parents, tables of which stand elsewhere."""
    inherited = {name for parent in parents for name in parent.model_fields}
    return {name: field for name, field in model.model_fields.items() if name not in inherited}


def section(
    path: str, model: type[Settings], names: Mapping[str, FieldInfo] | None = None, level: int = 2
) -> str:
    text = f"{'#' * level} `{path}`\n\n{model.__doc__}\n\n"
    return text + (settings_table(model.model_fields if names is None else names))


def configuration() -> str:
    """The page `configuration.md`."""
    parts = [INTRO, f"## Top level\n\n{settings_table(Config.model_fields)}"]
    parts += [section(path, model) for path, model in SECTIONS]
    http = own_fields(HttpEngineConfig, EngineConfig)
    remote = ", ".join(f"`{kind}`" for kind in registry.BUILT_IN[GROUP] if is_http(kind))
    parts.append(f"### Engines behind a URL\n\nThe kinds {remote}.\n\n{settings_table(http)}")
    for kind in registry.BUILT_IN[GROUP]:
        model = config_of(kind)
        text = f"### `kind: {kind}`\n\n{model.__doc__}\n"
        base, of_base = (
            (HttpEngineConfig, "of engines behind a URL")
            if is_http(kind)
            else (EngineConfig, "of every engine")
        )
        own = own_fields(model, base)
        text += f"\n{settings_table(own)}" if own else f"\nNo settings beyond those {of_base}.\n"
        parts.append(text)
    parts.append(section(TIMEOUTS, TimeoutsConfig, level=3))
    parts.append(section(LORA, LoraConfig, level=3))
    parts.append(section("stores.NAME", StoreConfig))
    for kind in registry.BUILT_IN[STORES]:
        model = registry.find(STORES, kind).Config
        parts.append(section(f"kind: {kind}", model, own_fields(model, StoreConfig), level=3))
    parts.append(section("rails", RailsConfig))
    parts.append(section("rails.profiles.NAME", ProfileConfig))
    parts.append(section("rails.profiles.NAME.passages", PassagesConfig))
    parts.append(section("rails.profiles.NAME.rails[]", RailConfig))
    asking = [kind for kind in registry.BUILT_IN[RAILS] if issubclass(rail_config(kind), RemoteConfig)]
    told = f"The kinds {', '.join(f'`{kind}`' for kind in asking)}."
    parts.append(
        f"### Rails that ask services\n\n{told}\n\n{settings_table(own_fields(RemoteConfig, RailConfig))}"
    )
    for kind in registry.BUILT_IN[RAILS]:
        model = rail_config(kind)
        parts.append(section(f"kind: {kind}", model, rail_fields(model), level=3))
        if model is HttpConfig:
            parts += [section(f"{kind}: {name}", one, level=4) for name, one in OF_HTTP.items()]
    parts.append(section("quotas", QuotasConfig))
    parts.append(section("review", ReviewConfig))
    parts.append(section("review.webhook", WebhookConfig))
    return "\n".join(parts)


def rail_config(kind: str) -> type[RailConfig]:
    return registry.find(RAILS, kind).Config


def rail_fields(model: type[RailConfig]) -> dict[str, FieldInfo]:
    """The settings of a kind. Those of all rails that ask services are told once, unless the kind has another default."""
    if not issubclass(model, RemoteConfig):
        return own_fields(model, RailConfig)
    common, fields = RemoteConfig.model_fields, own_fields(model, RailConfig)
    return {
        name: field
        for name, field in fields.items()
        if name not in common
        or (field.default, field.description) != (common[name].default, common[name].description)
    }


def config_of(kind: str) -> type[EngineConfig]:
    return registry.find(GROUP, kind).Config


def is_http(kind: str) -> bool:
    return issubclass(config_of(kind), HttpEngineConfig)


def request_fields() -> str:
    """Which request fields pass, one table an endpoint."""

    def names(found: Iterable[str]) -> str:
        return " ".join(f"`{name}`" for name in sorted(found))

    def rows(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        base = fields.OPENAI[endpoint]
        # The embedded engine serves no embeddings.
        local = "`llamacpp`" if endpoint is Endpoint.EMBEDDINGS else "`llamacpp`, `embedded`"
        yield "OpenAI's fields, for all kinds", names(base)
        for kinds, listed in (
            ("`vllm`", fields.VLLM[endpoint]),
            ("`sglang`", fields.SGLANG[endpoint]),
            (local, fields.LLAMACPP[endpoint]),
        ):
            if more := listed - base:
                yield f"{kinds}: also", names(more)
            if less := base - listed:
                yield f"{kinds}: not", names(less)

    parts = [
        f"### `/v1/{endpoint.value}`\n\n{table(['', 'fields'], rows(endpoint))}"
        for endpoint in ENGINE_ENDPOINTS
    ]
    return "\n".join(parts)


def error_table() -> str:
    """Every error a client can meet: those of `errors.py` in its order, then those that a stage has for itself."""

    def rows() -> Iterator[tuple[str, ...]]:
        for error in (*vars(errors).values(), InvalidStructure):
            if isinstance(error, type) and issubclass(error, errors.GatewayError):
                status = "4xx" if error is errors.UpstreamRejected else str(error.status)
                yield (
                    status,
                    f"`{error.code}`",
                    f"`{error.type}`",
                    "yes" if error.retryable else "no",
                    told(error),
                )

    return table(["status", "code", "type", "try again", "meaning"], rows())


def told(error: type[errors.GatewayError]) -> str:
    if error is errors.GatewayError:
        return "A mistake in the gateway itself; the log has it, with the request id."
    return " ".join((error.__doc__ or "").split())


def kinds_of_rails() -> str:
    """Every built-in kind of rail, as `tidegate rails list` has it, with a link to its page."""
    rows = [row(kind_of(kind)) for kind in sorted(registry.BUILT_IN[RAILS])]
    return table(COLUMNS, ((f"[`{kind}`](rails/{kind}.md)", *facts) for kind, *facts in rows))


def categories() -> str:
    """Every category of content."""
    return table(
        ("category", "code", "a text that"), ((f"`{one.name}`", one.code, one.what) for one in HAZARDS)
    )


def listing(path: str, language: str) -> str:
    """A file of the repository as a block of code."""
    return f"```{language}\n{(ROOT / path).read_text('utf-8').rstrip()}\n```\n"


def blocks() -> dict[tuple[str, str], str]:
    """What stands in the blocks of pages that people write, by page and name."""
    parrot = "examples/parrot-engine"
    return {
        ("engines.md", "request fields"): request_fields(),
        ("errors.md", "errors"): error_table(),
        ("guards.md", "categories"): categories(),
        ("rails.md", "kinds of rails"): kinds_of_rails(),
        ("own-engine.md", "parrot.py"): listing(f"{parrot}/parrot.py", "python"),
        ("own-engine.md", "pyproject.toml"): listing(f"{parrot}/pyproject.toml", "toml"),
        ("own-engine.md", "tidegate.yaml"): listing(f"{parrot}/tidegate.yaml", "yaml"),
    }


def pages() -> dict[Path, str]:
    """Every page as it should be."""
    found = {DOCS / "configuration.md": configuration()}
    for (page, name), content in blocks().items():
        path = DOCS / page
        text = found.get(path) or path.read_text("utf-8")
        before, begin, rest = text.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not begin or not end:
            raise LookupError(f"{path} has no block '{name}'")
        found[path] = f"{before}{begin}\n{content}\n{end}{after}"
    return found


def main(arguments: list[str]) -> int:
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text("utf-8") != text]
    if "--check" not in arguments:
        for path, text in pages().items():
            path.write_text(text, "utf-8")
        print("\n".join(f"wrote {path.relative_to(ROOT)}" for path in stale) or "nothing to do")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date: run scripts/config_reference.py")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
