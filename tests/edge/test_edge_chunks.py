"""Artifacts by chunks, and who vouches for them: an agent's process against a front on a real server."""

import asyncio
import json
import random
import signal
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import grpc
import psutil
import pytest
from conftest import DENSE, Node, infer_request, replica, wait_for
from fake_front import WAIT_S, FakeFront, digest_of

from benchmarks.artifacts.line import Line
from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.signing import SigningKey

pytestmark = pytest.mark.real

OK = 0
# A model whose file has a tail: an interpreter does not mind, and a version may differ in it.
V1 = DENSE + random.Random(1).randbytes(40_000)
V2 = V1[:20_000] + random.Random(2).randbytes(2_000) + V1[22_000:]


@pytest.fixture
def chunking(front: FakeFront) -> FakeFront:
    front.capabilities = ("chunks",)
    return front


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.opened(tmp_path / "pki" / "signing.key")


async def serving(front: FakeFront, node: Node, artifact: pb.Artifact, **fields: object) -> None:
    front.assign(1, replica("r1", artifact), **fields)
    node.start(front.address)
    await front.until_phase("r1", "READY")


def asked(front: FakeFront, artifact: pb.Artifact) -> list[tuple[int, int]]:
    """The ranges of it that were asked for."""
    return [(r.offset, r.size_bytes) for f in front.fetches if f.digest == artifact.digest for r in f.ranges]


async def test_a_next_version_costs_only_what_changed(chunking: FakeFront, node: Node) -> None:
    await serving(chunking, node, chunking.add_chunked(V1))
    v2, before = chunking.add_chunked(V2), chunking.sent_bytes
    chunking.assign(2, replica("r2", v2, "v2"))
    await chunking.until_phase("r2", "READY")
    manifest_bytes = len(chunking.artifacts[v2.manifest])
    assert chunking.sent_bytes - before == sum(size for _, size in asked(chunking, v2)) + manifest_bytes
    assert asked(chunking, v2) == [(20_000, 2_000)]
    assert (await chunking.relay("ModelInfer", infer_request())).metadata["skerry-version"] == "v2"


async def test_a_node_with_a_lan_gives_its_neighbours_what_it_has(chunking: FakeFront, node: Node) -> None:
    artifact = chunking.add_chunked(V1)
    chunking.assign(1, replica("r1", artifact))
    node.start(chunking.address, "127.0.0.1:0")
    await chunking.until_phase("r1", "READY")
    async with grpc.aio.insecure_channel(chunking.hellos[0].peer_address) as channel:
        stream = link_pb2_grpc.PeerStub(channel).Fetch(pb.FetchRequest(digest=artifact.digest))
        assert b"".join([message.data async for message in stream]) == V1


async def test_nothing_is_shared_between_namespaces(chunking: FakeFront, node: Node) -> None:
    await serving(chunking, node, chunking.add_chunked(V1))
    v2 = chunking.add_chunked(V2, "plant-7")
    chunking.assign(2, replica("r1", chunking.add_chunked(V1)), replica("r2", v2, "v2", namespace="plant-7"))
    await chunking.until_phase("r2", "READY")
    assert asked(chunking, v2) == [(0, len(V2))]


async def test_a_front_that_gives_no_ranges_gives_the_whole(front: FakeFront, node: Node) -> None:
    await serving(front, node, front.add_chunked(V1))
    assert [(fetch.offset, len(fetch.ranges)) for fetch in front.fetches] == [(0, 0)]


@pytest.mark.parametrize("how", ["another one's", "garbage", "unknown"])
async def test_without_a_right_manifest_the_whole_is_fetched(chunking: FakeFront, node: Node, how: str) -> None:
    artifact, other = chunking.add_chunked(V1), chunking.add_chunked(V2)
    garbage = chunking.add(b"garbage").digest
    artifact.manifest = {"another one's": other.manifest, "garbage": garbage, "unknown": digest_of(b"?")}[how]
    await serving(chunking, node, artifact)
    assert asked(chunking, artifact) == []
    assert "as a whole" in node.log.read_text() or "going on without it" in node.log.read_text()


async def test_a_flipped_byte_on_the_way_costs_its_chunk(chunking: FakeFront, node: Node) -> None:
    artifact, spoilt = chunking.add_chunked(V1), []

    def spoil(offset: int, data: bytes) -> bytes:
        if offset == 7_000 and not spoilt:
            spoilt.append(offset)
            return bytes([data[0] ^ 1]) + data[1:]
        return data

    chunking.spoil = spoil
    await serving(chunking, node, artifact)
    assert asked(chunking, artifact) == [(0, len(V1)), (7_000, len(V1) - 7_000)]
    assert (await chunking.relay("ModelInfer", infer_request())).code == OK


async def test_a_paper_that_is_always_flipped_is_never_used(chunking: FakeFront, node: Node) -> None:
    artifact = chunking.add_chunked(V1)
    chunking.artifacts[artifact.manifest] = b"x" + chunking.artifacts[artifact.manifest][1:]
    chunking.assign(1, replica("r1", artifact))
    node.start(chunking.address)
    await chunking.until(lambda: "gives other bytes" in chunking.state("r1").reason, "a refused manifest")
    chunking.add_chunked(V1)
    await chunking.until_phase("r1", "READY")


async def test_killed_on_the_way_it_goes_on_where_it_was(chunking: FakeFront, node: Node) -> None:
    big = DENSE + random.Random(3).randbytes(3_000_000)
    artifact = chunking.add_chunked(big, chunk_bytes=50_000)
    path = node.state_dir / "artifacts" / "partial" / artifact.digest.removeprefix("sha256:")
    chunking.assign(1, replica("r1", artifact))
    for stop_at in (700_123, 1_400_246, 2_100_369):
        chunking.spoil = partial(until_offset, stop_at)
        node.start(chunking.address)
        await asyncio.to_thread(wait_for, partial(reaches, path, stop_at - 1_000), "so many bytes")
        node.stop(signal.SIGKILL)
    chunking.spoil = None
    node.start(chunking.address)
    await chunking.until_phase("r1", "READY")
    sent = chunking.sent_bytes - len(chunking.artifacts[artifact.manifest])
    assert len(big) <= sent <= 1.02 * len(big)


def until_offset(stop_at: int, offset: int, data: bytes) -> bytes | None:
    return data if offset < stop_at else None


def reaches(path: Path, size_bytes: int) -> bool:
    return path.exists() and path.stat().st_size >= size_bytes


async def test_a_spoilt_copy_is_not_copied_from(chunking: FakeFront, node: Node) -> None:
    v1 = chunking.add_chunked(V1)
    await serving(chunking, node, v1)
    stored = node.state_dir / "artifacts" / "sha256" / v1.digest.removeprefix("sha256:")
    stored.write_bytes(V1[:9_500] + bytes([V1[9_500] ^ 1]) + V1[9_501:])
    v2 = chunking.add_chunked(V2)
    chunking.assign(2, replica("r2", v2, "v2"))
    await chunking.until_phase("r2", "READY")
    assert sorted(set(asked(chunking, v2))) == [(9_000, 1_000), (20_000, 2_000)]


def trust(*keys: SigningKey, valid_s: int = 3600, **fields: object) -> pb.Trust:
    return pb.Trust(keys=[key.public_der for key in keys], valid_s=valid_s, **fields)


async def test_a_signed_model_is_served_and_an_unsigned_one_is_not(
    chunking: FakeFront, node: Node, key: SigningKey
) -> None:
    await serving(chunking, node, chunking.add_chunked(V1, key=key), trust=trust(key))
    unsigned = chunking.add_chunked(V2)
    chunking.assign(2, replica("r2", unsigned, "v2"))  # says nothing of trust: what was said last holds
    state = await chunking.until_phase("r2", "FAILED")
    assert "it is not signed: register the version again" in state.reason
    assert (await chunking.relay("ModelInfer", infer_request())).metadata["skerry-version"] == "v1"
    chunking.assign(3, replica("r2", chunking.add_chunked(V2, key=key), "v2"))
    await chunking.until_phase("r2", "READY")


async def test_a_revoked_model_stops_serving_and_a_revoked_key_too(
    chunking: FakeFront, node: Node, key: SigningKey
) -> None:
    artifact = chunking.add_chunked(V1, key=key)
    await serving(chunking, node, artifact, trust=trust(key))
    chunking.assign(2, replica("r1", artifact), trust=trust(key, revoked_artifacts=[artifact.digest]))
    assert "it was revoked" in (await chunking.until_phase("r1", "FAILED")).reason
    chunking.assign(3, replica("r1", artifact), trust=trust(key))
    await chunking.until_phase("r1", "READY")
    chunking.assign(4, replica("r1", artifact), trust=trust(key, revoked_keys=[key.id]))
    assert "its key was revoked" in (await chunking.until_phase("r1", "FAILED")).reason
    async with asyncio.timeout(WAIT_S):
        while (await chunking.relay("ModelInfer", infer_request())).code == OK:
            pass  # calls that were routed before are still answered


async def test_another_key_takes_over_and_nothing_restarts(
    chunking: FakeFront, node: Node, key: SigningKey, tmp_path: Path
) -> None:
    await serving(chunking, node, chunking.add_chunked(V1, key=key), trust=trust(key))
    incarnation, other = chunking.state("r1").incarnation, SigningKey.opened(tmp_path / "other.key")
    signed = chunking.add_chunked(V1, key=other)
    late, chunking.artifacts[signed.signature] = chunking.artifacts[signed.signature], b"not there yet"
    chunking.assign(2, replica("r1", signed), trust=trust(other))
    await chunking.until(
        lambda: [f for f in chunking.fetches if f.digest == signed.signature], "a look for the signature"
    )
    chunking.artifacts[signed.signature] = late
    papers = node.state_dir / "artifacts" / "papers"
    await asyncio.to_thread(wait_for, lambda: len(list(papers.iterdir())) == 3, "the new signature")
    chunking.assign(3, replica("r1", signed), trust=trust(other, valid_s=7))
    await chunking.until(lambda: chunking.reports[-1].held_revision == 3, "revision 3")
    assert chunking.state("r1").incarnation == incarnation
    assert chunking.state("r1").phase == pb.REPLICA_PHASE_READY
    assert node.process is not None
    loaded = [each.path for each in psutil.Process(node.process.pid).memory_maps()]
    assert not [path for path in loaded if "cryptography" in path]


async def test_offline_after_a_reboot_signatures_are_checked_from_disk(
    chunking: FakeFront, node: Node, key: SigningKey
) -> None:
    await serving(chunking, node, chunking.add_chunked(V1, key=key), trust=trust(key))
    node.stop(signal.SIGKILL)
    await chunking.stop()
    (node.state_dir / "status.json").unlink()
    node.start(chunking.address)
    await asyncio.to_thread(wait_for, lambda: phase(node) == "ready", "ready from disk")
    node.stop(signal.SIGKILL)
    papers = sorted((node.state_dir / "artifacts" / "papers").iterdir())
    assert len(papers) == 2
    for path in papers:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    (node.state_dir / "status.json").unlink()
    node.start(chunking.address)
    said = lambda: "its signature was spoilt or gone" in reason(node)  # noqa: E731
    await asyncio.to_thread(wait_for, said, "a refusal")
    await chunking.start(chunking.port)
    chunking.reports.clear()
    await chunking.until_phase("r1", "READY")  # fetched again


async def test_offline_for_longer_than_revocations_hold_nothing_is_loaded(
    chunking: FakeFront, node: Node, key: SigningKey
) -> None:
    await serving(chunking, node, chunking.add_chunked(V1, key=key), trust=trust(key, valid_s=1))
    await chunking.stop()
    await asyncio.to_thread(wait_for, lambda: node.status().get("link") == "not attached", "the link's loss")
    node.stop(signal.SIGKILL)
    contact = node.state_dir / "contact.json"
    contact.write_text(json.dumps({"offline_s": 5.0, "wall_s": time.time()}))
    (node.state_dir / "status.json").unlink()
    node.start(chunking.address)
    await asyncio.to_thread(wait_for, lambda: phase(node) == "failed", "a refusal")
    assert "they hold for 1 s: restore the link to a front" in reason(node)
    chunking.reports.clear()
    await chunking.start(chunking.port)
    await chunking.until_phase("r1", "READY")


def phase(node: Node) -> str:
    return next((each["phase"] for each in node.status().get("replicas", [])), "")


def reason(node: Node) -> str:
    return next((each["reason"] for each in node.status().get("replicas", [])), "")


async def test_a_fetch_within_its_budget_delays_no_heartbeat(chunking: FakeFront, node: Node) -> None:
    """Over a line of 4 Mbit/s, of which the policy gives half to artifacts."""
    line = Line(chunking.port, 4.0)
    server = await line.serve()
    artifact = chunking.add_chunked(DENSE + random.Random(6).randbytes(600_000), chunk_bytes=50_000)
    node.start(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await chunking.until(lambda: chunking.heartbeats >= 3, "a few heartbeats")
    chunking.beats_s.clear()
    chunking.assign(1, replica("r1", artifact, rollout_bps=2_000_000))
    began_s = time.monotonic()
    await chunking.until_phase("r1", "READY")
    took_s, beats_s = time.monotonic() - began_s, list(chunking.beats_s)
    assert took_s > 0.8 * len(chunking.artifacts[artifact.digest]) * 8 / 2_000_000
    assert max(after - before for before, after in pairwise(beats_s)) < 1.0  # each 0.1 s, reports count too
    server.close()
