"""A node that is all link and no models: it attaches, tells, beats and dials again as an agent does."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

import grpc
import grpc.aio

from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.edge.channels import CONTROL, Backoff, open_channel
from workers.edge.patience import told_to_wait_s

SITES = 100
CAPABILITIES = ("bulk", "relay", "probe", "litert", "deltas")
WELCOME_WAIT_S = 30.0  # a thousand nodes share this process's core; each of a real fleet has its own
DIALS_AT_ONCE = 25  # of a process, likewise: more than it can serve would keep the front waiting for their hellos


@dataclass
class Tally:
    """Of all nodes of one process."""

    attached: int = 0
    attaches: int = 0
    refused: int = 0
    told_to_wait: int = 0
    beats: int = 0
    assignments: int = 0  # other than the one held
    errors: dict[str, int] = field(default_factory=dict)


def site_of(number: int) -> str:
    return f"site-{number % SITES}"


class LightNode:
    """One node: one replica, ready, as its only news."""

    def __init__(
        self,
        number: int,
        front: str,
        heartbeat_s: float,
        tally: Tally,
        chance: random.Random,
        dials: asyncio.Semaphore,
    ) -> None:
        self._dials = dials
        self._name, self._front, self._heartbeat_s = f"node-{number}", front, heartbeat_s
        self._site, self._tally, self._chance = site_of(number), tally, chance
        self._revision, self._number, self._wait_s = 0, 0, 0.0
        self._replicas: list[link_pb2.ReplicaState] = []
        self.cut = asyncio.Event()  # set: drop the connection

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(self._chance)
        while True:
            try:
                await self._attach(backoff)
            except (grpc.aio.AioRpcError, TimeoutError) as err:
                self._tally.refused += 1
                what = err.code().name if isinstance(err, grpc.aio.AioRpcError) else "no welcome"
                self._tally.errors[what] = self._tally.errors.get(what, 0) + 1
            await asyncio.sleep(backoff.next_s())

    async def _attach(self, backoff: Backoff) -> None:
        async with open_channel(self._front, traffic=CONTROL) as channel:
            while True:
                if stream := await self._welcomed(channel):
                    break
                await asyncio.sleep(self._wait_s * self._chance.uniform(1.0, 1.1))
            backoff.reset()
            self._tally.attached += 1
            self._tally.attaches += 1
            try:
                await self._attached(stream)
            finally:
                self._tally.attached -= 1
                stream.cancel()

    async def _welcomed(self, channel: grpc.aio.Channel) -> "grpc.aio.StreamStreamCall | None":  # type: ignore[type-arg]
        """None: come back in `_wait_s`. Raises AioRpcError, TimeoutError."""
        try:
            async with self._dials, asyncio.timeout(WELCOME_WAIT_S):
                return await self._greeted(link_pb2_grpc.NodeLinkStub(channel).Attach())
        except grpc.aio.AioRpcError as err:
            if (wait_s := told_to_wait_s(err)) is None:
                raise
            self._tally.told_to_wait += 1
            self._wait_s = wait_s
            return None

    async def _greeted(self, stream: grpc.aio.StreamStreamCall) -> grpc.aio.StreamStreamCall:  # type: ignore[type-arg]
        try:
            with contextlib.suppress(asyncio.InvalidStateError):  # refused already: the reader is told why
                await stream.write(link_pb2.NodeMessage(hello=self._hello()))
            if await stream.read() is grpc.aio.EOF:
                raise TimeoutError
        except BaseException:
            stream.cancel()
            raise
        return stream

    async def _attached(self, stream: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        beating = asyncio.create_task(self._beat(stream))
        cutting = asyncio.create_task(self.cut.wait())
        reading = asyncio.create_task(self._read(stream))
        try:
            await asyncio.wait((beating, cutting, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut.clear()
            for task in (beating, cutting, reading):
                task.cancel()
            await asyncio.gather(beating, cutting, reading, return_exceptions=True)

    async def _read(self, stream: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        while (message := await stream.read()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") == "assignment" and message.assignment.revision != self._revision:
                self._tally.assignments += 1
                self._revision = message.assignment.revision
                self._replicas = [
                    link_pb2.ReplicaState(
                        replica=each.replica,
                        incarnation=f"{each.replica}.1",
                        phase=link_pb2.REPLICA_PHASE_READY,
                    )
                    for each in message.assignment.replicas
                ]
                await stream.write(link_pb2.NodeMessage(report=self._report()))

    async def _beat(self, stream: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        if self._revision:
            await stream.write(link_pb2.NodeMessage(report=self._report()))
        await asyncio.sleep(self._heartbeat_s * self._chance.random())
        while True:
            await stream.write(link_pb2.NodeMessage(heartbeat=link_pb2.Heartbeat()))
            self._tally.beats += 1
            await asyncio.sleep(self._heartbeat_s)

    def _hello(self) -> link_pb2.NodeHello:
        return link_pb2.NodeHello(
            node=self._name,
            site=self._site,
            epoch=1,
            software=link_pb2.Software(version="0.1.0", protocol=1, capabilities=CAPABILITIES),
            memory_bytes=1 << 30,
            compute_millis=4000,
            lan_address="10.0.0.1:9001",
            held_revision=self._revision,
        )

    def _report(self) -> link_pb2.NodeReport:
        leg = link_pb2.LegEstimate(
            source=f"site/{self._site}",
            target="front/fleet",
            rtt_p50_ms=10.0,
            rtt_p99_ms=12.0,
            rtt_p95_ms=11.0,
            rtt_p05_ms=9.0,
            rtt_p99_low_ms=11.5,
            rtt_p99_high_ms=14.0,
            up_bps=1e7,
            down_bps=2e7,
            up_p10_bps=9e6,
            down_p10_bps=1.8e7,
            samples=60,
            newest_age_ms=500,
            method="grpc-echo-min3",
            round_trips=link_pb2.Sketch(
                accuracy=0.01, keys=[110, 115, 118, 120, 124], counts=[5, 30, 20, 4, 1], least_ms=9.0, worst_ms=12.0
            ),
        )
        self._number += 1
        return link_pb2.NodeReport(
            number=self._number,
            held_revision=self._revision,
            replicas=self._replicas,
            legs=[leg],
            legs_hold_ms=20_000,
        )
