"""How many tokens an answer will have, learned from the answers before it.

A call that names no `max_tokens` reserves an estimate, and what it uses beyond that is charged when it ends. The estimate
is the mean of the last answers of the same key and model, weighted exponentially (Brown, Statistical Forecasting for
Inventory Control, 1959). While there are few answers, each has the same weight (Robbins and Monro, 1951).

The mean has a property that a high quantile lacks: whatever the distribution, what is reserved is on average what is used,
since the errors of single calls cancel out in the sum of a bucket. A 90 % quantile leaves less debt, but it reserves
several times too much where most answers are short and some are long. `tests/quotas/test_replay.py` has the figures.

There are three levels: all answers, those of a model, and those of a key and model. An estimate starts with that of the
level above, as if that had been a few answers. It passes its own first answers on to the level above, and no later ones.
So a new key meets what new keys usually need, and a single busy key cannot decide what that is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

_PRIOR = 4
"""The number of answers that the estimate of the level above counts for."""
_PASSED_ON = 4
"""The number of answers that are passed on to the level above."""
_MEMORY = 32
"""The number of answers after which the weight of an answer has fallen to 1/e. So a lasting change is followed within some
tens of calls, and the error of the mean is about an eighth of the standard deviation."""
_MEMORY_SHARED = 128
_MOST_TIMES = 16
"""An answer counts for at most so many times the present estimate, so that one odd figure does not decide what follows."""

_Name = TypeVar("_Name", str, tuple[str, str])


class _Mean:
    """An exponentially weighted mean. `seen` counts the answers up to the length of the memory."""

    __slots__ = ("_above", "_first", "_memory", "seen", "tokens")

    def __init__(self, above: _Mean | None, first: int, memory: int, seen: int = _PRIOR) -> None:
        self.tokens: float = above.tokens if above else first
        self._above = above
        self._first = first
        self._memory = memory
        self.seen: int = seen if above is None else min(seen, above.seen)

    def learn(self, tokens: int) -> None:
        seen, mean = self.seen, self.tokens
        if seen < self._memory:
            self.seen = seen = seen + 1
            if self._above is not None and seen <= _PRIOR + _PASSED_ON:
                self._above.learn(tokens)
        if tokens > self._first:
            tokens = min(tokens, max(self._first, int(_MOST_TIMES * mean)))
        elif tokens < 0:
            tokens = 0
        self.tokens = mean + (tokens - mean) / seen


class OutputEstimate:
    """Estimates the tokens of an answer by key and model.

    At most `most` pairs are kept, and as many models; the one that was learned the longest time ago leaves. `first` is the
    estimate as long as nothing is known, and counts as much as `prior` answers after that. Both methods take constant time.
    """

    def __init__(self, *, most: int = 10_000, first: int = 1024, prior: int = _PRIOR) -> None:
        self._most = most
        self._first = first
        self._all = _Mean(None, first, _MEMORY_SHARED, prior)
        self._models: OrderedDict[str, _Mean] = OrderedDict()
        self._pairs: OrderedDict[tuple[str, str], _Mean] = OrderedDict()

    def expect(self, key: str, model: str) -> int:
        """Return the tokens that the next answer is expected to have, at least 1."""
        known = self._pairs.get((key, model)) or self._models.get(model) or self._all
        return int(known.tokens) + 1

    def learn(self, key: str, model: str, tokens: int) -> None:
        """Take into account an answer that had so many tokens."""
        pair = (key, model)
        known = self._pairs.get(pair)
        if known is None:
            shared = self._models.get(model) or self._keep(self._models, model, self._all, _MEMORY_SHARED)
            self._models.move_to_end(model)
            known = self._keep(self._pairs, pair, shared, _MEMORY)
        else:
            self._pairs.move_to_end(pair)
        known.learn(tokens)

    def _keep(self, table: OrderedDict[_Name, _Mean], name: _Name, above: _Mean, memory: int) -> _Mean:
        if len(table) >= self._most:
            table.popitem(last=False)
        made = table[name] = _Mean(above, self._first, memory)
        return made
