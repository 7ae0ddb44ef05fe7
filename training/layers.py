"""MiniLM in two parts: a trunk of lower layers that stays as it is, and a top of upper layers and heads that is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import BertModel

from training.rows import HEADS

DIMENSIONS: Final = 384
FAR: Final = -40.0
"""What is added to the score of a padding token: its share is 4e-18. Far less would be a subnormal number in the softmax
of onnxruntime, and sums of those take several times as long."""


def padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids as one tensor with its mask."""
    longest = max(map(len, ids))
    found = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros_like(found)
    for at, one in enumerate(ids):
        found[at, : len(one)] = torch.tensor(one)
        mask[at, : len(one)] = 1
    return found, mask


def through(layers: nn.ModuleList, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Run states through layers. The mask has 1 where a token is."""
    bias = (1.0 - mask[:, None, None, :].to(states.dtype)) * FAR
    for layer in layers:
        found: Any = layer(states, attention_mask=bias)
        states = found[0] if isinstance(found, tuple) else found
    return states


def encoder_of(base: Path) -> BertModel:
    """Read all-MiniLM-L6-v2 from its folder."""
    return BertModel.from_pretrained(base, add_pooling_layer=False, attn_implementation="eager")


class Trunk(nn.Module):
    """The embeddings and the lower layers. What they know of the language stays."""

    def __init__(self, encoder: BertModel, layers: int) -> None:
        super().__init__()
        self.embeddings = encoder.embeddings
        self.layers = encoder.encoder.layer[:layers]
        self.eval()

    @torch.inference_mode()
    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states of token ids, texts by tokens by dimensions."""
        with torch.autocast("cpu", torch.bfloat16):
            return through(self.layers, self.embeddings(input_ids=ids), mask).float()


class Top(nn.Module):
    """The upper layers, the mean over the tokens, and one linear layer for all heads."""

    def __init__(self, encoder: BertModel, layers: int) -> None:
        """`layers` are those of the trunk, which come before."""
        super().__init__()
        self.layers = deepcopy(encoder.encoder.layer[layers:])
        self.heads = nn.Linear(DIMENSIONS, len(HEADS))

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits of the heads, windows by heads."""
        states = through(self.layers, states, mask)
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.heads(mean.float())
