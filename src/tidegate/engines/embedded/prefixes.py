"""Sharing a hot system prompt across the slots of a llama.cpp server.

llama.cpp keeps the computed prompt (its KV cache) per slot: a system prompt that one slot has read is read again by every
other. Here the gateway decides which slot a call uses (`id_slot`). When the first call with a new system prompt is done,
its slot is saved to a file and restored into the slots that are still empty; later the file is restored into whatever slot
a call with the same system prompt gets, just before the call. A restore costs 2-5 ms, reading 300 tokens about a second on
two cores.

A wrong belief about what a slot holds costs time, never correctness: llama.cpp compares tokens before it reuses anything.
`SlotBook` decides and does no I/O; `SlotShare` carries out what it decides.
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
MAX_TURNS = 64  # turns of a conversation that are told apart; what is beyond them matches as the 64th
_INSTRUCTING_ROLES = frozenset(("system", "developer"))


class Trail(msgspec.Struct, frozen=True):
    """What a prompt begins with.

    `head` is the digest of its leading system messages, None where they are too short to be worth a file; `turns[i]` is the
    digest of everything up to and including the i-th message after them.
    """

    head: bytes | None = None
    turns: tuple[bytes, ...] = ()

    def shared_turns(self, other: Trail) -> int:
        """How many leading turns both have in common; 0 when their heads differ."""
        if self.head != other.head:
            return 0
        count = 0
        for mine, theirs in zip(self.turns, other.turns, strict=False):
            if mine != theirs:
                break
            count += 1
        return count


class Assignment(msgspec.Struct, frozen=True):
    """The slots one call owns until `finished`: the first is its `id_slot`; `restore` is a file to load into it first."""

    slots: tuple[int, ...]
    trail: Trail
    epoch: int
    restore: str | None = None


class Save(msgspec.Struct, frozen=True):
    """An order to save `slot` under `file` and to restore that into the `empty` slots; all stay taken until `saved`."""

    slot: int
    head: bytes
    file: str
    epoch: int
    empty: tuple[int, ...] = ()


class _Slot(msgspec.Struct):
    trail: Trail | None = None  # None: nothing that we know of
    busy: bool = False
    used_at: float = float("-inf")


class SlotBook:
    """Which slot holds which prompt, who uses it, and which prompts lie on disk. Pure: `now` is passed in.

    `files` and `file_bytes` bound what lies on disk; the least recently used goes first.
    """

    def __init__(self, slots: Sequence[int], *, files: int = 16, file_bytes: int = 256 << 20) -> None:
        self._slots = {number: _Slot() for number in slots}
        self._max_files = files
        self._max_bytes = file_bytes
        # head -> file and its bytes; the least recently used first
        self._saved: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._saving: set[bytes] = set()
        self._epoch = 0
        self._numbered = 0

    @property
    def free(self) -> int:
        """Slots that no call owns."""
        return sum(not slot.busy for slot in self._slots.values())

    @property
    def size(self) -> int:
        """All slots."""
        return len(self._slots)

    def saving(self, head: bytes | None) -> bool:
        """Whether this system prompt is just being saved: a moment later it can be restored."""
        return head in self._saving

    def assign(self, trail: Trail, now: float, *, width: int = 1) -> Assignment:
        """Give the call `width` free slots (one per choice it asks for). Raises LookupError when fewer are free."""
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
            # llama.cpp picks the slots of further choices itself, among all that are idle.
            for number in idle:
                self._slots[number].trail = None
        for number in (first, *rest):
            self._slots[number] = _Slot(busy=True, used_at=now)
        return Assignment(slots=(first, *rest), trail=trail, epoch=self._epoch, restore=restore)

    def finished(self, given: Assignment, now: float, *, read: bool) -> Save | None:
        """The call is over; `read` says whether its whole prompt was computed (its first token came).

        A returned Save must be carried out and answered with `saved`; until then its slot is nobody's.
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
        """The save is done, `size` bytes long, or failed (None); `placed` slots now hold it. Returns files to delete."""
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
        """The server restarted: its slots are empty and free, what is on disk stays good."""
        self._epoch += 1
        self._saving.clear()
        self._slots = {number: _Slot() for number in self._slots}

    def _order_save(self, first: int, head: bytes) -> Save:
        # Calls that come at once with a prompt all its slots hold start in one batch; a restore of its own would make a
        # call miss the batch of the others. Slots that hold something keep it until they are needed.
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
            # Where the head can be restored, any slot is as good, so the longest unused one is taken.
            holds_head = trail.head is not None and held.head == trail.head and trail.head not in self._saved
            return (shared, holds_head, -self._age(number))

        return max(idle, key=worth)

    def _age(self, number: int) -> float:
        return self._slots[number].used_at

    def _bytes_on_disk(self) -> int:
        return sum(size for _, size in self._saved.values())


class Lease(msgspec.Struct):
    """One call's hold on a slot: send `slot` as `id_slot`, set `read` once the first token has come."""

    slot: int
    read: bool = False


class _Head(msgspec.Struct):
    role: str = ""


class _SavedReply(msgspec.Struct):
    n_written: int


class SlotShare:
    """Carries out what a SlotBook decides, over the llama.cpp server's `/slots` calls.

    `post(path, body)` sends JSON with the key and returns status and body, or raises UpstreamError where no answer comes.
    `directory` is the server's `slot_save_path`.
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
        self._turn = asyncio.Lock()  # hands out waiting places first come, first served
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def lease(self, trail: Trail, generation: int, *, width: int = 1) -> AsyncGenerator[Lease]:
        """Hold a slot for one call, the call's system prompt already in it if it was ever seen.

        `generation` is the server's restart count; `width` the number of choices asked for. Waits while no slot is free:
        the caller bounds that wait.
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
            # When this fails the next call with this prompt reads it anew.
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
    """The trail of a chat request's `messages` (JSON). `setting` is whatever else changes the prompt: tools, an adapter.

    Messages that cannot be read give an empty trail: the engine will say what is wrong with them.
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
