"""How machines become nodes and stay so: tokens, certificates for their keys, and the end of both.

A node is an object: its key's fingerprint stands in its status, and a certificate is made for that key only. Deleting
the object ends the enrolment: the key is revoked until the last certificate of it has ended.
"""

import asyncio
import datetime
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar

from orchestrator.api.seams import NewToken, TokenView
from orchestrator.authority.certificates import LIFE, RENEW_AFTER, installation_of
from orchestrator.authority.parts import Authority
from orchestrator.authority.requests import public_key_of
from orchestrator.clock import Clock
from orchestrator.control.seams import Store
from orchestrator.control.world import REVOCATION
from orchestrator.errors import (
    AlreadyEnrolled,
    Forbidden,
    InvalidRequest,
    NotFound,
    RevisionStale,
    Unproven,
)
from orchestrator.model.stored import Batch, Delete, Json, JsonObject, Key, Owner, Put, StoredObject
from protos.link.v1 import link_pb2
from workers.identity.errors import TokenInvalid
from workers.identity.keys import certificates_to_pem, fingerprint
from workers.identity.names import Identity, Role
from workers.identity.tokens import Token, new_token, token_from

log = logging.getLogger(__name__)

TOKEN, NODE = "Token", "Node"
MOST_TRIES = 20  # of a write that others were quicker with
TOLD_S = 7 * 86_400.0  # an expired token is listed as such for so long
MOST_USES, MOST_TOKENS, MOST_TTL_S = 100_000, 1_000, 366 * 86_400.0
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
CERTIFIED = (Role.OPERATOR, Role.SERVICE, Role.FRONT, Role.REPLICA)
HOST = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?|[0-9a-fA-F:.]{2,45}"
)
T = TypeVar("T")


class Joining:
    """`fronts`: link addresses and enrolment addresses of the fronts there are."""

    def __init__(
        self,
        store: Store,
        authority: Authority,
        clock: Clock,
        fronts: Callable[[], tuple[tuple[str, ...], tuple[str, ...]]],
    ) -> None:
        self._store, self._authority, self._clock, self._fronts = store, authority, clock, fronts

    # ---- tokens

    async def create_tokens(
        self, site: str, uses: int, ttl_s: float, labels: Mapping[str, str], tokens: int
    ) -> list[NewToken]:
        """Raises InvalidRequest, NotFound for a site that no object names."""
        for field, value, most in (("uses", uses, MOST_USES), ("tokens", tokens, MOST_TOKENS)):
            if not 1 <= value <= most:
                raise InvalidRequest(field, value, f"give 1 to {most}")
        if not 1 <= ttl_s <= MOST_TTL_S:
            raise InvalidRequest("ttl_s", ttl_s, f"give 1 second to {MOST_TTL_S / 86_400:g} days")
        await asyncio.to_thread(self._store.get, Key("Site", "", site))
        pin = fingerprint(self._authority.certificates[0])
        made = [new_token(pin) for _ in range(tokens)]
        expires = self._clock.wall_s() + ttl_s
        spec: dict[str, Json] = {
            "site": site,
            "uses": uses,
            "expires_wall_s": expires,
            "until_wall_s": expires + TOLD_S,
        }
        writes = tuple(
            Put(Key(TOKEN, "", one.id), Owner.CONTROL, 0, spec | {"secret_hash": one.secret_hash}, {"used": 0}, labels)
            for one in made
        )
        stored = await asyncio.to_thread(self._store.commit, Batch(writes=writes))
        log.info("tokens made", extra={"site": site, "tokens": [one.id for one in made], "uses": uses, "ttl_s": ttl_s})
        return [NewToken(self._view(one, ()), token.text) for one, token in zip(stored, made, strict=True)]

    async def tokens(self) -> list[TokenView]:
        found, _ = await asyncio.to_thread(self._store.list_objects, TOKEN, "")
        nodes, _ = await asyncio.to_thread(self._store.list_objects, NODE, "")
        joined: dict[str, list[str]] = {}
        for node in nodes:
            joined.setdefault(str(node.status.get("token")), []).append(node.key.name)
        return [self._view(one, tuple(joined.get(one.key.name, ()))) for one in found]

    async def revoke_token(self, id: str) -> TokenView:
        """Raises NotFound."""

        def revoked() -> StoredObject:
            stored = self._token(id)
            status = dict(stored.status) | {"revoked": True}
            return self._store.commit(Batch((Put(stored.key, Owner.CONTROL, stored.revision, None, status),)))[0]

        log.info("token revoked", extra={"token": id})
        return self._view(await asyncio.to_thread(self._until_written, revoked), ())

    def _token(self, id: str) -> StoredObject:
        try:
            return self._store.get(Key(TOKEN, "", id))
        except NotFound as err:
            raise NotFound(f"token {id!r}: there is none; `skerry token list` shows those there are") from err

    def _view(self, stored: StoredObject, nodes: tuple[str, ...]) -> TokenView:
        now_s = self._clock.wall_s()
        return TokenView(
            id=stored.key.name,
            site=str(stored.spec["site"]),
            uses=_number(stored.spec, "uses"),
            nodes=nodes,
            expires_in_s=_seconds(stored.spec, "expires_wall_s") - now_s,
            labels=dict(stored.labels),
            revoked=bool(stored.status.get("revoked")),
            age_s=now_s - stored.created_wall_s,
        )

    # ---- nodes

    async def join(self, request: link_pb2.JoinRequest) -> link_pb2.Certified:
        """Raises Unproven, AlreadyEnrolled, Forbidden for a revoked key, InvalidRequest."""
        try:
            token = token_from(request.token)
        except TokenInvalid as err:
            raise Unproven(str(err)) from err
        if not NODE_NAME.fullmatch(request.node):
            raise InvalidRequest("node", request.node, "give lower-case letters, digits, '-' and '.', at most 253")
        key = fingerprint(public_key_of(request.request_pem))
        node = await asyncio.to_thread(self._until_written, lambda: self._enrol(token, request.node, key))
        log.info("node enrolled", extra={"node": request.node, "site": node.spec["site"], "token": token.id})
        return await self._certified(node, request.request_pem)

    def _enrol(self, token: Token, name: str, key: str) -> StoredObject:
        """The node's object; written with the token's count in one transaction, or not at all."""
        held = self._admitted(token)
        if self._revoked(key):
            raise Forbidden(f"node {name}: this key was revoked: remove its identity folder, then join with a new one")
        try:
            node = self._store.get(Key(NODE, "", name))
        except NotFound:
            node = None
        if node is not None and node.status.get("key") == key and node.spec.get("site") == held.spec["site"]:
            return node  # the same machine asks again: its answer was lost
        if node is not None and node.status.get("key"):
            raise AlreadyEnrolled(
                f"node {name} is enrolled at site {node.spec.get('site')} with another key: give this machine another "
                f"--node, or end that enrolment with `skerry delete node/{name}`"
            )
        used = _number(held.status, "used")
        if used >= _number(held.spec, "uses"):
            raise Unproven(f"token {token.id} is used up, by {used} nodes: make another with `skerry token create`")
        status: JsonObject = {"key": key, "token": token.id, "enrolled_wall_s": self._clock.wall_s()}
        spec: JsonObject = {**(node.spec if node else {}), "site": held.spec["site"]}
        writes = (
            Put(held.key, Owner.CONTROL, held.revision, None, {**held.status, "used": used + 1}),
            Put(Key(NODE, "", name), Owner.CONTROL, node.revision if node else 0, spec, status, held.labels),
        )
        return self._store.commit(Batch(writes))[1]

    def _admitted(self, token: Token) -> StoredObject:
        """The token's object. Raises Unproven; a wrong secret is not told from a token that never was."""
        make = "make another with `skerry token create`"
        try:
            held = self._store.get(Key(TOKEN, "", token.id))
        except NotFound as err:
            raise Unproven(f"token {token.id} is not known here, or mistyped: copy it whole, or {make}") from err
        if not secrets.compare_digest(str(held.spec["secret_hash"]), token.secret_hash):
            raise Unproven(f"token {token.id} is not known here, or mistyped: copy it whole, or {make}")
        if held.status.get("revoked"):
            raise Unproven(f"token {token.id} was revoked: {make}")
        late_s = self._clock.wall_s() - _seconds(held.spec, "expires_wall_s")
        if late_s >= 0:
            raise Unproven(f"token {token.id} expired {late_s:.0f} s ago: {make}")
        return held

    def _revoked(self, key: str) -> bool:
        try:
            self._store.get(Key(REVOCATION, "", key))
        except NotFound:
            return False
        return True

    async def certify(self, role: str, name: str, request_pem: bytes, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
        """For who is no node, in PEM with the authority's. Raises InvalidRequest."""
        if role not in CERTIFIED:
            remedy = f"give one of {', '.join(CERTIFIED)}; a node joins by a token: `skerry token create`"
            raise InvalidRequest("role", role, remedy)
        if not NODE_NAME.fullmatch(name):
            raise InvalidRequest("name", name, "give lower-case letters, digits, '-' and '.', at most 253")
        for host in hosts:
            if not HOST.fullmatch(host):
                raise InvalidRequest("hosts", host, "give a DNS name or an IP address")
        now = datetime.datetime.fromtimestamp(self._clock.wall_s(), datetime.UTC)
        authority = self._authority.certificates
        identity = Identity(installation_of(authority), Role(role), name)
        chain = await asyncio.to_thread(self._authority.certify, public_key_of(request_pem), identity, hosts, now)
        log.info("certified", extra={"role": role, "name_of": name, "hosts": hosts, "key": fingerprint(chain[0])})
        return certificates_to_pem(chain), certificates_to_pem(authority)

    async def renew(self, request: link_pb2.RenewRequest) -> link_pb2.Certified:
        """Raises Forbidden for a key that is not enrolled any more, InvalidRequest."""
        key = fingerprint(public_key_of(request.request_pem))
        try:
            node = await asyncio.to_thread(self._store.get, Key(NODE, "", request.node))
        except NotFound:
            node = None
        if node is None or node.status.get("key") != key:
            raise Forbidden(
                f"node {request.node[:253]!r} is not enrolled with this key: its enrolment was ended, or the store is "
                "an older one: join again with --anew and a new token"
            )
        return await self._certified(node, request.request_pem)

    async def _certified(self, node: StoredObject, request_pem: bytes) -> link_pb2.Certified:
        now = datetime.datetime.fromtimestamp(self._clock.wall_s(), datetime.UTC)
        authority = self._authority.certificates
        site = str(node.spec["site"])
        identity = Identity(installation_of(authority), Role.NODE, node.key.name, site)
        chain = await asyncio.to_thread(self._authority.certify, public_key_of(request_pem), identity, (), now)
        ends: Json = chain[0].not_valid_after_utc.timestamp()
        await asyncio.to_thread(self._until_written, lambda: self._note(node.key, ends))
        links, enrolments = self._fronts()
        return link_pb2.Certified(
            certificate_pem=certificates_to_pem(chain),
            authority_pem=certificates_to_pem(authority),
            node=node.key.name,
            site=site,
            fronts=links,
            renew_in_s=round(RENEW_AFTER.total_seconds()),
            enrolments=enrolments,
        )

    def _note(self, key: Key, ends: Json) -> None:
        stored = self._store.get(key)
        status = dict(stored.status) | {"certificate": {"ends_wall_s": ends}}
        self._store.commit(Batch((Put(key, Owner.CONTROL, stored.revision, None, status),)))

    async def end_enrolment(self, name: str) -> StoredObject:
        """Delete the node and revoke its key, which fronts hear within a tick. Raises NotFound."""

        def ended() -> StoredObject:
            node = self._store.get(Key(NODE, "", name))
            writes: list[Put | Delete] = [Delete(node.key, Owner.CONTROL, node.revision)]
            if key := node.status.get("key"):
                until = self._clock.wall_s() + LIFE.total_seconds()
                spec: JsonObject = {"node": name, "until_wall_s": until}
                writes.append(Put(Key(REVOCATION, "", str(key)), Owner.CONTROL, None, spec, {}))
            return self._store.commit(Batch(tuple(writes)))[0]

        log.info("enrolment ended", extra={"node": name})
        return await asyncio.to_thread(self._until_written, ended)

    def _until_written(self, write: Callable[[], T]) -> T:
        """Again from the start when somebody else wrote first."""
        for _ in range(MOST_TRIES - 1):
            try:
                return write()
            except RevisionStale:
                continue
        return write()


def _number(fields: JsonObject, name: str) -> int:
    value = fields.get(name, 0)
    return value if isinstance(value, int) else 0


def _seconds(fields: JsonObject, name: str) -> float:
    value = fields.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
