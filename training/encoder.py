"""The encoder with its heads, and how it is fitted: one forward pass of MiniLM, mean pooling, a linear layer for all heads.

Needs torch and transformers, which the gateway never does. `training/README.md` says how to make the environment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import BertModel

from training.rows import HEADS, Row, targets

DIMENSIONS = 384
SMOOTHING = 0.03
"""Labels are this far from 0 and 1: public labels are wrong more often than that."""


@dataclass(frozen=True)
class Fit:
    """How a fit runs. `drawn` rows are drawn by weight in each epoch, with repetition.

    `frozen` lower layers stay as they are, of 6.
    """

    epochs: int = 3
    drawn: int = 20_000
    batch: int = 32
    rate: float = 5e-5
    head_rate: float = 1e-3
    frozen: int = 2
    seed: int = 0


class Detector(nn.Module):
    """MiniLM with one linear layer for all heads."""

    def __init__(self, base: Path, tokens: int = 96) -> None:
        """`base` is the folder with the weights, the configuration and `tokenizer.json` of all-MiniLM-L6-v2.

        Of longer texts, only the first `tokens` are read, in training and after it.
        """
        super().__init__()
        self.encoder = BertModel.from_pretrained(base, add_pooling_layer=False)
        self.heads = nn.Linear(DIMENSIONS, len(HEADS))
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(tokens)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits of the heads, texts by heads."""
        states = self.encoder(ids, attention_mask=mask).last_hidden_state
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.heads(mean)

    def freeze(self, layers: int) -> None:
        """Keep the embeddings and the lower layers as they are. It saves time, and what they know of the language stays."""
        lower = [self.encoder.embeddings, *self.encoder.encoder.layer[:layers]]
        for part in lower:
            for weight in part.parameters():
                weight.requires_grad = False

    def scores(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float64]:
        """Return the probabilities of the heads for some texts, texts by heads."""
        self.eval()
        encoded = [one.ids for one in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda at: len(encoded[at]))
        found = np.zeros((len(encoded), len(HEADS)), np.float64)
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                some = order[start : start + batch]
                found[some] = torch.sigmoid(self(*padded([encoded[at] for at in some])).double()).numpy()
        return found


def padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids as one tensor with its mask."""
    longest = max(map(len, ids))
    found = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros_like(found)
    for at, one in enumerate(ids):
        found[at, : len(one)] = torch.tensor(one)
        mask[at, : len(one)] = 1
    return found, mask


def fit(
    detector: Detector,
    rows: Sequence[Row],
    weight: NDArray[np.float32],
    how: Fit,
) -> None:
    """Fit the heads and the upper layers to rows, which are drawn by weight, and print how it goes.

    A head without a label has no loss.
    """
    torch.manual_seed(how.seed)
    rng = np.random.default_rng(how.seed)
    detector.freeze(how.frozen)
    encoded = [one.ids for one in detector.tokenizer.encode_batch([row.text for row in rows])]
    values, mask = targets(rows)
    values = values * (1 - 2 * SMOOTHING) + SMOOTHING
    body = [one for one in detector.encoder.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": how.rate}, {"params": detector.heads.parameters(), "lr": how.head_rate}],
        weight_decay=0.01,
    )
    steps = how.epochs * -(-how.drawn // how.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [how.rate, how.head_rate], total_steps=steps, pct_start=0.06, anneal_strategy="linear"
    )
    began = time.perf_counter()
    for epoch in range(how.epochs):
        detector.train()
        losses: list[float] = []
        for some in _batches(encoded, weight, how, rng):
            logits = detector(*padded([encoded[at] for at in some]))
            known = torch.from_numpy(mask[some])
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(values[some]), weight=known, reduction="sum"
            ) / max(float(known.sum()), 1.0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*body, *detector.heads.parameters()], 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {time.perf_counter() - began:.0f} s", flush=True
        )


def _batches(
    encoded: Sequence[Sequence[int]], weight: NDArray[np.float32], how: Fit, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Yield the rows of one epoch in batches of like length, in a random order."""
    drawn = rng.choice(len(encoded), how.drawn, p=weight / weight.sum())
    lengths = np.array([len(encoded[at]) for at in drawn]) + rng.random(len(drawn)) * 4
    drawn = drawn[np.argsort(lengths)]
    batches = [drawn[at : at + how.batch].tolist() for at in range(0, len(drawn), how.batch)]
    rng.shuffle(batches)
    yield from batches
