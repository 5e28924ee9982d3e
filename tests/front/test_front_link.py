"""Bulk and probe as a node sees them."""

import hashlib
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from orchestrator.front.bulk import BulkServicer
from orchestrator.front.door import Door
from orchestrator.lines import LineFormatter
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.giving import MESSAGE_BYTES, RANGES_MOST
from workers.artifacts.library import ArtifactLibrary
from workers.probe.echo import MOST_BYTES
from workers.probe.servicer import ProbeServicer


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    link_pb2_grpc.add_BulkServicer_to_server(BulkServicer(ArtifactLibrary(str(root)), Door(plain=True)), server)
    link_pb2_grpc.add_ProbeServicer_to_server(ProbeServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def fetched(channel: grpc.aio.Channel, digest: str, offset: int = 0) -> tuple[bytes, list[link_pb2.FetchChunk]]:
    request = link_pb2.FetchRequest(digest=digest, offset=offset)
    chunks = [chunk async for chunk in link_pb2_grpc.BulkStub(channel).Fetch(request, timeout=10)]
    at = offset
    for chunk in chunks:
        assert chunk.offset == at
        at += len(chunk.data)
    return b"".join(chunk.data for chunk in chunks), chunks


@pytest.mark.real
async def test_an_artifact_comes_in_chunks_from_any_offset(tmp_path: Path) -> None:
    content = bytes(range(256)) * 800 + b"tail"
    (tmp_path / "model").write_bytes(content)
    digest, _ = ArtifactLibrary(str(tmp_path / "library")).add(tmp_path / "model")
    async with serving(tmp_path / "library") as channel:
        whole, chunks = await fetched(channel, digest)
        assert hashlib.sha256(whole).hexdigest() == digest.removeprefix("sha256:")
        assert max(len(chunk.data) for chunk in chunks) == MESSAGE_BYTES
        assert {chunk.total_bytes for chunk in chunks} == {len(content)}
        assert (await fetched(channel, digest, 100_001))[0] == content[100_001:]
        at_end, (last,) = await fetched(channel, digest, len(content))
        assert at_end == b""
        assert last.total_bytes == len(content)
        for wrong, offset, code in (
            (digest, len(content) + 1, grpc.StatusCode.OUT_OF_RANGE),
            ("sha256:" + "0" * 64, 0, grpc.StatusCode.NOT_FOUND),
            ("../../etc/passwd", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await fetched(channel, wrong, offset)
            assert caught.value.code() is code


@pytest.mark.real
async def test_ranges_come_alone_and_in_their_order(tmp_path: Path) -> None:
    content = bytes(range(256)) * 800
    (tmp_path / "model").write_bytes(content)
    digest, _ = ArtifactLibrary(str(tmp_path / "library")).add(tmp_path / "model")

    async def ranged(*ranges: tuple[int, int]) -> list[link_pb2.FetchChunk]:
        wanted = [link_pb2.ByteRange(offset=offset, size_bytes=size_bytes) for offset, size_bytes in ranges]
        request = link_pb2.FetchRequest(digest=digest, ranges=wanted)
        return [chunk async for chunk in link_pb2_grpc.BulkStub(channel).Fetch(request, timeout=10)]

    async with serving(tmp_path / "library") as channel:
        chunks = await ranged((100_000, 70_000), (5, 1), (len(content) - 3, 3))
        assert [chunk.offset for chunk in chunks] == [100_000, 100_000 + MESSAGE_BYTES, 5, len(content) - 3]
        sent = b"".join(chunk.data for chunk in chunks)
        assert sent == content[100_000:170_000] + content[5:6] + content[-3:]
        for wrong, code in (
            ([(0, 1), (len(content), 1)], grpc.StatusCode.OUT_OF_RANGE),
            ([(2**64 - 1, 1)], grpc.StatusCode.OUT_OF_RANGE),
            ([(0, 1)] * (RANGES_MOST + 1), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ranged(*wrong)
            assert caught.value.code() is code


@pytest.mark.real
async def test_probes_carry_what_is_asked_for_and_no_more_than_the_limit(tmp_path: Path) -> None:
    async with serving(tmp_path) as channel:
        probe = link_pb2_grpc.ProbeStub(channel)
        reply = await probe.Echo(link_pb2.EchoRequest(payload=bytes(MOST_BYTES), reply_bytes=MOST_BYTES), timeout=10)
        assert len(reply.payload) == MOST_BYTES
        for request in (
            link_pb2.EchoRequest(payload=bytes(MOST_BYTES + 1)),
            link_pb2.EchoRequest(reply_bytes=MOST_BYTES + 1),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await probe.Echo(request, timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert f"{MOST_BYTES + 1} bytes: at most {MOST_BYTES}" in (caught.value.details() or "")


def test_a_log_record_is_one_line_with_its_facts() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    record = logging.makeLogRecord(
        {"name": "room", "levelname": "INFO", "msg": "node attached", "node": "n\n1", "at": 3}
    )
    handler.emit(record)
    assert stream.getvalue().endswith('INFO room: node attached node="n\\n1" at=3\n')
    assert stream.getvalue().count("\n") == 1
