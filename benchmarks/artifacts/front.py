"""The part of a front that gives artifacts, as a process: prints its port, serves a library until it is killed."""

import asyncio
import sys

import grpc.aio

from orchestrator.front.bulk import BulkServicer
from orchestrator.front.door import Door
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.library import ArtifactLibrary
from workers.gateway.server import OPTIONS


async def main(url: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    link_pb2_grpc.add_BulkServicer_to_server(BulkServicer(ArtifactLibrary(url), Door(plain=True)), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
