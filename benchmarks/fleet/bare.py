"""`python -m benchmarks.fleet.bare`: a grpc.aio server that reads and keeps nothing: what connections cost alone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from orchestrator.front.process import LINK_OPTIONS
from protos.link.v1 import link_pb2, link_pb2_grpc


class Bare(link_pb2_grpc.NodeLinkServicer):
    async def Attach(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.NodeMessage], context: Any
    ) -> None:
        await context.read()
        await context.write(link_pb2.FrontMessage(welcome=link_pb2.FrontWelcome(front="bare", session="1")))
        while await context.read() is not grpc.aio.EOF:
            pass


async def main(address: str) -> None:
    server = grpc.aio.server(options=LINK_OPTIONS)
    link_pb2_grpc.add_NodeLinkServicer_to_server(Bare(), server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
