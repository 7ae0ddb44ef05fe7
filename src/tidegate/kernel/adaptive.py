"""A limit of concurrent calls to one engine that follows how many calls the engine really serves at once.

The signal is the time to the first byte (TTFT). The total time of a call says nothing, since it depends on the length of
the answer. A call whose first byte takes longer than expected waits inside the engine. The calls in flight less those that
wait are in service, and their number is the engine's capacity. The limit falls to that number. It grows in steps while
calls wait at the gateway and none waits in the engine. After each step, it waits until calls that got the new seats have
been answered.

The expected TTFT is measured: it is the first decile of the last one to two minutes, by size of the prompt without its
cached tokens. A TTFT that varies is no queue, since a queue delays nearly every call, and lasts. Therefore the limit falls
only if most calls were late, and only by the number of calls that waited all through an interval.

Where short answers make TTFT most of a call's time, and it varies much for reasons that the engine does not report (such as
cached prompts), TTFT cannot tell that apart from a queue, and the limit may become too low. What the engine reports of its
own queue then decides.
"""

from __future__ import annotations

from math import inf, log2

import msgspec

INTERVAL_S = 1.0
# The calls that wait in the engine are counted this often. An interval with few answers lasts longer, at most 5 s.
LOOK_S = 0.2
LONGEST_INTERVAL_S = 5.0
FEW = 3
# A first byte is late after this many times the expected time and a constant, since short times vary most. While the engine
# itself reports that no call waits, both count four times.
PATIENCE = 2.0
PATIENCE_S = 0.05
TRUSTED = 4.0
# The limit falls if more than this share of the answers were late, and more than that share of the calls waited. Once most
# answers have been late for `HELD_S`, it falls by any number of waiting calls: what to expect would otherwise be measured
# with a queue, grow with it, and no longer show it.
LATE = 0.8
TOLERANCE = 0.1
HELD_S = 5.0
# If most answers have been late for so long, although the limit fell, TTFT has changed and is learnt anew.
CHANGED_S = 15.0
# The limit grows by at least 1 and by this share, and faster after so many steps without a late answer.
GROWTH = 0.1
SMALL_STEPS = 3
FAST_GROWTH = 0.25
# The limit does not grow for this long after a fall, and while an engine reports that it is nearly full, as long as the
# report is new. The pause is twice as long after each fall back to about the same limit, since the engine has not changed.
PAUSE_S = 5.0
LONGEST_PAUSE_S = 20.0
REPORT_S = 10.0
KV_NEARLY_FULL = 0.9
KV_FULL = 0.97
REFUSED = 0.9


class Asked(msgspec.Struct, eq=False):
    """A streamed call that the engine was asked for. `limit` learns from it. `ttft_s` is negative before its first byte.

    `estimate` is the estimated size of its prompt, and `size` the one that such prompts turned out to have.
    """

    limit: AdaptiveLimit
    estimate: int
    size: int
    at: float
    ttft_s: float = -1.0


class AdaptiveLimit:
    """The limit of one engine, between `least` and `most`. It begins at `most`. `least` is 1 more than the reserved seats.

    `why` is a word for what moved the limit last: `settings`, `demand` (calls waited at the gateway and none in the
    engine), `queue_delay` (first bytes were late), `refused` (503 or 429), or what the engine reported: `engine_queue` or
    `kv_cache`. All times are seconds of one monotonic clock.
    """

    def __init__(self, *, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.limit = most
        self.why = "settings"
        self._expected = _Expected()
        self._pending: set[Asked] = set()
        self._streamed = 0  # calls asked and not ended
        self._paused_until = -inf
        self._full_until = -inf
        self._trusted_until = -inf
        self._patience = 1.0
        self._refused_at = -inf
        self._late_since = inf  # and the limit has not moved
        self._changed_since = inf  # the same, but the limit may have fallen
        self._fell_to = most
        self._pause_s = PAUSE_S
        self._steps = 0  # of growth since the last fall
        self._step = 1  # the last one
        self._moved_at = -inf
        self._prompt = 0  # calls asked since then and answered in time
        self._look_at = -inf
        # Of the present interval:
        self._began = -inf
        self._answered = 0
        self._late = 0
        self._in_service = 0  # the most that a look has found
        self._constrained = False

    def set_bounds(self, least: int, most: int) -> None:
        """Set new bounds, which hold at once. A limit that is at its upper bound stays there."""
        limit = most if self.limit == self.most else min(max(self.limit, least), most)
        self.least, self.most = least, most
        if limit != self.limit:
            self.limit, self.why = limit, "settings"

    def asked(self, tokens: int, now: float) -> Asked:
        """Note that a streamed call was sent. `tokens` is an estimate of its prompt.

        The estimate may be wrong by any factor that is about the same for prompts of about the same estimate.
        """
        estimate = _size(tokens)
        asked = Asked(self, estimate, self._expected.real_size[estimate], now)
        self._pending.add(asked)
        self._streamed += 1
        return asked

    def answered(self, asked: Asked, now: float) -> None:
        """Note the first byte of a call."""
        self._pending.discard(asked)
        asked.ttft_s = ttft_s = now - asked.at
        self._answered += 1
        if ttft_s > self._patience * (PATIENCE * self._expected.of_size[asked.size] + PATIENCE_S):
            self._late += 1
        elif asked.at >= self._moved_at and asked.size in self._expected.known:
            self._prompt += 1

    def ended(self, asked: Asked, uncached_tokens: int | None) -> None:
        """Learn from a call that has ended. `uncached_tokens` is what the engine reported, None if it reported nothing.

        A call that ended before its first byte teaches nothing.
        """
        self._streamed -= 1
        if asked.ttft_s >= 0:
            size = asked.estimate if uncached_tokens is None else _size(uncached_tokens)
            self._expected.add(asked.estimate, size, asked.ttft_s)
        else:
            self._pending.discard(asked)

    def refused(self, in_flight: int, now: float) -> None:
        """Note that the engine refused a call because it is saturated (503 or 429), with so many calls in flight."""
        if now - self._refused_at < INTERVAL_S:
            return
        self._refused_at = now
        self._fall(int(in_flight * REFUSED), "refused", now)

    def reported(
        self, *, running: int, waiting: int | None, kv_usage: float | None, own: int, now: float
    ) -> None:
        """Note what the engine reports of the calls of all its clients. `own` of them are the gateway's.

        `waiting` and `kv_usage`, from 0 to 1, are None if the engine does not report them.
        """
        self._trusted_until = now + REPORT_S if waiting == 0 else -inf
        own_waiting = waiting * min(1.0, own / (running + waiting)) if waiting else 0.0
        if own_waiting > TOLERANCE * own:
            self._fall(round(own - own_waiting), "engine_queue", now)
        elif kv_usage is not None and kv_usage > KV_FULL:
            self._fall(int(own * REFUSED), "kv_cache", now)
        elif kv_usage is None or kv_usage <= KV_NEARLY_FULL:
            self._full_until = -inf
            return
        self._full_until = now + REPORT_S

    def update(self, now: float, *, in_flight: int, wanted: bool) -> bool:
        """Move the limit if an interval is over, and return whether it moved.

        To be called whenever a seat is taken, given back, or not free. `wanted` tells whether calls wait at the gateway.
        """
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        overdue = self._look(now, in_flight)
        # Seats may be free that waiting calls cannot use: `least` - 1 are reserved.
        self._constrained |= wanted and in_flight >= self.limit - self.least
        passed, late = now - self._began, self._late + overdue
        counted = self._answered + overdue
        unsure = counted < FEW and (late > 0 or bool(self._pending and not self._answered))
        if passed < (LONGEST_INTERVAL_S if unsure else INTERVAL_S):
            return False
        limit = self.limit
        if late > LATE * counted:
            self._consider_fall(in_flight, now)
        else:
            self._late_since = self._changed_since = inf
            if in_flight <= limit and self._may_grow(now, in_flight):
                self._grow(now)
        self._begin(now)
        return self.limit != limit

    def _look(self, now: float, in_flight: int) -> int:
        """Count the calls in service, and return the number of calls that are late without an answer."""
        self._patience = TRUSTED if now < self._trusted_until else 1.0
        waiting = overdue = 0
        expected, patience = self._expected.of_size, self._patience
        for one in self._pending:
            age, expected_s = now - one.at, expected[one.size]
            if age > expected_s:
                waiting += 1
                overdue += age > patience * (PATIENCE * expected_s + PATIENCE_S)
        if waiting >= FEW:  # calls that are not streamed wait as much, and show nothing of it
            waiting = max(waiting, waiting * in_flight // self._streamed)
        self._in_service = max(self._in_service, in_flight - waiting)
        return overdue

    def _consider_fall(self, in_flight: int, now: float) -> None:
        self._late_since = min(self._late_since, now)
        self._changed_since = min(self._changed_since, now)
        self._steps = min(self._steps, SMALL_STEPS)
        if now - self._changed_since >= CHANGED_S:
            self._changed_since = inf
            self._expected.forget()
            return
        waited = in_flight - self._in_service
        if waited > TOLERANCE * in_flight or (waited > 0 and now - self._late_since >= HELD_S):
            self._fall(self._in_service, "queue_delay", now)

    def _may_grow(self, now: float, in_flight: int) -> bool:
        """Whether calls want it, and the calls that got the seats of the last step did not wait in the engine."""
        if not self._constrained or now < max(self._paused_until, self._full_until):
            return False
        return not self._streamed or self._prompt >= max(1, self._step * self._streamed // max(1, in_flight))

    def _grow(self, now: float) -> None:
        share = GROWTH if self._steps < SMALL_STEPS else FAST_GROWTH
        self._step = max(1, int(self.limit * share))
        self._steps += 1
        self._move(min(self.most, self.limit + self._step), "demand", now)

    def _fall(self, limit: int, why: str, now: float) -> None:
        """Lower the limit, at most by half at once."""
        if self._steps:
            back = self.limit <= 1.5 * self._fell_to
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if back else PAUSE_S
        self._steps, self._late_since = 0, inf
        self._paused_until = now + self._pause_s
        self._fell_to = min(self.limit, max(limit, self.limit // 2, self.least))
        self._step = 1
        self._move(self._fell_to, why, now)

    def _move(self, limit: int, why: str, now: float) -> None:
        if limit != self.limit:
            self.limit, self.why = limit, why
            self._moved_at, self._prompt = now, 0

    def _begin(self, now: float) -> None:
        self._began = now
        self._answered = self._late = self._in_service = 0
        self._constrained = False
        self._expected.refresh(now)


SIZES = 24  # sizes of prompts: powers of two, the last for all above 4 million tokens
_BINS = 84  # of TTFT: quarters of powers of two, from 1 ms to 35 minutes
QUANTILE = 0.1
ENOUGH = 8  # samples of a size; the first may have waited
WINDOW_S = 60.0


class _Expected:
    """What TTFT to expect for each size of prompt: a low quantile of the present window and the one before."""

    def __init__(self) -> None:
        self.of_size = [inf] * SIZES
        self.known: set[int] = set()  # sizes that have enough samples to tell that a call did not wait
        # For each estimated size, the largest known one that prompts have had: the others were cached in part.
        self.real_size = list(range(SIZES))
        self._windows: list[dict[int, list[int]]] = [{}, {}]
        self._sizes: list[dict[int, set[int]]] = [{}, {}]  # seen, by estimated size
        self._window_ends = -inf
        self._changed = False

    def add(self, estimate: int, size: int, ttft_s: float) -> None:
        sizes = self._sizes[0].get(estimate)
        if sizes is None:
            sizes = self._sizes[0][estimate] = set()
        sizes.add(size)
        bins = self._windows[0].get(size)
        if bins is None:
            bins = self._windows[0][size] = [0] * _BINS
        bins[min(max(int(4 * log2(ttft_s * 1000)), 0), _BINS - 1) if ttft_s > 0 else 0] += 1
        self._changed = True

    def forget(self) -> None:
        self._windows = [{}, {}]
        self._sizes = [{}, {}]
        self._changed = False

    def refresh(self, now: float) -> None:
        # A window lasts until it has enough samples, however few calls are answered.
        if now >= self._window_ends and any(map(_is_enough, self._windows[0].values())):
            self._window_ends = now + WINDOW_S
            self._windows = [{}, self._windows[0]]
            self._sizes = [{}, self._sizes[0]]
        elif not self._changed:
            return
        self._changed = False
        self.known = {size for one in self._windows for size, bins in one.items() if _is_enough(bins)}
        self.of_size = self._of_sizes()
        for estimate in range(SIZES):
            seen = set[int]().union(*(sizes.get(estimate, ()) for sizes in self._sizes))
            self.real_size[estimate] = max(seen & self.known, default=estimate)

    def _of_sizes(self) -> list[float]:
        """A longer prompt takes longer, at most in proportion: this bounds the sizes without samples."""
        known = [min(_quantile(window.get(size)) for window in self._windows) for size in range(SIZES)]
        for size in range(1, SIZES):
            if known[size] == inf:
                known[size] = 2 * known[size - 1]
        for size in reversed(range(SIZES - 1)):
            known[size] = min(known[size], known[size + 1])
        return known


def _size(tokens: int) -> int:
    return min(tokens.bit_length(), SIZES - 1)


def _is_enough(bins: list[int]) -> bool:
    return sum(bins) >= ENOUGH


def _quantile(bins: list[int] | None) -> float:
    if bins is None:
        return inf
    beyond = sum(bins) * QUANTILE
    seen = 0
    for at, count in enumerate(bins):
        seen += count
        if seen > beyond:
            return 2 ** ((at + 0.5) / 4) / 1000
    return inf
