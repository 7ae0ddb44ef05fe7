"""Shares parts among several borrowers. A part closes when its last borrower gives it back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Loan(Generic[T]):
    def __init__(self, part: T) -> None:
        self.part = part
        self.borrowers = 0


class Lending(Generic[T]):
    """The open parts, by key. `close` is called with a part as soon as the part has no borrower left."""

    def __init__(self, close: Callable[[T], Awaitable[None]]) -> None:
        self._close = close
        self._loans: dict[str, _Loan[T]] = {}
        self._opening = asyncio.Lock()

    async def borrow(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return the open part of a key; make the part if there is none.

        Raises the exceptions of `make`; nothing has changed in this case.
        """
        async with self._opening:  # two tasks that ask at the same time get the same part
            loan = self._loans.get(key)
            if loan is None:
                loan = self._loans[key] = _Loan(await make())
            loan.borrowers += 1
        return loan.part

    async def give_back(self, part: T) -> None:
        """Give a borrowed part back. The part closes if this was its last borrower. Raises the exceptions of `close`."""
        key, loan = next((key, loan) for key, loan in self._loans.items() if loan.part is part)
        loan.borrowers -= 1
        if loan.borrowers == 0:
            del self._loans[key]
            await self._close(part)

    def lent(self) -> list[T]:
        """Return every open part."""
        return [loan.part for loan in self._loans.values()]

    async def close_all(self) -> list[BaseException]:
        """Close every part, even if it is borrowed, and return the failures. One failure does not stop the others."""
        parts = self.lent()
        self._loans.clear()
        ended = await asyncio.gather(*map(self._close, parts), return_exceptions=True)
        return [failure for failure in ended if failure is not None]
