"""The least front that a node attaches to: welcomes it, echoes its probes, sends nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc


class Front(link_pb2_grpc.NodeLinkServicer, link_pb2_grpc.RelayServicer, link_pb2_grpc.ProbeServicer):
    async def Attach(  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.NodeMessage], context: Any
    ) -> AsyncIterator[link_pb2.FrontMessage]:
        yield link_pb2.FrontMessage(welcome=link_pb2.FrontWelcome(front="bench", heartbeat_ms=1000, session="1"))
        async for _ in request_iterator:
            pass

    async def Serve(  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.RelayAnswer], context: Any
    ) -> AsyncIterator[link_pb2.RelayCall]:
        async for _ in request_iterator:
            pass
        return
        yield  # makes it a stream

    async def Echo(self, request: link_pb2.EchoRequest, context: Any) -> link_pb2.EchoReply:  # noqa: N802
        return link_pb2.EchoReply(payload=bytes(request.reply_bytes))


async def main() -> None:
    """Prints its address, serves until it is killed."""
    server = grpc.aio.server()
    link_pb2_grpc.add_NodeLinkServicer_to_server(Front(), server)
    link_pb2_grpc.add_RelayServicer_to_server(Front(), server)
    link_pb2_grpc.add_ProbeServicer_to_server(Front(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
