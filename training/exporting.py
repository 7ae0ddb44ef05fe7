"""Makes the ONNX file of a fitted encoder, with weights of 8 bits a channel."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from training.layers import Top, Trunk, through


class Whole(nn.Module):
    """Trunk and top as one: token ids in, logits of the heads out, without the types that training has."""

    def __init__(self, trunk: Trunk, top: Top) -> None:
        super().__init__()
        self.trunk, self.top = trunk, top

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the logits, texts by heads."""
        states = through(self.trunk.layers, self.trunk.embeddings(input_ids=input_ids), attention_mask)
        return self.top(states, attention_mask)


def export(trunk: Trunk, top: Top, target: Path) -> None:
    """Write the graph to `target`: `input_ids` and `attention_mask` (int64, texts by tokens) to `logits` (float32)."""
    ids = torch.randint(1000, 2000, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    free = {0: "batch", 1: "tokens"}
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "exact.onnx"
        torch.onnx.export(
            Whole(trunk, top).eval(),
            (ids, mask),
            str(exact),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": free, "attention_mask": free, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        # The heads are tiny, and their rounding is what one sees: they stay as they are.
        quantize_dynamic(
            exact,
            target,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_heads(exact),
        )


def _heads(model: Path) -> list[str]:
    """Return the names of the products of the heads, also those that they get when `quantize_dynamic` divides them."""
    named = [
        node.name
        for node in onnx.load(str(model)).graph.node
        if "heads" in node.name and node.op_type in {"Gemm", "MatMul"}
    ]
    return [*named, *(f"{name}_MatMul" for name in named)]
