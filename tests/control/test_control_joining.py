"""Enrolment over the real store and a real authority: what a token allows, and what ends it."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.authority.certificates import LIFE
from orchestrator.authority.files import FileAuthority
from orchestrator.control.housekeeping import Housekeeping
from orchestrator.control.joining import TOKEN, TOLD_S, Joining
from orchestrator.control.world import REVOCATION
from orchestrator.errors import AlreadyEnrolled, Forbidden, InvalidRequest, NotFound, Unproven
from orchestrator.model.stored import Batch, Key, Lease, Owner, Put, Retention
from orchestrator.store import open_store
from orchestrator.store.sql import SqlStore
from protos.link.v1 import link_pb2
from tests.store_urls import sqlite_url
from workers.identity.keys import Key as PrivateKey
from workers.identity.keys import certificates_from_pem, fingerprint, new_key, request_for
from workers.identity.names import Role
from workers.identity.tokens import Token, token_from
from workers.identity.trust import proven

BEGAN_S = 1_790_000_000.0
HOUR_S = 3_600.0


class ClockInHand:
    def __init__(self) -> None:
        self.at_s = BEGAN_S

    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s

    @property
    def utc(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.at_s, datetime.UTC)


class Installation:
    def __init__(self, store: SqlStore, folder: Path) -> None:
        self.store, self.clock = store, ClockInHand()
        self.authority = FileAuthority(folder / "authority", self.clock.utc)
        self.joining = self.another()
        store.commit(Batch((Put(Key("Site", "", "oslo"), Owner.COMMAND, 0, {}, {}, {}),)))

    def another(self) -> Joining:
        """A second control plane over the same store."""
        fronts = (("front:7071",), ("front:7072",))
        return Joining(self.store, self.authority, self.clock, lambda: fronts)

    async def token(self, uses: int = 1, ttl_s: float = HOUR_S) -> str:
        (made,) = await self.joining.create_tokens("oslo", uses, ttl_s, {"rack": "2"}, 1)
        return made.text

    async def join(self, token: str, node: str, key: PrivateKey) -> link_pb2.Certified:
        request = link_pb2.JoinRequest(token=token, node=node, request_pem=request_for(key, "any"))
        return await self.joining.join(request)

    async def renew(self, node: str, key: PrivateKey) -> link_pb2.Certified:
        return await self.joining.renew(link_pb2.RenewRequest(node=node, request_pem=request_for(key, node)))

    def node_of(self, certified: link_pb2.Certified) -> str:
        chain = certificates_from_pem(certified.certificate_pem, "c")
        return str(proven(chain, self.authority.certificates, Role.NODE, self.clock.utc))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    store = open_store(sqlite_url(tmp_path))
    yield Installation(store, tmp_path)
    store.close()


async def test_a_machine_joins_and_renews_by_its_key(here: Installation) -> None:
    key = new_key()
    certified = await here.join(await here.token(), "oslo-1", key)
    assert here.node_of(certified) == "node oslo-1 of site oslo"
    assert (certified.node, certified.site, list(certified.fronts)) == ("oslo-1", "oslo", ["front:7071"])
    assert fingerprint(certificates_from_pem(certified.certificate_pem, "c")[0]) == fingerprint(key)
    node = here.store.get(Key("Node", "", "oslo-1"))
    assert (node.labels, node.spec["site"], node.status["key"]) == ({"rack": "2"}, "oslo", fingerprint(key))
    here.clock.at_s += 400 * 86_400  # its certificate ended long ago
    assert here.node_of(await here.renew("oslo-1", key)) == "node oslo-1 of site oslo"


async def test_a_token_is_for_so_many_and_the_same_machine_counts_once(here: Installation) -> None:
    token, first, second = await here.token(uses=2), new_key(), new_key()
    await here.join(token, "oslo-1", first)
    await here.join(token, "oslo-1", first)  # its answer was lost
    await here.join(token, "oslo-2", second)
    with pytest.raises(Unproven, match=r"used up, by 2 nodes: make another with `skerry token create`"):
        await here.join(token, "oslo-3", new_key())
    await here.join(token, "oslo-2", second)
    (view,) = await here.joining.tokens()
    assert (view.nodes, view.uses, view.revoked) == (("oslo-1", "oslo-2"), 2, False)


async def test_many_join_at_once_through_two_control_planes_and_none_too_many(here: Installation) -> None:
    token, other = await here.token(uses=8), here.another()

    async def join(number: int) -> bool:
        node = f"oslo-{number}"
        request = link_pb2.JoinRequest(token=token, node=node, request_pem=request_for(new_key(), node))
        try:
            await (here.joining if number % 2 else other).join(request)
        except Unproven:
            return False
        return True

    joined = await asyncio.gather(*map(join, range(12)))
    nodes, _ = here.store.list_objects("Node")
    assert sum(joined) == len(nodes) == 8


@pytest.mark.parametrize("wrong", ["", "skerry1.a.b.c", "a" * 500, "\x00", "skerry1.k3m9x2pq"])
async def test_what_is_no_token_is_refused(here: Installation, wrong: str) -> None:
    with pytest.raises(Unproven, match="token create"):
        await here.join(wrong, "oslo-1", new_key())


async def test_a_secret_that_was_guessed_is_refused_like_a_token_that_never_was(here: Installation) -> None:
    held = token_from(await here.token())
    said = set()
    for id in (held.id, "zzzzzzzz"):
        with pytest.raises(Unproven) as refused:
            await here.join(Token(id, "A" * 32, held.pin).text, "oslo-1", new_key())
        said.add(str(refused.value).replace(id, "ID"))
    assert len(said) == 1
    assert held.secret not in str(here.store.get(Key(TOKEN, "", held.id)))


async def test_expired_and_revoked_tokens_say_so_and_their_nodes_stay(here: Installation) -> None:
    key, token = new_key(), await here.token(uses=5)
    await here.join(token, "oslo-1", key)
    here.clock.at_s += HOUR_S
    with pytest.raises(Unproven, match="expired 0 s ago"):
        await here.join(token, "oslo-2", new_key())
    fresh = await here.token(uses=5)
    await here.joining.revoke_token(token_from(fresh).id)
    with pytest.raises(Unproven, match="was revoked"):
        await here.join(fresh, "oslo-2", new_key())
    assert here.node_of(await here.renew("oslo-1", key))
    with pytest.raises(NotFound, match="token list"):
        await here.joining.revoke_token("nothing")


async def test_a_name_is_its_first_holders_until_the_enrolment_is_ended(here: Installation) -> None:
    token, first, second = await here.token(uses=5), new_key(), new_key()
    await here.join(token, "oslo-1", first)
    with pytest.raises(AlreadyEnrolled, match="skerry delete node/oslo-1"):
        await here.join(token, "oslo-1", second)
    with pytest.raises(Forbidden, match="join again with --anew and a new token"):
        await here.renew("oslo-1", second)
    await here.joining.end_enrolment("oslo-1")
    (revoked,), _ = here.store.list_objects(REVOCATION)
    assert revoked.key.name == fingerprint(first)
    with pytest.raises(Forbidden, match="join again with --anew and a new token"):
        await here.renew("oslo-1", first)
    assert here.node_of(await here.join(token, "oslo-1", second))
    with pytest.raises(NotFound):
        await here.joining.end_enrolment("nobody")


async def test_a_revoked_key_does_not_join_again(here: Installation) -> None:
    token, key = await here.token(uses=5), new_key()
    await here.join(token, "oslo-1", key)
    await here.joining.end_enrolment("oslo-1")
    with pytest.raises(Forbidden, match="this key was revoked: remove its identity folder"):
        await here.join(token, "oslo-1", key)


async def test_people_and_services_are_certified_by_name(here: Installation) -> None:
    key = new_key()
    request = request_for(key, "any")
    certificate_pem, authority_pem = await here.joining.certify("service", "line-7", request, ("10.0.0.7", "a.b"))
    assert str(proven(certificates_from_pem(certificate_pem, "c"), certificates_from_pem(authority_pem, "a"),
                      Role.SERVICE, here.clock.utc)) == "service line-7"  # fmt: skip
    for role, name, hosts, field in (
        ("node", "n", (), "role"), ("control", "n", (), "role"), ("operator", "A n", (), "name"),
        ("front", "f", ("a b",), "hosts"), ("front", "f", ("",), "hosts"), ("front", "f", ("x" * 300,), "hosts"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest, match=field):
            await here.joining.certify(role, name, request, hosts)


@pytest.mark.parametrize("node", ["", "Oslo", "a/b", "-a", "a" * 254, "ä", "a\nb"])
async def test_a_name_that_no_certificate_should_bear_is_refused(here: Installation, node: str) -> None:
    token = await here.token()
    with pytest.raises(InvalidRequest, match="node"):
        await here.join(token, node, new_key())
    assert (await here.joining.tokens())[0].nodes == ()


async def test_a_request_is_refused_before_it_counts(here: Installation) -> None:
    token = await here.token()
    with pytest.raises(InvalidRequest, match="request_pem"):
        await here.joining.join(link_pb2.JoinRequest(token=token, node="oslo-1", request_pem=b"garbage"))
    await here.join(token, "oslo-1", new_key())


@pytest.mark.parametrize(
    ("field", "given"),
    [("uses", (0, HOUR_S, 1)), ("uses", (10**6, HOUR_S, 1)), ("ttl_s", (1, 0.0, 1)), ("ttl_s", (1, 1e9, 1)),
     ("ttl_s", (1, float("nan"), 1)), ("tokens", (1, HOUR_S, 5_000))],
)  # fmt: skip
async def test_a_token_that_nobody_should_make(here: Installation, field: str, given: tuple[int, float, int]) -> None:
    uses, ttl_s, tokens = given
    with pytest.raises(InvalidRequest, match=field):
        await here.joining.create_tokens("oslo", uses, ttl_s, {}, tokens)
    with pytest.raises(NotFound):
        await here.joining.create_tokens("nowhere", 1, HOUR_S, {}, 1)


async def test_what_is_past_its_time_is_forgotten(here: Installation) -> None:
    token = await here.token()
    await here.join(token, "oslo-1", new_key())
    await here.joining.end_enrolment("oslo-1")
    keeping = Housekeeping(here.store, here.clock, Retention(10, 1.0))
    lease = Lease("l", "h", 1, 0.0)
    here.clock.at_s += HOUR_S + 60
    await keeping.tick(lease)
    assert len(here.store.list_objects(TOKEN)[0]) == len(here.store.list_objects(REVOCATION)[0]) == 1
    here.clock.at_s += max(TOLD_S, LIFE.total_seconds())
    await keeping.tick(lease)
    assert here.store.list_objects(TOKEN)[0] == here.store.list_objects(REVOCATION)[0] == []
