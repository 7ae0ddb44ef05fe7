"""Schemas by generation, each with valid answers, and with invalid ones that have one fault at a random place.

A `Spec` knows its schema, makes valid values, and breaks one. No part of it asks the code under test, or any validator,
whether a value is valid: that follows from how it was made. `dead_at` of an `Answer` is the character at which, at the
latest, no continuation is valid any more.
"""

from __future__ import annotations

import random
import string

from structure.values import AFTER, CLOSE, START, Fault, Made, Raw, Spec, Value, plain

# ------------------------------------------------------------------------------------------------------------- scalars

_OTHERS = {
    "null": [None],
    "boolean": [True, False],
    "number": [Raw("3.5"), Raw("-2")],
    "string": ["unfit ☂"],
    "array": [[]],
    "object": [{}],
}


def _wrong_type(rng: random.Random, types: frozenset[str]) -> Fault:
    kind = rng.choice(sorted(set(_OTHERS) - types))
    return Fault(rng.choice(_OTHERS[kind]), START)


def _scalar(name, schema, kind, make, breaks) -> Spec:
    """`breaks` makes a fault of the same type; half of the faults are of another type."""
    types = frozenset({kind})

    def broken(rng, value):
        same = breaks(rng, value.plain) if breaks and rng.random() < 0.6 else None
        return same or _wrong_type(rng, types | value.types)

    spec = Spec(schema, lambda rng: Value(spec, make(rng)), broken, types, name)
    return spec


def null(rng) -> Spec:
    return _scalar("null", {"type": "null"}, "null", lambda rng: None, None)


def boolean(rng) -> Spec:
    return _scalar("boolean", {"type": "boolean"}, "boolean", lambda rng: rng.random() < 0.5, None)


def integer(rng) -> Spec:
    low = rng.randint(-50, 100)
    high = low + rng.randint(0, 300)
    above, below = rng.random() < 0.3, rng.random() < 0.3
    schema = {"type": "integer", "exclusiveMinimum" if above else "minimum": low - above}
    schema["exclusiveMaximum" if below else "maximum"] = high + below

    def make(rng):
        value = rng.randint(low, high)
        return Raw(rng.choice([f"{value}", f"{value}", f"{value}.0", f"{value}e0", f"{value * 10}e-1"]))

    def breaks(rng, value):
        return Fault(Raw(rng.choice([f"{low - 1}", f"{high + 1}", f"{low}.5", f"{high}75e-2"])), AFTER)

    return _scalar("integer", schema, "number", make, breaks)


def number(rng) -> Spec:
    step = rng.choice([None, 0.5, 0.25, 3])
    low = rng.choice([None, 0, 1.5, -20])
    schema: dict = {"type": "number"}
    if step:
        schema["multipleOf"] = step
    if low is not None:
        schema["minimum"] = low
    unit = step or 0.125
    first = 0 if low is None else -(-low // unit)

    def make(rng):
        return Raw(repr((first + rng.randint(0, 400)) * unit).removesuffix(".0"))

    def breaks(rng, value):
        if step and rng.random() < 0.5:
            return Fault(Raw(repr((first + rng.randint(1, 40)) * step + step / 10)), AFTER)
        return Fault(Raw(repr(low - 0.5)), AFTER) if low is not None else None

    return _scalar("number", schema, "number", make, breaks)


_CHARS = string.ascii_letters + ' _-/"\\\n\té日😀'


def _text(rng, size) -> str:
    return "".join(rng.choice(_CHARS) for _ in range(size))


def text(rng) -> Spec:
    least = rng.choice([0, 0, 1, 3])
    most = rng.choice([None, least, least + 5])
    schema: dict = {"type": "string"}
    if least:
        schema["minLength"] = least
    if most is not None:
        schema["maxLength"] = most

    def breaks(rng, value):
        if least and rng.random() < 0.5:
            return Fault(_text(rng, least - 1), CLOSE)
        return Fault(_text(rng, most + rng.randint(1, 3)), CLOSE) if most is not None else None

    return _scalar(
        "text",
        schema,
        "string",
        lambda rng: _text(rng, rng.randint(least, least + 8 if most is None else most)),
        breaks,
    )


_PATTERNS = [
    ("^[a-z]{2,5}$", ["ab", "hello"], ["a", "helloo", "aB", "é"]),
    ("^a+b$", ["ab", "aaab"], ["b", "aa", "abb"]),
    ("[0-9]{3}", ["abc123", "1234", "x999y"], ["12", "", "1a2a3"]),
    (r"^(?:red|green|blue)-\d+$", ["red-1", "blue-22"], ["red-", "yellow-1", "red-1x"]),
    (r"^\S+@\S+\.com$", ["a@b.com", "ü@x.com"], ["a b@c.com", "ab.com"]),
    ("^x|y$", ["xa", "ay", "x"], ["a", "yx"]),
    (r"^\w[^a-c]\s?$", ["ad", "_é ", "0\n"], ["aa", "a", "éd"]),
    (r"^(\+\d{1,3}-)?\d{4}$", ["1234", "+49-1234"], ["123", "49-1234", "+1234-1234"]),
    ("^[\\u0041-\\x5a]+\\.[^.]*$", ["AB.", "Z.x"], ["a.x", "AB", "A.b.c"]),
]
_FORMATS = [
    ("date", ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "24-01-01", "2024-04-31"]),
    (
        "uuid",
        ["550e8400-e29b-41d4-a716-446655440000"],
        ["550e8400e29b41d4a716446655440000", "550e8400-e29b-41d4-a716-44665544000g"],
    ),
    ("ipv4", ["1.2.3.4", "255.255.255.255"], ["256.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4.5"]),
    ("email", ["a@b.example", "first.last@x.org"], ["a@", "@b", "no"]),
    (
        "date-time",
        ["2024-02-29T12:00:00Z", "1999-12-31T23:59:59+01:00"],
        ["2024-02-29", "2023-02-29T12:00:00Z"],
    ),
    ("uri", ["https://example.com/a?b=c"], ["no uri", "//x"]),
    ("ipv6", ["::1", "2001:db8::8a2e:370:7334"], ["1.2.3.4", "::g"]),
]


def pattern(rng) -> Spec:
    said, good, bad = rng.choice(_PATTERNS)
    schema = {"type": "string", "pattern": said}
    return _scalar(
        f"pattern {said}",
        schema,
        "string",
        lambda rng: rng.choice(good),
        lambda rng, _: Fault(rng.choice(bad), CLOSE),
    )


def formatted(rng) -> Spec:
    said, good, bad = rng.choice(_FORMATS)
    schema = {"type": "string", "format": said}
    return _scalar(
        f"format {said}",
        schema,
        "string",
        lambda rng: rng.choice(good),
        lambda rng, _: Fault(rng.choice(bad), CLOSE),
    )


def enumerated(rng) -> Spec:
    """An enum of texts with common beginnings, or a const."""
    stem = _text(rng, 2)
    values = [stem, stem + "a", stem + "b", "other"][: rng.randint(1, 4)]
    schema = {"const": values[0]} if len(values) == 1 else {"enum": values}

    def breaks(rng, value):
        return Fault(rng.choice(values) + "~", CLOSE)

    return _scalar("enum", schema, "string", lambda rng: rng.choice(values), breaks)


def mixed(rng) -> Spec:
    """An enum of several types."""
    values = ["a", 12, None, [1, "x"], {"k": "v", "l": [True]}, 1.5]
    spec = Spec(
        {"enum": values},
        lambda rng: Value(spec, rng.choice(values)),
        lambda rng, value: _mixed_fault(rng),
        frozenset(),
        "mixed",
    )
    return spec


def _mixed_fault(rng) -> Fault:
    return rng.choice(
        [
            Fault(True, START),
            Fault("b", CLOSE),
            Fault(Raw("13"), AFTER),
            Fault([1, "y"], CLOSE),
            Fault([1], CLOSE),
            Fault({"k": "v"}, CLOSE),
            Fault({"k": "w", "l": [True]}, CLOSE),
            Fault({"l": [False], "k": "v"}, CLOSE),
        ]
    )


# ---------------------------------------------------------------------------------------------------------- containers


def array(rng, depth, defs) -> Spec:
    items = made(rng, depth - 1, defs)
    least = rng.choice([0, 0, 1, 2])
    most = rng.choice([None, least + 2, max(least, 1)])
    schema: dict = {"type": "array", "items": items.schema}
    if least:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most

    def make(rng):
        return Value(
            spec,
            inside=[
                items.make(rng)
                for _ in range(rng.randint(least, min(most if most is not None else 4, least + 3)))
            ],
        )

    def broken(rng, value):
        now = [plain(item) for item in value.inside]
        if least and rng.random() < 0.4:
            return Fault(now[: least - 1], CLOSE)
        if most is not None and rng.random() < 0.5:
            longer = now + [plain(items.make(rng)) for _ in range(most + 1 - len(now))]
            return Fault(longer, START, most)
        return _wrong_type(rng, spec.types | value.types)

    spec = Spec(schema, make, broken, frozenset({"array"}), "array")
    return spec


def fixed(rng, depth, defs) -> Spec:
    first = [made(rng, depth - 1, defs) for _ in range(rng.randint(1, 3))]
    schema = {
        "type": "array",
        "prefixItems": [one.schema for one in first],
        "items": False,
        "minItems": len(first),
    }

    def broken(rng, value):
        now = [plain(item) for item in value.inside]
        kind = rng.randrange(3)
        if kind == 0:
            return Fault(now[:-1], CLOSE)
        return Fault([*now, 1], START, len(now)) if kind == 1 else _wrong_type(rng, spec.types | value.types)

    spec = Spec(
        schema,
        lambda rng: Value(spec, inside=[one.make(rng) for one in first]),
        broken,
        frozenset({"array"}),
        "fixed",
    )
    return spec


_NAMES = ["id", "name", "names", "na", "ключ", 'q"uote', "tag", "x_1"]


def obj(rng, depth, defs, tag: str = "") -> Spec:
    members = {
        name: made(rng, depth - 1, defs) for name in rng.sample(_NAMES, rng.randint(0 if tag else 1, 4))
    }
    required = [name for name in members if rng.random() < 0.5]
    if tag:
        members["kind"] = _scalar(
            "tag", {"const": tag}, "string", lambda rng: tag, lambda rng, _: Fault(tag + "!", CLOSE)
        )
        required.append("kind")
    schema: dict = {"type": "object", "properties": {name: one.schema for name, one in members.items()}}
    if required:
        schema["required"] = required
    closed = rng.choice(["closed", "closed", "open", "typed", "patterned"])
    more: dict[str, Spec] = {}
    if closed in {"closed", "patterned"}:
        schema["additionalProperties"] = False
    if closed == "typed":
        more["extra"] = number(rng)
        schema["additionalProperties"] = more["extra"].schema
    if closed == "patterned":
        more["p_"] = boolean(rng)
        schema["patternProperties"] = {"^p_[a-z]$": more["p_"].schema}

    def make(rng):
        names = [name for name in members if name in required or rng.random() < 0.6]
        inside = {name: members[name].make(rng) for name in names}
        for name, one in more.items():
            if rng.random() < 0.5:
                inside[name if name == "extra" else name + rng.choice("abc")] = one.make(rng)
        if closed == "open" and rng.random() < 0.3:
            inside["any thing"] = Value(_ANY, {"x": [1, None]})
        return Value(spec, inside=dict(rng.sample(list(inside.items()), len(inside))))

    def broken(rng, value):
        now = {name: plain(member) for name, member in value.inside.items()}
        kind = rng.randrange(3)
        if kind == 0 and required:
            now.pop(rng.choice(required))
            return Fault(now, CLOSE)
        if kind == 1 and closed in {"closed", "patterned"}:
            key = rng.choice(["zz", "nam", "idd", "p_"])
            return Fault({**now, key: 1}, CLOSE, key, key_only=True)
        if kind == 1 and closed == "typed":
            return Fault({**now, "zz": "no number"}, START, "zz")
        return _wrong_type(rng, spec.types | value.types)

    spec = Spec(schema, make, broken, frozenset({"object"}), "object")
    return spec


_ANY = Spec(True, lambda rng: Value(_ANY, 1), lambda rng, value: Fault(Raw("?"), START), frozenset(), "any")


# ------------------------------------------------------------------------------------------------- references, branches


def either(rng, depth, defs) -> Spec:
    """`anyOf` or `oneOf` of values of different types."""
    found: dict[frozenset[str], Spec] = {}
    for _ in range(3):
        one = made(rng, depth - 1, defs)
        if one.types and not any(one.types & types for types in found):
            found[one.types] = one
    branches = list(found.values())
    if not branches:
        return null(rng)
    types = frozenset().union(*found)

    def make(rng):
        value = rng.choice(branches).make(rng)
        value.types |= types
        return value

    return Spec(
        {rng.choice(["anyOf", "oneOf"]): [one.schema for one in branches]}, make, _never, types, "either"
    )


def tagged(rng, depth, defs) -> Spec:
    """Objects that a required `kind` tells apart, at any place."""
    branches = [obj(rng, depth, defs, tag) for tag in ("circle", "circus", "square")[: rng.randint(2, 3)]]

    def make(rng):
        value = rng.choice(branches).make(rng)
        value.is_tagged = True
        return value

    schema = {rng.choice(["anyOf", "oneOf"]): [one.schema for one in branches]}
    return Spec(schema, make, _never, frozenset({"object"}), "tagged")


def _never(rng, value):
    raise AssertionError("the value has the spec of its branch")


def together(rng, depth, defs) -> Spec:
    """`allOf` with a rule of its own in each part."""
    base = integer(rng) if rng.random() < 0.5 else obj(rng, depth, defs)
    rest = dict(base.schema)
    parts = []
    for name in list(rest):
        # `additionalProperties` knows only the names beside it
        if name not in {"additionalProperties", "properties", "patternProperties"} and rng.random() < 0.6:
            parts.append({name: rest.pop(name)})  # noqa: PERF401 -- it takes from `rest`
    schema = {"allOf": [*parts, rest]} if rng.random() < 0.5 else {**rest, "allOf": parts or [True]}
    return Spec(schema, base.make, base.broken, base.types, base.name)


def referred(rng, depth, defs) -> Spec:
    target = made(rng, depth - 1, defs)
    name = f"d{len(defs)} é/~"
    defs[name] = target.schema
    quoted = name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")
    return Spec({"$ref": f"#/$defs/{quoted}"}, target.make, target.broken, target.types, target.name)


def recursive(rng, depth, defs) -> Spec:
    """A tree: a node has a value and nodes."""
    leaf = rng.choice([integer, text, enumerated])(rng)
    name = f"tree{len(defs)}"
    reference = {"$ref": f"#/$defs/{name}"}
    defs[name] = {
        "type": "object",
        "properties": {
            "value": leaf.schema,
            "nodes": {"type": "array", "items": reference, "maxItems": 2},
            "up": {"anyOf": [reference, {"type": "null"}]},
        },
        "required": ["value"],
        "additionalProperties": False,
    }

    def make(rng, depth=3):
        inside: dict[str, Value] = {"value": leaf.make(rng)}
        if depth and rng.random() < 0.7:
            items = [make(rng, depth - 1) for _ in range(rng.randint(0, 2))]
            inside["nodes"] = Value(nodes, inside=items)
        if depth and rng.random() < 0.4:
            inside["up"] = make(rng, depth - 1)
        return Value(spec, inside=dict(rng.sample(list(inside.items()), len(inside))))

    def broken(rng, value):
        now = {key: plain(member) for key, member in value.inside.items()}
        if rng.random() < 0.5:
            del now["value"]
            return Fault(now, CLOSE)
        return Fault({**now, "val": 1}, CLOSE, "val", key_only=True)

    nodes = Spec({}, make, lambda rng, value: Fault({}, START), frozenset({"array"}), "nodes")
    spec = Spec(reference, make, broken, frozenset({"object"}), "tree")
    return spec


_SCALARS = [null, boolean, integer, number, text, pattern, formatted, enumerated, mixed]
_NESTED = [array, fixed, obj, obj, either, tagged, together, referred, recursive]


def made(rng: random.Random, depth: int, defs: dict) -> Spec:
    if depth <= 0 or rng.random() < 0.25:
        return rng.choice(_SCALARS)(rng)
    return rng.choice(_NESTED)(rng, depth, defs)


def schema(seed: int) -> Made:
    """Return the schema of a seed. Every kind comes as the root in turn."""
    rng = random.Random(seed)
    defs: dict = {}
    kinds = [*_SCALARS, *_NESTED]
    kind = kinds[seed % len(kinds)]
    return Made(kind(rng) if kind in _SCALARS else kind(rng, 3, defs), defs)
