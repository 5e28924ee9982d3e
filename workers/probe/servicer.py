"""The far end of a probed leg: a front answers nodes with it, the control plane answers fronts."""

from typing import Any

import grpc
import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.probe.echo import MOST_BYTES


class ProbeServicer(link_pb2_grpc.ProbeServicer):
    """Takes a payload, sends as much padding as was asked for."""

    async def Echo(
        self, request: link_pb2.EchoRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> link_pb2.EchoReply:
        for field, count in (("payload", len(request.payload)), ("reply_bytes", request.reply_bytes)):
            if count > MOST_BYTES:
                message = f"{field}: {count} bytes: at most {MOST_BYTES} each way"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        return link_pb2.EchoReply(payload=bytes(request.reply_bytes))
