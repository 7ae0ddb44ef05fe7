"""The sample of one request: times, counts, and its outcome. All figures are computed from samples alone."""

from __future__ import annotations

from array import array

import msgspec


class Sample(msgspec.Struct, gc=False):
    """The measurements of one request. Times are in seconds of the run's clock.

    `due` is the planned time of sending, `sent` the actual one, and `done` the time when the stream ended or failed.
    `contents` has the time of every chunk with content: text, reasoning, a refusal or a part of a tool call. `error` is the
    kind of failure, or "". The server sends the token counts. If `counted` is False, it sent none, and chunks were counted.
    """

    due: float
    sent: float = 0.0
    done: float = 0.0
    contents: array[float] = msgspec.field(default_factory=lambda: array("d"))
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    counted: bool = False
    error: str = ""
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether a complete answer arrived."""
        return not self.error

    @property
    def ttft(self) -> float | None:
        """Seconds from sending to the first content."""
        return self.contents[0] - self.sent if self.contents else None

    @property
    def latency(self) -> float:
        """Seconds from sending to the last content, or to the end of an answer without content."""
        return (self.contents[-1] if self.contents else self.done) - self.sent

    @property
    def itl(self) -> float | None:
        """Mean seconds between tokens after the first."""
        return self._spread(self.contents[-1]) if self.contents else None

    @property
    def tpot(self) -> float | None:
        """Mean seconds per token after the first, up to the end of the stream."""
        return self._spread(self.done) if self.contents else None

    def _spread(self, end: float) -> float | None:
        # An answer in one piece has no ITL. A value of 0 ms would favour servers that send their answers all at once.
        if len(self.contents) < 2 or self.output_tokens < 2:
            return None
        return (end - self.contents[0]) / (self.output_tokens - 1)
