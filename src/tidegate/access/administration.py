"""Changes the keys and tenants of a store for an administrator. The command line and the admin API both do it here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.access.keys import ID_CHARACTERS, LIVE_SECRETS, KeyText, Peppers, new_id, new_text, renewed
from tidegate.access.tenants import check_known, check_store_decides
from tidegate.access.wanted import NewKey, NewTenant, Rotation
from tidegate.config.tenants import TenantNames
from tidegate.errors import Conflict, Forbidden, NotFound
from tidegate.ports import KeyStore, Wall
from tidegate.types import Caller, Change, Key, Secret, Tenant
from tidegate.types.caller import CHECKS, INFERENCE

_PAGE = 1000


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change: the name for the admin log, and the scopes that this one may give to others."""

    name: str
    scopes: frozenset[str]


class Made(msgspec.Struct, frozen=True):
    """A key with a secret that was made just now. This is the only place where the secret exists."""

    key: Key
    text: KeyText


class Administration:
    """The keys and tenants of one store.

    `policies` are the names of the policies there are; None if they are not known. `tenants` are those of the
    configuration with the policies that they name, "" for one that names none; the store may have more. `changed` is
    told the id of each key that was changed, and "" for a change of a tenant, before the change is answered. Without
    `peppers` no secret can be made.
    """

    def __init__(
        self,
        store: KeyStore,
        peppers: Peppers | None,
        wall: Wall,
        *,
        policies: Collection[str] | None = None,
        tenants: Mapping[TenantNames, str] = MappingProxyType({}),
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._peppers = peppers
        self._wall = wall
        self._policies = policies
        self._configured = tenants
        self._changed = changed

    async def create(self, wanted: NewKey, actor: Actor) -> Made:
        """Make a key.

        Raises BadRequest for a wrong field, Forbidden for a scope that the actor may not give, and Conflict if the keys
        of the store have another pepper.
        """
        wanted.check(self._policies)
        _check_gift(wanted.scopes, actor)
        if wanted.organisation:
            check_known(wanted, await self._known(wanted.organisation))
        await self._check_pepper()
        now, text = self._wall(), new_text(new_id())
        key = Key(
            id=text.id,
            secrets=(Secret(self._digest(text)),),
            caller=Caller(
                key=text.id,
                user=wanted.user,
                team=wanted.team,
                organisation=wanted.organisation,
                scopes=frozenset(wanted.scopes),
            ),
            name=wanted.name,
            policy=wanted.policy,
            models=wanted.models,
            created_at=now,
            expires_at=None if wanted.expires_in_s is None else now + wanted.expires_in_s,
        )
        await self._save(key, None, actor)
        return Made(key, text)

    async def find(self, id: str) -> Key:
        """Return a key. Raises NotFound."""
        key = await self._store.find(id)
        if key is None:
            # The whole text of a key is a secret, and may have been given for the id.
            shown = f"'{id}'" if len(id) <= ID_CHARACTERS + len("tg_") else "as given"
            raise NotFound(f"There is no key {shown} in the store", param="id")
        return key

    async def rotate(self, id: str, wanted: Rotation, actor: Actor) -> Made:
        """Make a new secret for a key. Raises as `create` does, NotFound, and Conflict.

        It is a conflict if the key was revoked, or if this would end a secret before the time that was promised for it.
        """
        wanted.check()
        old = await self.find(id)
        _check_gift(old.caller.scopes, actor)
        if old.revoked_at is not None:
            raise Conflict(f"The key {id} was revoked: make another one")
        now, text = self._wall(), new_text(id)
        if not wanted.force:
            _check_promise(old, now)
        await self._check_pepper()
        key = renewed(old, self._digest(text), old_until=now + wanted.overlap_s)
        await self._save(key, old.version, actor)
        return Made(key, text)

    async def revoke(self, id: str, actor: Actor) -> Key:
        """End a key for ever. A key that was revoked before stays as it is. Raises NotFound and Conflict."""
        old = await self.find(id)
        if old.revoked_at is not None:
            return old
        key = msgspec.structs.replace(old, revoked_at=self._wall(), version=old.version + 1)
        await self._save(key, old.version, actor)
        return key

    async def set_tenant(self, wanted: NewTenant, actor: Actor) -> Tenant:
        """Make a tenant, or give it another policy. Raises as `check` and `check_store_decides` do."""
        tenant = wanted.check(self._policies)
        check_store_decides(tenant, self._configured)
        await self._store.set_tenant(tenant, by=actor.name)
        self._changed("")
        return tenant

    async def page(self, organisation: str, *, after: str, most: int) -> Sequence[Key]:
        """Return keys in the order of their ids."""
        return await self._store.page(organisation, after=after, most=most)

    async def tenants(self, organisation: str, *, after: Tenant | None, most: int) -> Sequence[Tenant]:
        """Return tenants in the order of their names."""
        return await self._store.tenants(organisation, after=after, most=most)

    async def log(self, *, after: int, most: int) -> Sequence[Change]:
        """Return lines of the admin log in the order in which they were written."""
        return await self._store.log(after=after, most=most)

    async def _known(self, organisation: str) -> list[TenantNames]:
        """The tenants of an organisation; if there are none, those of every organisation."""
        known = [*self._configured, *await self._stored(organisation)]
        if any(one[0] == organisation for one in known):
            return known
        return known + await self._stored("")

    async def _stored(self, organisation: str) -> list[TenantNames]:
        found: list[TenantNames] = []
        page: Sequence[Tenant] = ()
        while page := await self._store.tenants(organisation, after=page[-1] if page else None, most=_PAGE):
            found += [(one.organisation, one.team, one.user) for one in page]
        return found

    async def _check_pepper(self) -> None:
        """Raise Conflict if the store had another pepper before. A key that is made with a wrong one would never work."""
        assert self._peppers is not None, "there is no mark without a pepper"
        if not await self._store.keep_mark(self._peppers.marks()):
            raise Conflict(
                "The keys of this store were made with another pepper than the one given, so a key that is made now would"
                " not work: give the pepper of the store, or list it in 'auth.pepper' after the new one"
            )

    def _digest(self, text: KeyText) -> bytes:
        assert self._peppers is not None, "a secret cannot be digested without a pepper"
        return self._peppers.digest(text.text)

    async def _save(self, key: Key, over: int | None, actor: Actor) -> None:
        if not await self._store.save(key, over=over, by=actor.name):
            raise Conflict(f"The key {key.id} was changed by somebody else meanwhile: try again")
        self._changed(key.id)


def shown(key: Key, now: float) -> dict[str, Any]:
    """What may be seen of a key at `now`, in seconds since the epoch: everything but its secrets."""
    return {
        "id": key.id,
        "state": state(key, now),
        "name": key.name,
        "organisation": key.caller.organisation,
        "team": key.caller.team,
        "user": key.caller.user,
        "policy": key.policy,
        "models": key.models,
        "scopes": sorted(key.caller.scopes),
        "created_at": date(key.created_at),
        "expires_at": date(key.expires_at),
        "revoked_at": date(key.revoked_at),
        "used_at": date(key.used_at),
        "secrets_expire_at": [date(secret.expires_at) for secret in key.secrets],
        "version": key.version,
    }


def date(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def state(key: Key, now: float) -> str:
    """Return whether a key is `valid`, `expired` or `revoked` at `now`, in seconds since the epoch."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and now >= key.expires_at else "valid"


def _check_promise(key: Key, now: float) -> None:
    """Raise Conflict if a new secret would end one that was to be valid for longer."""
    until = [secret.expires_at for secret in key.secrets[LIVE_SECRETS - 1 :] if secret.expires_at is not None]
    if until and now < max(until):
        raise Conflict(
            f"An older secret of the key {key.id} is valid until {date(max(until))}: wait until then, or rotate with"
            ' `--force` or `"force": true`, which ends it now'
        )


def _check_gift(scopes: Collection[str], actor: Actor) -> None:
    """Raise Forbidden for scopes beyond those of the actor: otherwise every administrator could become every other one."""
    if beyond := set(scopes) - actor.scopes - {INFERENCE, CHECKS}:
        raise Forbidden(
            f"The field 'scopes' has '{min(beyond)}', which your own key lacks: a key can only give scopes that it has,"
            f", '{INFERENCE}' and '{CHECKS}'",
            param="scopes",
        )
