"""Fetches an artifact as a whole: from a front that gives no ranges, or one that has no manifest."""

import asyncio
from contextlib import aclosing

import grpc

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.disk import ArtifactFolder, PartialArtifact
from workers.artifacts.errors import ArtifactCorrupt
from workers.edge.assignment import Artifact
from workers.edge.budget import Budget
from workers.edge.giver import FetchBroken, Giver, GiverRefused, Progress


async def fetch(
    giver: Giver, folder: ArtifactFolder, artifact: Artifact, budget: Budget, rollout_bps: int, progress: Progress
) -> None:
    """Leaves the whole artifact in `folder`, its digest checked. Raises FetchBroken, ArtifactError, OSError."""
    partial = await asyncio.to_thread(folder.partial, artifact.digest, artifact.size_bytes)
    try:
        if partial.offset < artifact.size_bytes:
            await _receive(giver, partial, artifact, budget, rollout_bps, progress)
        await asyncio.to_thread(partial.commit)
    finally:
        partial.close()


async def _receive(
    giver: Giver, partial: PartialArtifact, artifact: Artifact, budget: Budget, rollout_bps: int, progress: Progress
) -> None:
    request = pb.FetchRequest(digest=artifact.digest, offset=partial.offset, session=giver.session)
    try:
        async with aclosing(giver.messages(request, lambda: f"at {partial.offset}")) as chunks:
            async for chunk in chunks:
                _check(chunk, partial, artifact)
                await asyncio.to_thread(partial.append, chunk.data)
                progress.at(partial.offset)
                # What is not read yet keeps the front from sending more.
                await budget.take(len(chunk.data), rollout_bps)
    except GiverRefused as err:
        if err.code is grpc.StatusCode.OUT_OF_RANGE:
            partial.discard()
        raise


def _check(chunk: pb.FetchChunk, partial: PartialArtifact, artifact: Artifact) -> None:
    if chunk.total_bytes != artifact.size_bytes:
        said = f"the front's copy has {chunk.total_bytes} bytes, assigned are {artifact.size_bytes}"
        raise ArtifactCorrupt(artifact.digest, said)
    if chunk.offset != partial.offset:
        raise FetchBroken(f"a chunk of offset {chunk.offset} came at {partial.offset}; it is asked for again")
