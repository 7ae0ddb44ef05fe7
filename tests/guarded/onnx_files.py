"""A tiny classifier as an ONNX file, written by hand, and a tokenizer for it.

The model finds the token `EVIL` in a window. The format is that of `onnx.proto3`, whose field numbers stand below.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

EVIL = 4
WORDS = {
    "[PAD]": 0,
    "[CLS]": 1,
    "[SEP]": 2,
    "[UNK]": 3,
    "evil": EVIL,
    "my": 5,
    "plan": 6,
    "##evil": 7,
    "##plan": 8,
}
_FLOAT, _INT64 = 1, 7


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(_bytes(1, name) for name in inputs)
    return names + _bytes(2, output) + _bytes(4, kind) + b"".join(_bytes(5, one) for one in attributes)


def _number(name: str, value: int) -> bytes:
    return _bytes(1, name) + _int(3, value) + _int(20, 2)


def _numbers(name: str, *values: int) -> bytes:
    return _bytes(1, name) + b"".join(_int(8, value) for value in values) + _int(20, 7)


def _tensor(name: str, kind: int, dims: list[int], raw: bytes) -> bytes:
    return b"".join(_int(1, size) for size in dims) + _int(2, kind) + _bytes(8, name) + _bytes(9, raw)


def _value(name: str, kind: int, *dims: str) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, shape)))


def write_model(
    path: Path, *, labels: int = 2, input_name: str = "input_ids", logits: Sequence[tuple[float, float]] = ()
) -> Path:
    """Write a model whose logits are (0, -5) without the token EVIL, and (0, 5) with it.

    With `logits`, each label has its own two, without the token and with it.
    """
    logits = logits or [(0.0, 0.0)] * (labels - 1) + [(-5.0, 5.0)]
    labels = len(logits)
    weights = struct.pack(f"<{labels}f", *[found - without for without, found in logits])
    biases = struct.pack(f"<{labels}f", *[without for without, _ in logits])
    nodes = [
        _node("Mul", [input_name, "attention_mask"], "seen"),
        _node("Equal", ["seen", "evil"], "is_evil"),
        _node("Cast", ["is_evil"], "found", _number("to", _FLOAT)),
        _node("ReduceMax", ["found"], "any", _numbers("axes", 1), _number("keepdims", 1)),
        _node("MatMul", ["any", "weights"], "weighed"),
        _node("Add", ["weighed", "biases"], "logits"),
    ]
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "tiny")
    for tensor in (
        _tensor("evil", _INT64, [1], struct.pack("<q", EVIL)),
        _tensor("weights", _FLOAT, [1, labels], weights),
        _tensor("biases", _FLOAT, [labels], biases),
    ):
        graph += _bytes(5, tensor)
    for name in (input_name, "attention_mask"):
        graph += _bytes(11, _value(name, _INT64, "batch", "tokens"))
    graph += _bytes(12, _value("logits", _FLOAT, "batch", "labels"))
    path.write_bytes(_int(1, 8) + _bytes(8, _bytes(1, "") + _int(2, 13)) + _bytes(7, graph))
    return path


def write_tokenizer(path: Path) -> Path:
    tokenizer = Tokenizer(WordPiece(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))
    return path
