"""The part of an agent that artifacts go through, as a process: fetches what the line of JSON says, then serves peers.

On stdout: its peer address, then "whole" once the artifact is there.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from protos.link.v1 import link_pb2_grpc
from workers.artifacts.disk import ArtifactFolder
from workers.edge.actions import FetchArtifact
from workers.edge.assignment import Artifact, PeerNode
from workers.edge.channels import open_channel
from workers.edge.fetching import Fetching
from workers.edge.giver import Giver
from workers.edge.neighbours import Neighbours, PeerServer, Stock


class Front:
    """Reached at an address, without a link."""

    def __init__(self, address: str) -> None:
        self._address = address

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator[Giver]:
        async with open_channel(self._address) as channel:
            yield Giver("the front", link_pb2_grpc.BulkStub(channel).Fetch, "bench", ranges=True, over_wan=True)


async def main(told: dict[str, Any]) -> None:
    stock, neighbours, server = Stock(ArtifactFolder(Path(told["folder"]))), Neighbours("n"), PeerServer("127.0.0.1:0")
    await server.start(stock)
    print(server.address, flush=True)
    neighbours.hold(tuple(PeerNode(address, address) for address in told["peers"]))
    order = FetchArtifact(Artifact(**told["artifact"]), "default", told["rollout_bps"])
    await Fetching(stock, Front(told["front"]), neighbours).fetch(order, lambda _: None)
    print("whole", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
