"""How the upper layers of the encoder and its heads are fitted to rows.

Needs torch and transformers, which the gateway never does. `training/README.md` says how to make the environment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.layers import Top
from training.rows import HEADS
from training.states import States

SMOOTHING = 0.03
"""Labels are this far from 0 and 1: public labels are wrong more often than that."""


@dataclass(frozen=True)
class Fit:
    """How a fit runs. `drawn` texts are drawn by weight in each epoch, with repetition."""

    epochs: int = 2
    drawn: int = 16_000
    batch: int = 32
    rate: float = 1e-4
    head_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """What is learned from: states, labels and their mask (texts by heads), and the weight of each text."""

    states: States
    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    weight: NDArray[np.float32]


def fit(top: Top, examples: Examples, how: Fit) -> None:
    """Fit the top to examples, and print how it goes. A head without a label has no loss."""
    torch.manual_seed(how.seed)
    rng = np.random.default_rng(how.seed)
    body = list(top.layers.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": how.rate}, {"params": top.heads.parameters(), "lr": how.head_rate}],
        weight_decay=0.01,
    )
    steps = how.epochs * -(-how.drawn // how.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [how.rate, how.head_rate], total_steps=steps, pct_start=0.06, anneal_strategy="linear"
    )
    began = time.perf_counter()
    for epoch in range(how.epochs):
        top.train()
        losses: list[float] = []
        for some in _batches(examples, how, rng):
            loss = _loss(top, examples, some)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(top.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        spent = time.perf_counter() - began
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {spent:.0f} s", flush=True)


def _loss(top: Top, examples: Examples, texts: Sequence[int]) -> torch.Tensor:
    known = torch.from_numpy(examples.mask[texts])
    values = torch.from_numpy(examples.values[texts] * (1 - 2 * SMOOTHING) + SMOOTHING)
    loss = nn.functional.binary_cross_entropy_with_logits(
        _logits(top, examples.states, texts), values, weight=known, reduction="sum"
    )
    return loss / max(float(known.sum()), 1.0)


def _logits(top: Top, states: States, texts: Sequence[int]) -> torch.Tensor:
    """Return the logits of texts: of each head, those of its most suspicious window."""
    parts = [states.windows(text) for text in texts]
    with torch.autocast("cpu", torch.bfloat16):
        every = top(*states.batch([window for part in parts for window in part]))
    return torch.stack([part.max(0).values for part in every.split([len(part) for part in parts])])


def logits(top: Top, states: States, texts: Sequence[int], batch: int = 64) -> NDArray[np.float64]:
    """Return the logits of the heads for some texts, texts by heads."""
    top.eval()
    found = np.zeros((len(texts), len(HEADS)), np.float64)
    order = sorted(range(len(texts)), key=lambda at: states.length(states.windows(texts[at])[0]))
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            found[some] = _logits(top, states, [texts[at] for at in some]).double().numpy()
    return found


def _batches(examples: Examples, how: Fit, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield the texts of one epoch in batches of like length, in a random order."""
    weight = examples.weight.astype(np.float64)
    drawn = rng.choice(len(weight), how.drawn, p=weight / weight.sum())
    states = examples.states
    lengths = np.array([sum(map(states.length, states.windows(text))) for text in drawn])
    drawn = drawn[np.argsort(lengths + rng.random(len(drawn)) * 4)]
    batches = [drawn[at : at + how.batch].tolist() for at in range(0, len(drawn), how.batch)]
    rng.shuffle(batches)
    yield from batches
