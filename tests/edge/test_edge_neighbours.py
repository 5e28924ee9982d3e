"""Nodes of one site give each other what they have, and what they are fetching; the front gives the rest."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from fake_front import FakeFront

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from tests.authority import TestAuthority
from workers.artifacts.disk import ArtifactFolder
from workers.edge.actions import FetchArtifact
from workers.edge.assignment import Artifact, PeerNode
from workers.edge.fetching import Fetching
from workers.edge.giver import FetchBroken, Giver
from workers.edge.neighbours import Neighbours, PeerServer, Stock
from workers.identity.connecting import Connector
from workers.identity.errors import NotEnrolled
from workers.identity.names import Role

pytestmark = pytest.mark.real

DATA = random.Random(5).randbytes(400_000)


class NodeInHand:
    """The part of an agent that artifacts go through."""

    def __init__(self, name: str, root: Path, front: FakeFront) -> None:
        self.name, self._front = name, front
        self.folder = ArtifactFolder(root / name)
        self.stock = Stock(self.folder)
        self.neighbours = Neighbours(name)
        self.server = PeerServer("127.0.0.1:0")
        self.fetching = Fetching(self.stock, self, self.neighbours)
        self.wan_down = False

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator[Giver]:
        if self.wan_down:
            raise FetchBroken("no front is attached")
        async with grpc.aio.insecure_channel(self._front.address) as channel:
            yield Giver("the front", link_pb2_grpc.BulkStub(channel).Fetch, "s", ranges=True, over_wan=True)

    async def fetch(self, artifact: pb.Artifact, rollout_bps: int = 0) -> None:
        wanted = Artifact(artifact.digest, artifact.size_bytes, artifact.format, artifact.manifest, artifact.signature)
        await self.fetching.fetch(FetchArtifact(wanted, "default", rollout_bps), lambda _: None)

    def holds(self, artifact: pb.Artifact) -> bool:
        return self.folder.verified(artifact.digest) is not None


@pytest.fixture
async def site(front: FakeFront, tmp_path: Path) -> AsyncIterator[list[NodeInHand]]:
    nodes = [NodeInHand(name, tmp_path, front) for name in ("n1", "n2", "n3")]
    for node in nodes:
        await node.server.start(node.stock)
        node.neighbours.hold(tuple(PeerNode(other.name, other.server.address) for other in nodes))
    yield nodes
    for node in nodes:
        await node.server.stop()


async def test_a_second_node_takes_all_of_it_from_the_first(front: FakeFront, site: list[NodeInHand]) -> None:
    artifact = front.add_chunked(DATA)
    await site[1].fetch(artifact)
    before = front.sent_bytes
    for node in (site[0], site[2]):
        await node.fetch(artifact)
        assert node.holds(artifact)
    assert front.sent_bytes == before  # its manifest too


async def test_of_nodes_that_begin_at_once_one_fetches_over_the_wan(front: FakeFront, site: list[NodeInHand]) -> None:
    artifact = front.add_chunked(DATA)
    await asyncio.gather(*(node.fetch(artifact) for node in reversed(site)))
    assert all(node.holds(artifact) for node in site)
    papers = len(front.artifacts[artifact.manifest])
    assert front.sent_bytes <= len(DATA) + len(site) * papers


async def test_with_the_wan_down_neighbours_do(front: FakeFront, site: list[NodeInHand]) -> None:
    artifact = front.add_chunked(DATA)
    site[2].wan_down = True
    with pytest.raises(FetchBroken, match="no front is attached"):
        await site[2].fetch(artifact)
    await site[0].fetch(artifact)
    await site[2].fetch(artifact)
    assert site[2].holds(artifact)


async def test_a_neighbour_with_spoilt_bytes_costs_only_those(
    front: FakeFront, site: list[NodeInHand], caplog: pytest.LogCaptureFixture
) -> None:
    artifact = front.add_chunked(DATA)
    await site[0].fetch(artifact)
    path = site[0].folder.path(artifact.digest)
    path.write_bytes(DATA[:200_500] + bytes([DATA[200_500] ^ 1]) + DATA[200_501:])
    before = front.sent_bytes
    await site[1].fetch(artifact)
    assert site[1].holds(artifact)
    assert front.sent_bytes - before == len(DATA) - 200_000
    assert "gives nothing that is right" in caplog.text


async def test_a_neighbour_whose_fetch_breaks_off_leaves_the_front_to_ask(
    front: FakeFront, site: list[NodeInHand]
) -> None:
    artifact, broken = front.add_chunked(DATA), asyncio.Event()

    def spoil(offset: int, data: bytes) -> bytes | None:
        if offset == 100_000 and not broken.is_set():
            broken.set()
            return None
        return data

    front.spoil = spoil
    found = await asyncio.gather(*(node.fetch(artifact) for node in site[:2]), return_exceptions=True)
    assert isinstance(found[0], FetchBroken)
    assert found[1] is None
    assert site[1].holds(artifact)
    await site[0].fetch(artifact)
    assert site[0].holds(artifact)


async def test_neighbours_that_are_gone_keep_nobody_waiting_long(front: FakeFront, site: list[NodeInHand]) -> None:
    artifact = front.add_chunked(DATA)
    for node in site[:2]:
        await node.server.stop()
    async with asyncio.timeout(5.0):
        await site[2].fetch(artifact)
    assert site[2].holds(artifact)


async def test_hostile_requests_of_a_neighbour_are_refused(front: FakeFront, site: list[NodeInHand]) -> None:
    artifact = front.add_chunked(DATA)
    await site[0].fetch(artifact)
    async with grpc.aio.insecure_channel(site[0].server.address) as channel:
        for digest, ranges, code in (
            ("../../etc/passwd", [], grpc.StatusCode.INVALID_ARGUMENT),
            ("sha256:" + "0" * 64, [], grpc.StatusCode.NOT_FOUND),
            (artifact.digest, [(0, 1)] * 5000, grpc.StatusCode.INVALID_ARGUMENT),
            (artifact.digest, [(2**63, 2**63)], grpc.StatusCode.INVALID_ARGUMENT),
        ):
            wanted = [pb.ByteRange(offset=offset, size_bytes=size_bytes) for offset, size_bytes in ranges]
            stream = link_pb2_grpc.PeerStub(channel).Fetch(pb.FetchRequest(digest=digest, ranges=wanted))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is code


async def test_without_a_lan_a_node_listens_on_nothing() -> None:
    server = PeerServer("")
    assert server.address == ""
    await server.stop()


async def test_the_port_is_the_one_after_the_gateways_if_it_is_free() -> None:
    first = PeerServer("127.0.0.1:0")
    port = int(first.address.rpartition(":")[2])
    second = PeerServer(f"127.0.0.1:{port - 1}")
    assert second.address not in ("", first.address)
    await first.stop()
    await second.stop()


async def test_beyond_loopback_neighbours_prove_that_they_are_nodes_of_the_site(
    front: FakeFront, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The address is loopback's, in a form that nobody takes for it."""
    lan, authority = "[::ffff:127.0.0.1]:0", TestAuthority()
    nodes = [NodeInHand(name, tmp_path, front) for name in ("n1", "n2", "n3", "n4")]
    sites = {"n1": (authority, "s1"), "n2": (authority, "s1"), "n3": (authority, "s2"), "n4": (TestAuthority(), "s1")}
    for node in nodes:
        await node.server.stop()
        by, site = sites[node.name]
        identity = by.enrol(tmp_path / "identities" / node.name, Role.NODE, node.name, site)
        node.neighbours = Neighbours(node.name, Connector(identity))
        node.server = PeerServer(lan, site, identity)
        node.fetching = Fetching(node.stock, node, node.neighbours)
    with pytest.raises(NotEnrolled, match="there is no certificate to show"):
        PeerServer(lan, "s1")
    artifact = front.add_chunked(DATA)
    await nodes[0].server.start(nodes[0].stock)
    await nodes[0].fetch(artifact)
    cost = {}
    for node in nodes[1:]:
        node.neighbours.hold((PeerNode("n1", nodes[0].server.address),))
        before = front.sent_bytes
        with caplog.at_level("INFO"):
            await node.fetch(artifact)
        assert node.holds(artifact)
        cost[node.name] = front.sent_bytes - before
    whole = len(DATA) + len(front.artifacts[artifact.manifest])
    assert cost == {"n2": 0, "n3": whole, "n4": whole}
    assert "this address is for nodes of s1" in " ".join(
        str(record.__dict__.get("reason")) for record in caplog.records
    )
    await nodes[0].server.stop()
