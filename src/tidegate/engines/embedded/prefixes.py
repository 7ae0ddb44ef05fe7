"""Shares a frequent system prompt among the slots of a llama.cpp server.

llama.cpp keeps the computed prompt (the KV cache) per slot. So a system prompt that one slot has read is read again by
every other slot. To avoid this, the gateway chooses the slot of each call (`id_slot`). When the first call with a new
system prompt ends, its slot is saved to a file, and the file is restored into the slots that are still empty. A later
call with the same system prompt may get a slot with another prompt. Then the file is restored into that slot just before
the call. A restore takes 2-5 ms, whereas reading 300 tokens takes about a second on two cores.

A wrong belief about the content of a slot costs time, never correctness: llama.cpp compares tokens before it reuses any.
`SlotBook` makes the decisions and does no I/O. `SlotShare` carries them out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from tidegate.errors import UpstreamError
from tidegate.ports import Clock, Spawn

MIN_HEAD_BYTES = 256  # about 60 tokens; a shorter system prompt is read faster than it is saved and restored
MAX_TURNS = 64  # conversations are compared up to this turn; later turns are ignored
_INSTRUCTING_ROLES = frozenset(("system", "developer"))


class Trail(msgspec.Struct, frozen=True):
    """The digests of the beginnings of a prompt, for finding the slot that has read the most of that prompt.

    `head` is the digest of the leading system messages, or None if they are too short to be worth a file. `turns[i]` is
    the digest of everything up to and including the i-th message after them.
    """

    head: bytes | None = None
    turns: tuple[bytes, ...] = ()

    def shared_turns(self, other: Trail) -> int:
        """Return how many leading turns both trails have in common; 0 if their heads differ."""
        if self.head != other.head:
            return 0
        count = 0
        for mine, theirs in zip(self.turns, other.turns, strict=False):
            if mine != theirs:
                break
            count += 1
        return count


class Assignment(msgspec.Struct, frozen=True):
    """The slots that a call owns until `finished`.

    The first slot is the call's `id_slot`. `restore` is a file to restore into that slot before the call.
    """

    slots: tuple[int, ...]
    trail: Trail
    epoch: int
    restore: str | None = None


class Save(msgspec.Struct, frozen=True):
    """An order to save `slot` to `file` and then restore the file into the `empty` slots.

    All these slots stay busy until `SlotBook.saved` is called.
    """

    slot: int
    head: bytes
    file: str
    epoch: int
    empty: tuple[int, ...] = ()


class _Slot(msgspec.Struct):
    trail: Trail | None = None  # None means that the content is unknown
    busy: bool = False
    used_at: float = float("-inf")


class SlotBook:
    """Keeps track of the prompt in each slot, of the busy slots, and of the prompts on disk. Pure: `now` is passed in.

    `files` and `file_bytes` limit the saved files. The least recently used file is deleted first.
    """

    def __init__(self, slots: Sequence[int], *, files: int = 16, file_bytes: int = 256 << 20) -> None:
        self._slots = {number: _Slot() for number in slots}
        self._max_files = files
        self._max_bytes = file_bytes
        # The name and size of each head's file, with the least recently used first.
        self._saved: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._saving: set[bytes] = set()
        self._epoch = 0
        self._numbered = 0

    @property
    def free(self) -> int:
        """The number of slots that no call owns."""
        return sum(not slot.busy for slot in self._slots.values())

    @property
    def size(self) -> int:
        """The number of all slots."""
        return len(self._slots)

    def saving(self, head: bytes | None) -> bool:
        """Return whether a system prompt is being saved. A call that waits for the save can then restore the prompt."""
        return head in self._saving

    def assign(self, trail: Trail, now: float, *, width: int = 1) -> Assignment:
        """Give a call `width` free slots, one per choice that it asks for. Raises LookupError if fewer are free."""
        idle = [number for number, slot in self._slots.items() if not slot.busy]
        if not 0 < width <= len(idle):
            raise LookupError(f"{width} slots wanted, {len(idle)} free")
        first = self._best(idle, trail)
        rest = sorted((n for n in idle if n != first), key=self._age)[: width - 1]
        restore = None
        if trail.head is not None and trail.head in self._saved:
            self._saved.move_to_end(trail.head)
            held = self._slots[first].trail
            if held is None or held.head != trail.head:
                restore = self._saved[trail.head][0]
        if width > 1:
            # llama.cpp itself chooses the slots of further choices among all idle ones, so the content of each is unknown.
            for number in idle:
                self._slots[number].trail = None
        for number in (first, *rest):
            self._slots[number] = _Slot(busy=True, used_at=now)
        return Assignment(slots=(first, *rest), trail=trail, epoch=self._epoch, restore=restore)

    def finished(self, given: Assignment, now: float, *, read: bool) -> Save | None:
        """Free the slots of a call that has ended. `read` is True if its first token arrived, so its prompt was computed.

        The caller has to carry out a returned Save and confirm it with `saved`. Until then no call gets the Save's slots.
        """
        if given.epoch != self._epoch:
            return None
        for number in given.slots:
            self._slots[number] = _Slot(used_at=now)
        if not read:
            return None
        first = given.slots[0]
        self._slots[first].trail = given.trail
        head = given.trail.head
        if head is None or head in self._saved or head in self._saving or not self._max_files:
            return None
        return self._order_save(first, head)

    def saved(self, save: Save, size: int | None, *, placed: Sequence[int] = ()) -> tuple[str, ...]:
        """Confirm a save, and return the names of files to delete.

        `size` is the size of the file in bytes, or None if the save failed. The slots in `placed` have the prompt now.
        """
        self._saving.discard(save.head)
        if save.epoch == self._epoch:
            for number in (save.slot, *save.empty):
                self._slots[number].busy = False
            for number in placed:
                self._slots[number].trail = Trail(head=save.head)
        if size is None:
            return (save.file,)
        dropped = [self._saved.pop(save.head)[0]] if save.head in self._saved else []
        self._saved[save.head] = (save.file, size)
        while len(self._saved) > self._max_files or self._bytes_on_disk() > self._max_bytes:
            dropped.append(self._saved.popitem(last=False)[1][0])
        return tuple(dropped)

    def spoiled(self, file: str) -> None:
        """Forget a file that could not be restored."""
        for head, (name, _) in list(self._saved.items()):
            if name == file:
                del self._saved[head]

    def lost(self) -> None:
        """Note that the server has restarted: its slots are empty and free, and the saved files stay valid."""
        self._epoch += 1
        self._saving.clear()
        self._slots = {number: _Slot() for number in self._slots}

    def _order_save(self, first: int, head: bytes) -> Save:
        # Calls that arrive together start in one batch if their slots already have the prompt. A call that had to restore
        # the file first would miss that batch. Slots with another prompt keep it until they are needed.
        empty = tuple(n for n, slot in self._slots.items() if not slot.busy and slot.trail is None)
        for number in (first, *empty):
            self._slots[number].busy = True
        self._saving.add(head)
        self._numbered += 1
        name = f"slots-{first}-{self._numbered}.kv"
        return Save(slot=first, head=head, file=name, epoch=self._epoch, empty=empty)

    def _best(self, idle: list[int], trail: Trail) -> int:
        def worth(number: int) -> tuple[int, bool, float]:
            held = self._slots[number].trail or Trail()
            shared = held.shared_turns(trail)
            # A head that can be restored makes all slots equally good, so the least recently used one is taken.
            holds_head = trail.head is not None and held.head == trail.head and trail.head not in self._saved
            return (shared, holds_head, -self._age(number))

        return max(idle, key=worth)

    def _age(self, number: int) -> float:
        return self._slots[number].used_at

    def _bytes_on_disk(self) -> int:
        return sum(size for _, size in self._saved.values())


class Lease(msgspec.Struct):
    """One call's use of a slot. The call sends `slot` as `id_slot`, and sets `read` once the first token has arrived."""

    slot: int
    read: bool = False


class _Head(msgspec.Struct):
    role: str = ""


class _SavedReply(msgspec.Struct):
    n_written: int


class SlotShare:
    """Carries out the decisions of a SlotBook, through the `/slots` API of the llama.cpp server.

    `post(path, body)` sends JSON with the API key and returns status and body; it raises UpstreamError if it gets no
    answer. `directory` is the server's `slot_save_path`.
    """

    def __init__(
        self,
        book: SlotBook,
        post: Callable[[str, bytes], Awaitable[tuple[int, bytes]]],
        directory: Path,
        *,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._book = book
        self._post = post
        self._directory = directory
        self._clock = clock
        self._spawn = spawn
        self._generation = 0
        self._turn = asyncio.Lock()  # serves waiting calls in the order of arrival
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def lease(self, trail: Trail, generation: int, *, width: int = 1) -> AsyncGenerator[Lease]:
        """Hold a slot for one call. The slot already has the call's system prompt if that prompt was saved before.

        `generation` is the server's restart count. `width` is the number of choices that the call asks for. Waits while
        too few slots are free; the caller has to limit this wait.
        """
        given = await self._take(trail, generation, min(width, self._book.size))
        held = Lease(slot=given.slots[0])
        try:
            if given.restore is not None and not await self._restore(held.slot, given.restore):
                self._book.spoiled(given.restore)
                await self._delete((given.restore,))
            yield held
        finally:
            save = self._book.finished(given, self._clock(), read=held.read)
            self._changed.set()
            if save is not None:
                self._spawn(self._carry_out(save), name="save-slot")

    async def _take(self, trail: Trail, generation: int, width: int) -> Assignment:
        async with self._turn:
            while True:
                if generation > self._generation:
                    self._generation = generation
                    self._book.lost()
                if self._book.free >= width and not self._book.saving(trail.head):
                    return self._book.assign(trail, self._clock(), width=width)
                self._changed.clear()
                await self._changed.wait()

    async def _restore(self, slot: int, file: str) -> bool:
        body = msgspec.json.encode({"filename": file})
        status, _ = await self._post(f"/slots/{slot}?action=restore", body)
        return status == 200

    async def _carry_out(self, save: Save) -> None:
        size: int | None = None
        placed: list[int] = []
        try:
            # After a failure nothing is saved, so the next call reads this prompt again.
            with suppress(UpstreamError, msgspec.DecodeError):
                size = await self._save(save)
                placed += [slot for slot in save.empty if size and await self._restore(slot, save.file)]
        finally:
            dropped = self._book.saved(save, size, placed=placed)
            self._changed.set()
        await self._delete(dropped)

    async def _save(self, save: Save) -> int | None:
        body = msgspec.json.encode({"filename": save.file})
        status, reply = await self._post(f"/slots/{save.slot}?action=save", body)
        return msgspec.json.decode(reply, type=_SavedReply).n_written if status == 200 else None

    async def _delete(self, files: Sequence[str]) -> None:
        for file in files:
            await asyncio.to_thread((self._directory / file).unlink, missing_ok=True)


def trail_of(messages: bytes | msgspec.Raw, *, setting: bytes = b"") -> Trail:
    """Return the trail of a chat request's `messages` (JSON). `setting` has all other fields that change the prompt.

    Messages that cannot be parsed give an empty trail: the engine will report what is wrong with them.
    """
    try:
        parts = msgspec.json.decode(messages, type=list[msgspec.Raw])
        roles = [message.role for message in msgspec.json.decode(messages, type=list[_Head])]
    except (msgspec.DecodeError, RecursionError):
        return Trail()
    leading = next((i for i, role in enumerate(roles) if role not in _INSTRUCTING_ROLES), len(roles))
    digest = hashlib.blake2b(setting, digest_size=16)
    length = 0
    for part in parts[:leading]:
        digest.update(part)
        length += len(bytes(part))
    head = digest.digest() if length >= MIN_HEAD_BYTES else None
    turns: list[bytes] = []
    for part in parts[leading : leading + MAX_TURNS]:
        digest.update(part)
        turns.append(digest.digest())
    return Trail(head=head, turns=tuple(turns))
