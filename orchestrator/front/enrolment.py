"""The door for machines that are no nodes yet: passes what they ask on to the control plane."""

import asyncio
from typing import Any, TypeVar

import grpc
import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc

MOST_BYTES = 128 << 10  # a request takes 1 KiB
AT_ONCE = 16  # the others wait here, so that a fleet that joins leaves the control plane its breath
PATIENCE_S = 20.0
OPTIONS = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.so_reuseport", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", link_pb2.AuthorityRequest, link_pb2.JoinRequest, link_pb2.RenewRequest)
Reply = TypeVar("Reply", link_pb2.AuthorityReply, link_pb2.Certified)


class EnrolmentServicer(link_pb2_grpc.EnrolmentServicer):
    """link/v1 Enrolment by way of the control plane at the other end of `channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._control = link_pb2_grpc.EnrolmentStub(channel)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def Authority(self, request: link_pb2.AuthorityRequest, context: Context) -> link_pb2.AuthorityReply:
        return await self._passed_on(self._control.Authority, request, context)

    async def Join(self, request: link_pb2.JoinRequest, context: Context) -> link_pb2.Certified:
        return await self._passed_on(self._control.Join, request, context)

    async def Renew(self, request: link_pb2.RenewRequest, context: Context) -> link_pb2.Certified:
        return await self._passed_on(self._control.Renew, request, context)

    async def _passed_on(
        self, ask: "grpc.aio.UnaryUnaryMultiCallable[Request, Reply]", request: Request, context: Context
    ) -> Reply:
        try:
            async with asyncio.timeout(PATIENCE_S), self._places:
                return await ask(request, timeout=PATIENCE_S)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "many machines join at this moment: try again")
        except grpc.aio.AioRpcError as err:
            if err.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                said = "the control plane does not answer this front: try again; `skerry status` shows whether it runs"
                await context.abort(grpc.StatusCode.UNAVAILABLE, said)
            await context.abort(err.code(), err.details() or "")
        raise AssertionError("abort raises")
