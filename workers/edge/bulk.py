"""Fetches an artifact's bytes from a front into its place on disk."""

import asyncio
import time
from collections.abc import Callable

import grpc

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.disk import ArtifactFolder, PartialArtifact
from workers.artifacts.errors import ArtifactCorrupt
from workers.edge.assignment import Artifact

STALL_S = 20.0  # without a chunk: give up, and come back to where it was
PROGRESS_EVERY_S = 0.25


class FetchBroken(Exception):
    """The artifact did not come; what came is kept. The message says why and what happens now."""


async def fetch(
    channel: grpc.aio.Channel, folder: ArtifactFolder, artifact: Artifact, session: str, progress: Callable[[int], None]
) -> None:
    """Leaves the whole artifact in `folder`, its digest checked. Raises FetchBroken, ArtifactError, OSError."""
    partial = await asyncio.to_thread(folder.partial, artifact.digest, artifact.size_bytes)
    try:
        if partial.offset < artifact.size_bytes:
            await _receive(channel, partial, artifact, session, progress)
        await asyncio.to_thread(partial.commit)
    finally:
        partial.close()


async def _receive(
    channel: grpc.aio.Channel,
    partial: PartialArtifact,
    artifact: Artifact,
    session: str,
    progress: Callable[[int], None],
) -> None:
    request = pb.FetchRequest(digest=artifact.digest, offset=partial.offset, session=session)
    stream = link_pb2_grpc.BulkStub(channel).Fetch(request)
    told_s = 0.0
    try:
        while isinstance(chunk := await _next(stream), pb.FetchChunk):
            _check(chunk, partial, artifact)
            await asyncio.to_thread(partial.append, chunk.data)
            if time.monotonic() - told_s > PROGRESS_EVERY_S:
                told_s = time.monotonic()
                progress(partial.offset)
    except TimeoutError as err:
        raise FetchBroken(f"no byte came for {STALL_S:.0f} s at {partial.offset}; it goes on from there") from err
    except grpc.aio.AioRpcError as err:
        raise _broken(err, partial) from err
    finally:
        stream.cancel()


async def _next(stream: grpc.aio.UnaryStreamCall[pb.FetchRequest, pb.FetchChunk]) -> object:
    async with asyncio.timeout(STALL_S):
        return await stream.read()


def _check(chunk: pb.FetchChunk, partial: PartialArtifact, artifact: Artifact) -> None:
    if chunk.total_bytes != artifact.size_bytes:
        said = f"the front's copy has {chunk.total_bytes} bytes, assigned are {artifact.size_bytes}"
        raise ArtifactCorrupt(artifact.digest, said)
    if chunk.offset != partial.offset:
        raise FetchBroken(f"a chunk of offset {chunk.offset} came at {partial.offset}; it is asked for again")


def _broken(err: grpc.aio.AioRpcError, partial: PartialArtifact) -> FetchBroken:
    if err.code() is grpc.StatusCode.OUT_OF_RANGE:
        partial.discard()
    said = err.details() or err.code().name
    return FetchBroken(f"the front said {err.code().name} at {partial.offset}: {said}; it is tried again")
