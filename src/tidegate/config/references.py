"""Names that stand for something elsewhere in the file: engines, policies, tenants. And what two sections must agree on.

All of it works on plain data, so that these mistakes are told beside those that keep the tree from being built. Values of
the wrong type are reported elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from tidegate.config.document import joined
from tidegate.config.rails import MODERATION, NO_RAILS, RULES, STANDARD, STRICT
from tidegate.errors import Problem

DEFAULT_POLICY = "default"
_CLASSES = ("interactive", "default", "batch")
"""The classes of calls of a file that names none."""


def dangling_engines(models: Any, engines: Any) -> list[Problem]:
    """Unknown names of engines, and patterns that can never match."""
    problems: list[Problem] = []
    for pattern, model in _entries(models):
        if "*" in pattern[:-1]:
            problems.append(Problem(f"models.{pattern}", "'*' may only stand at the end"))
        deployments = dict(_entries(model)).get("deployments")
        for i, deployment in enumerate(
            cast("list[Any]", deployments) if isinstance(deployments, list) else []
        ):
            engine = dict(_entries(deployment)).get("engine")
            if isinstance(engine, str) and engine not in dict(_entries(engines)):
                path = f"models.{pattern}.deployments[{i}].engine"
                problems.append(_unknown(path, "engine", engine, dict(_entries(engines))))
    return problems


def dangling_fallbacks(models: Any) -> list[Problem]:
    """Unknown names of models in the fallbacks of models. A prefix cannot be one: the engine has to be told a name."""
    names = [name for name, _ in _entries(models) if not name.endswith("*")]
    problems: list[Problem] = []
    for model, settings in _entries(models):
        for field in _FALLBACKS:
            listed = dict(_entries(settings)).get(field)
            for at, name in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
                path = f"{joined('models', model)}.{field}[{at}]"
                if name == model:
                    problems.append(Problem(path, "is the model itself: name another one"))
                elif isinstance(name, str) and name not in names:
                    problems.append(_unknown(path, "model", name, names))
    return problems


def idle_continuations(models: Any, engines: Any) -> list[Problem]:
    """Models whose answers are to be continued, and none of whose engines can do that."""
    able = {name for name, engine in _entries(engines) if _is_on(dict(_entries(engine)).get("continues"))}
    problems: list[Problem] = []
    for name, model in _entries(models):
        asked = {one.get("engine") for one in _deployments({name: model})}
        if _is_on(dict(_entries(model)).get("continues")) and not asked & able:
            fix = "set engines.NAME.continues for one that takes continue_final_message, or leave this out"
            problems.append(
                Problem(
                    f"{joined('models', name)}.continues", f"needs an engine that continues answers: {fix}"
                )
            )
    return problems


def _is_on(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "yes", "on", "1", "y", "t")


_FALLBACKS = ("fallbacks", "fallbacks_on_context", "fallbacks_on_refusal")


def dangling_tenants(top: Mapping[str, Any]) -> list[Problem]:
    """Unknown policies and tenants, and what keys and `auth` must agree on."""
    return [
        *_policies(top),
        *_priorities(top),
        *_profiles(top),
        *_tags(top),
        *_tenants(top),
        *_same_secrets(top),
        *_unused(top),
    ]


def _policies(top: Mapping[str, Any]) -> Iterator[Problem]:
    known = {DEFAULT_POLICY, *dict(_entries(top.get("policies")))}
    for path, holder in _holders(top):
        named = holder.get("policy")
        if isinstance(named, str) and named not in known:
            yield _unknown(f"{path}.policy", "policy", named, known)


def _profiles(top: Mapping[str, Any]) -> Iterator[Problem]:
    """Profiles of rails that policies name, and models for moderation."""
    rails = dict(_entries(top.get("rails")))
    stricter = {RULES, STANDARD, STRICT, MODERATION, *dict(_entries(rails.get("profiles")))}
    for model, profile in _entries(rails.get("moderation")):
        if isinstance(profile, str) and profile not in stricter:
            path = joined("rails.moderation", model)
            yield _unknown(path, "profile of rails", profile, stricter, places="rails.profiles")
    for name, policy in _entries(top.get("policies")):
        fields, path = dict(_entries(policy)), joined("policies", name)
        named, known = fields.get("rails"), {NO_RAILS, *stricter}
        if isinstance(named, str) and named not in known:
            yield _unknown(f"{path}.rails", "profile of rails", named, known, places="rails.profiles")
        for at, one in enumerate(_texts(fields.get("stricter_rails"))):
            if one not in stricter:
                place = f"{path}.stricter_rails[{at}]"
                yield _unknown(place, "stricter profile of rails", one, stricter, places="rails.profiles")


def _priorities(top: Mapping[str, Any]) -> Iterator[Problem]:
    known = [name for name, _ in _entries(dict(_entries(top.get("queue"))).get("classes"))] or _CLASSES
    for name, policy in _entries(top.get("policies")):
        named = dict(_entries(dict(_entries(policy)).get("defaults"))).get("priority")
        if isinstance(named, str) and named not in known:
            path = f"{joined('policies', name)}.defaults.priority"
            yield _unknown(path, "class of calls", named, known, places="queue.classes")


def _tags(top: Mapping[str, Any]) -> Iterator[Problem]:
    """Tags of policies that no deployment has, alone or together."""
    tagged = [_texts(one.get("tags")) for one in _deployments(top.get("models"))]
    known = {tag for tags in tagged for tag in tags}
    for name, policy in _entries(top.get("policies")):
        asked, path = _texts(dict(_entries(policy)).get("tags")), f"{joined('policies', name)}.tags"
        for tag in asked:
            if tag not in known:
                yield _unknown(
                    path, "deployment with the tag", tag, known, places="models.NAME.deployments[].tags"
                )
        if asked and set(asked) <= known and not any(set(asked) <= set(tags) for tags in tagged):
            yield Problem(
                path, f"no deployment has all of the tags {', '.join(sorted(asked))}: name fewer, or tag one"
            )


def _deployments(models: Any) -> Iterator[dict[str, Any]]:
    for _, model in _entries(models):
        deployments = dict(_entries(model)).get("deployments")
        for deployment in cast("list[Any]", deployments) if isinstance(deployments, list) else []:
            yield dict(_entries(deployment))


def _texts(value: Any) -> list[str]:
    return (
        [one for one in cast("list[Any]", value) if isinstance(one, str)] if isinstance(value, list) else []
    )


def _holders(top: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everybody who may name a policy, with the path."""
    for name, key in _entries(top.get("keys")):
        yield joined("keys", name), dict(_entries(key))
    for name, organisation in _entries(top.get("organisations")):
        at, fields = joined("organisations", name), dict(_entries(organisation))
        yield at, fields
        for team_name, team in _entries(fields.get("teams")):
            team_at, team_fields = joined(f"{at}.teams", team_name), dict(_entries(team))
            yield team_at, team_fields
            for user_name, user in _entries(team_fields.get("users")):
                yield joined(f"{team_at}.users", user_name), dict(_entries(user))


# A key's tenants from the top down: the field of the key, and where the names of the next level are.
_LEVELS = (("organisation", "teams"), ("team", "users"), ("user", ""))


def _tenants(top: Mapping[str, Any]) -> Iterator[Problem]:
    for name, key in _entries(top.get("keys")):
        yield from _tenants_of(joined("keys", name), dict(_entries(key)), top.get("organisations"))


def _tenants_of(path: str, key: Mapping[str, Any], known: Any) -> Iterator[Problem]:
    above = ""
    for level, (field, below) in enumerate(_LEVELS):
        named = key.get(field)
        if not isinstance(named, str):
            missing = next(
                (lower for lower, _ in _LEVELS[level + 1 :] if isinstance(key.get(lower), str)), ""
            )
            if missing:
                yield Problem(f"{path}.{missing}", f"needs the key's {field}: name that too")
            return
        names = dict(_entries(known))
        if named not in names:
            yield _unknown(f"{path}.{field}", field, named, names, of=above)
            return
        above = f" in the {field} '{named}'"
        known = dict(_entries(names[named])).get(below)


def _same_secrets(top: Mapping[str, Any]) -> Iterator[Problem]:
    """Two callers with one secret could not be told apart."""
    seen: dict[tuple[str, str], str] = {}
    token = dict(_entries(top.get("admin"))).get("token")
    if isinstance(token, str):
        seen["secret", token] = "admin.token"
    for name, key in _entries(top.get("keys")):
        for field in ("secret", "digest"):
            value = dict(_entries(key)).get(field)
            if not isinstance(value, str):
                continue
            path = f"{joined('keys', name)}.{field}"
            other = seen.setdefault((field, value.lower() if field == "digest" else value), path)
            if other != path:
                yield Problem(path, f"is the same as {other}: every key needs its own")


def _unused(top: Mapping[str, Any]) -> Iterator[Problem]:
    auth, keys = dict(_entries(top.get("auth"))), dict(_entries(top.get("keys")))
    stores = dict(_entries(top.get("stores")))
    if auth.get("mode") == "none" and (keys or stores or auth.get("jwt") is not None):
        given = "keys" if keys or stores else "tokens of auth.jwt"
        yield Problem(
            "auth.mode", f"none lets everybody in, so the {given} would mean nothing: leave out one of them"
        )
    if auth.get("pepper") is None:
        if stores:
            yield Problem(
                "auth.pepper", "is missing: the keys in a store are digested with it; give it as ${NAME}"
            )
        for name, key in keys.items():
            if dict(_entries(key)).get("digest") is not None:
                yield Problem(f"{joined('keys', name)}.digest", "needs auth.pepper, which it was made with")


def _unknown(
    path: str, kind: str, name: str, names: Collection[str], *, of: str = "", places: str = ""
) -> Problem:
    known = ", ".join(sorted(names)) or "none"
    where = f" (see {places})" if places else ""
    return Problem(path, f"there is no {kind} '{name}'{of}; there are: {known}{where}")


def _entries(value: Any) -> list[tuple[str, Any]]:
    return [(str(k), v) for k, v in cast("dict[Any, Any]", value).items()] if isinstance(value, dict) else []
