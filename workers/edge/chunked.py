"""Fetches the chunks of an artifact that this disk lacks, from the nearest that gives them."""

import asyncio
from contextlib import aclosing

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.errors import ArtifactCorrupt
from workers.edge.budget import Budget
from workers.edge.giver import FetchBroken, Giver, Progress
from workers.edge.neighbours import UnderWay

# Asked for at once. A front that dies has sent no more for nothing, and another giver may take over.
REQUEST_MOST_BYTES = 16 << 20
PACED_S = 0.5  # of a budget: so much is asked for at once


async def fetch_missing(
    giver: Giver, under_way: UnderWay, budget: Budget, rollout_bps: int, progress: Progress, wait: bool = False
) -> None:
    """Until nothing is missing. Raises FetchBroken, ArtifactCorrupt, OSError; what came is kept.

    `wait`: for a giver that is fetching itself.
    """
    assembly = under_way.assembly
    paced_bps = rollout_bps if giver.over_wan else 0
    most_bytes = min(REQUEST_MOST_BYTES, int(paced_bps / 8 * PACED_S)) if paced_bps else REQUEST_MOST_BYTES
    while ranges := await asyncio.to_thread(assembly.wanted, most_bytes):
        asked_bytes = sum(size_bytes for _, size_bytes in ranges)
        if giver.over_wan:
            await budget.take(asked_bytes, paced_bps)
        before = assembly.asked_bytes
        request = pb.FetchRequest(
            digest=assembly.manifest.artifact,
            session=giver.session,
            ranges=[pb.ByteRange(offset=offset, size_bytes=size_bytes) for offset, size_bytes in ranges],
            wait=wait,
        )
        await _receive(giver, under_way, request, progress)
        if assembly.asked_bytes == before:
            raise FetchBroken(f"{giver.name} gives nothing of what was asked for at {assembly.there_bytes}")


async def _receive(giver: Giver, under_way: UnderWay, request: pb.FetchRequest, progress: Progress) -> None:
    assembly, size_bytes = under_way.assembly, under_way.assembly.manifest.size_bytes
    async with aclosing(giver.messages(request, lambda: f"at {assembly.there_bytes}")) as messages:
        async for message in messages:
            if message.total_bytes != size_bytes:
                said = f"{giver.name} has one of {message.total_bytes} bytes, assigned are {size_bytes}"
                raise ArtifactCorrupt(assembly.manifest.artifact, said)
            # An empty one says that the giver is waiting for more itself.
            if message.data and not await asyncio.to_thread(assembly.put, message.offset, message.data):
                return
            progress.at(assembly.there_bytes)
            await under_way.move()
