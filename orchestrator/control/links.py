"""Where fronts and cloud replicas dial in. Translates reports into observations; decides nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from orchestrator.clock import Clock
from orchestrator.control.board import Board
from orchestrator.control.observations import Observations
from orchestrator.model.ids import FrontName, NodeName
from protos.link.v1 import link_pb2, link_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class FrontLinkServicer(link_pb2_grpc.FrontLinkServicer):
    """A front's stream: its reports in, orders out."""

    def __init__(self, observations: Observations, board: Board, clock: Clock) -> None:
        self._observations, self._board, self._clock = observations, board, clock

    async def Attach(
        self, request_iterator: AsyncIterator[link_pb2.FrontReport], context: Context
    ) -> AsyncIterator[link_pb2.FrontOrders]:
        await context.send_initial_metadata((("skerry-capabilities", "deltas"),))
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.hello.front:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "hello: missing: the first report names the front")
        name = FrontName(first.hello.front)
        session = self._observations.front_attached(first.hello, self._clock.now_s())
        self._observations.front_reported(name, first, self._clock.now_s())
        reading = asyncio.create_task(self._read(name, request_iterator))
        orders = self._board.orders(lambda node: self._holds(name, node))
        getting: asyncio.Future[link_pb2.FrontOrders] | None = None
        try:
            await self._board.wake()
            while True:
                getting = asyncio.ensure_future(anext(orders))
                await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return
                yield getting.result()
        finally:
            self._observations.front_detached(name, session, self._clock.now_s())
            for task in (reading, getting):
                if task is not None:
                    task.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
                await reading

    async def _read(self, name: FrontName, reports: AsyncIterator[link_pb2.FrontReport]) -> None:
        async for report in reports:
            if self._observations.front_reported(name, report, self._clock.now_s()):
                await self._board.wake()

    def _holds(self, name: FrontName, node: NodeName) -> bool:
        return self._observations.holder(node) == name


class ReplicaLinkServicer(link_pb2_grpc.ReplicaLinkServicer):
    """A cloud replica's registration: it is routed to while its stream lives."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations

    async def Register(
        self, request_iterator: AsyncIterator[link_pb2.ReplicaReport], context: Context
    ) -> AsyncIterator[link_pb2.ReplicaOrders]:
        report = await anext(aiter(request_iterator), None)
        if report is None or not report.replica or not report.incarnation:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "replica, incarnation: missing: the first report says who registers"
            )
        self._observations.replica_registered(report)
        try:
            yield link_pb2.ReplicaOrders()
            async for later in request_iterator:
                self._observations.replica_registered(later)
        finally:
            self._observations.replica_gone(report)
