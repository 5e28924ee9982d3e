"""The front's stream to the control plane: reports up, orders down. While it is broken the front goes on as it was."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import TypeAlias

import grpc
import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.identity.connecting import Connector
from workers.identity.errors import IdentityError
from workers.identity.names import Role
from workers.tasks import stopped

log = logging.getLogger(__name__)

REPORT_EVERY_S = 0.5
REPORT_GAP_S = 0.05  # between two reports, so that a thousand nodes attaching at once are a few reports
BACKOFF_FIRST_S = 0.2
BACKOFF_LONGEST_S = 2.0
MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024
CAPABILITIES_KEY = "skerry-capabilities"  # initial metadata of the control plane
_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # each attempt dials anew: our backoff, not the channel's
)
Stream: TypeAlias = grpc.aio.StreamStreamCall[link_pb2.FrontReport, link_pb2.FrontOrders]


class Uplink:
    """Keeps one Attach stream open. `report` makes a report, whole or of changes; `ordered` takes orders in.

    A report is made when the one before was taken over by the connection: a slow control plane is told less often.
    """

    def __init__(
        self,
        address: str,
        hello: link_pb2.FrontHello,
        report: Callable[[bool], link_pb2.FrontReport],
        ordered: Callable[[link_pb2.FrontOrders], None],
        connector: Connector,
    ) -> None:
        self._address, self._hello, self._report, self._ordered = address, hello, report, ordered
        self._connector = connector
        self._wake = asyncio.Event()
        self._backoff_s = BACKOFF_FIRST_S
        self._lost = False

    def hurry(self) -> None:
        """Something changed that the control plane should hear now."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; dials again with backoff and jitter."""
        while True:
            try:
                await self._attach()
                reason = "the control plane ended the stream"
            except grpc.aio.AioRpcError as err:
                reason = f"{err.code().name}: {err.details()}"
            except (IdentityError, OSError) as err:
                reason = f"this front's certificate cannot be used: {err}"
            if not self._lost:
                log.warning("control plane lost; serving on", extra={"address": self._address, "reason": reason})
                self._lost = True
            await asyncio.sleep(self._backoff_s * random.uniform(0.5, 1.0))
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_LONGEST_S)

    async def _attach(self) -> None:
        """One stream, until it breaks. Raises AioRpcError."""
        async with self._connector.aio(self._address, Role.CONTROL, _OPTIONS) as channel:
            stream: Stream = link_pb2_grpc.FrontLinkStub(channel).Attach()
            tasks = [asyncio.create_task(self._send(stream)), asyncio.create_task(self._receive(stream))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await stopped(tasks)
                stream.cancel()
            for task in done:
                if not task.cancelled():  # grpc cancels a reader whose channel is gone
                    task.result()

    async def _receive(self, stream: Stream) -> None:
        async for orders in stream:
            self._heard(orders)

    def _heard(self, orders: link_pb2.FrontOrders) -> None:
        if self._lost:
            log.info("control plane is back", extra={"address": self._address, "epoch": orders.epoch})
        self._backoff_s, self._lost = BACKOFF_FIRST_S, False
        self._ordered(orders)

    async def _send(self, stream: Stream) -> None:
        """A control plane that does not say that it knows changes, or not yet, is sent all there is each time."""
        deltas = asyncio.create_task(_takes_deltas(stream))
        try:
            report = self._report(True)
            report.hello.CopyFrom(self._hello)
            while not stream.done():
                with contextlib.suppress(asyncio.InvalidStateError):  # it ended meanwhile: the reader knows why
                    await stream.write(report)
                await self._due()
                report = self._report(not (deltas.done() and deltas.result()))
        finally:
            await stopped([deltas])

    async def _due(self) -> None:
        await asyncio.sleep(REPORT_GAP_S)
        with contextlib.suppress(TimeoutError):  # then the regular report is due
            async with asyncio.timeout(REPORT_EVERY_S - REPORT_GAP_S):
                await self._wake.wait()
        self._wake.clear()


async def _takes_deltas(stream: Stream) -> bool:
    try:
        said = dict(await stream.initial_metadata())
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False  # the reader knows why
    return "deltas" in str(said.get(CAPABILITIES_KEY, "")).split(",")
