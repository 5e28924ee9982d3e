"""The parts around a front, in the test's own process: a control plane, nodes and callers that speak the real wire."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from protos.inference.v2 import inference_pb2
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.gateway.transport import Answer, Metadata, TransportError
from workers.probe.servicer import ProbeServicer

INFER = "/inference.GRPCInferenceService/ModelInfer"
Handle = Callable[[link_pb2.RelayRequest], Awaitable[Answer]]


async def until(seen: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Look until it is so; fails with `what` when it never is."""
    end_s = time.monotonic() + within_s
    while not seen():
        assert time.monotonic() < end_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(name: str = "digits", raw: bytes = b"pixels", version: str = "") -> bytes:
    message = inference_pb2.ModelInferRequest(model_name=name, model_version=version, raw_input_contents=[raw])
    return message.SerializeToString()


def relay_route(replica: str, node: str, share: float = 1.0) -> link_pb2.Route:
    return link_pb2.Route(
        replica=replica,
        incarnation=f"{replica}-1",
        site=f"site-of-{node}",
        version="v1",
        share=share,
        predicted_ms=5,
        node=node,
    )


def table(revision: int, *routes: link_pb2.Route) -> link_pb2.RouteTable:
    service = link_pb2.ServiceRoutes(
        namespace="default",
        service="digits",
        version="v1",
        decision="decision-1",
        zones=[link_pb2.ZoneRoutes(zone="", routes=routes)],
    )
    return link_pb2.RouteTable(revision=revision, services=[service])


class ControlPlane(link_pb2_grpc.FrontLinkServicer):
    """Takes reports, sends what `order` is given; each new stream gets the last orders first."""

    def __init__(self, orders: link_pb2.FrontOrders, port: int = 0, deltas: bool = False) -> None:
        """`deltas`: say that reports of changes are understood; an older control plane says nothing of it."""
        self._deltas = deltas
        self.reports: list[link_pb2.FrontReport] = []
        self._orders = orders
        self._streams: set[asyncio.Queue[link_pb2.FrontOrders]] = set()
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        link_pb2_grpc.add_FrontLinkServicer_to_server(self, self._server)
        link_pb2_grpc.add_ProbeServicer_to_server(ProbeServicer(), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    async def start(self) -> "ControlPlane":
        await self._server.start()
        return self

    async def kill(self) -> None:
        await self._server.stop(0)

    def order(self, orders: link_pb2.FrontOrders) -> None:
        for stream in self._streams:
            stream.put_nowait(orders)

    def state(self, node: str) -> link_pb2.NodeState | None:
        """As last reported."""
        for report in reversed(self.reports):
            if found := next((state for state in report.nodes if state.hello.node == node), None):
                return found
            if not report.delta:
                return None
        return None

    async def Attach(  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.FrontReport], context: Any
    ) -> AsyncIterator[link_pb2.FrontOrders]:
        if self._deltas:
            await context.send_initial_metadata((("skerry-capabilities", "deltas"),))
        stream: asyncio.Queue[link_pb2.FrontOrders] = asyncio.Queue()
        stream.put_nowait(self._orders)
        self._streams.add(stream)
        reading = asyncio.create_task(self._read(request_iterator))
        try:
            while True:
                yield await stream.get()
        finally:
            reading.cancel()
            self._streams.discard(stream)

    async def _read(self, reports: AsyncIterator[link_pb2.FrontReport]) -> None:
        async for report in reports:
            self.reports.append(report)


async def echo(call: link_pb2.RelayRequest) -> Answer:
    return Answer(call.payload, (("saw-incarnation", call.incarnation),))


@dataclass
class Node:
    """An agent's end of the links; answers relayed calls by `handle`."""

    name: str
    site: str = "plant"
    epoch: int = 1
    handle: Handle = echo
    heartbeats: bool = True
    assignments: list[link_pb2.Assignment] = field(default_factory=list)
    taken: list[link_pb2.ReportTaken] = field(default_factory=list)
    calls: int = 0
    welcome: link_pb2.FrontWelcome | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _one_writer: asyncio.Lock = field(default_factory=asyncio.Lock)
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def attach(self, address: str) -> "Node":
        """Raises AioRpcError when the front refuses."""
        self.stream = link_pb2_grpc.NodeLinkStub(self._dial(address)).Attach()
        await self.stream.write(link_pb2.NodeMessage(hello=self.hello()))
        first = await self.stream.read()
        if first is grpc.aio.EOF:
            raise await self.refusal()
        self.welcome = first.welcome
        self._tasks += [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]
        return self

    async def relay(self, address: str) -> "Node":
        self.serve = link_pb2_grpc.RelayStub(self._dial(address)).Serve()
        hello = link_pb2.RelayHello(node=self.name, session=self.welcome.session if self.welcome else "")
        await self.serve.write(link_pb2.RelayAnswer(hello=hello))
        self._tasks.append(asyncio.create_task(self._serve()))
        return self

    async def report(self, report: link_pb2.NodeReport) -> None:
        async with self._one_writer:
            await self.stream.write(link_pb2.NodeMessage(report=report))

    async def refusal(self) -> grpc.aio.AioRpcError:
        """How the front ended the control stream."""
        code, details = await self.stream.code(), await self.stream.details()
        metadata = grpc.aio.Metadata()
        return grpc.aio.AioRpcError(code, metadata, metadata, details=details)

    async def leave(self) -> None:
        """Drop every connection, as a process that dies does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def hello(self) -> link_pb2.NodeHello:
        return link_pb2.NodeHello(node=self.name, site=self.site, epoch=self.epoch)

    def _dial(self, address: str) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        self._channels.append(channel)
        return channel

    async def _listen(self) -> None:
        while (message := await self.stream.read()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") == "taken":
                self.taken.append(message.taken)
            else:
                self.assignments.append(message.assignment)

    async def _beat(self) -> None:
        while self.heartbeats and not self.stream.done():
            async with self._one_writer:
                await self.stream.write(link_pb2.NodeMessage(heartbeat=link_pb2.Heartbeat()))
            await asyncio.sleep(0.3)

    async def _serve(self) -> None:
        working: dict[int, asyncio.Task[None]] = {}
        while (call := await self.serve.read()) is not grpc.aio.EOF:
            if call.WhichOneof("kind") == "request":
                self.calls += 1
                working[call.call] = asyncio.create_task(self._answer(call))
            elif call.call in working:
                working[call.call].cancel()

    async def _answer(self, call: link_pb2.RelayCall) -> None:
        try:
            answer = await self.handle(call.request)
            result = link_pb2.RelayResult(payload=answer.payload, metadata=dict(answer.metadata))
        except TransportError as err:
            result = link_pb2.RelayResult(code=err.code.value[0], message=err.message, metadata=dict(err.metadata))
        async with self._one_writer:
            if not self.serve.done():
                await self.serve.write(link_pb2.RelayAnswer(call=call.call, result=result))


@dataclass
class FrontProcess:
    """`python -m orchestrator.front` as its own process; its log is kept in `log_path`."""

    state_dir: Path
    control_port: int
    name: str = "front-0"
    gateway: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    link: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    process: asyncio.subprocess.Process | None = None

    @property
    def log_path(self) -> Path:
        return self.state_dir / "front.log"

    def said(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    async def start(self, extra: Sequence[str] = ()) -> "FrontProcess":
        self.state_dir.mkdir(parents=True, exist_ok=True)
        seen = len(re.findall("front is serving", self.said()))
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "orchestrator.front", "--name", self.name, "--zone", "here"),
                *("--control", f"127.0.0.1:{self.control_port}", "--gateway", self.gateway, "--link", self.link),
                *("--artifacts", str(self.state_dir / "artifacts"), "--state-dir", str(self.state_dir), *extra),
                *("--heartbeat-s", "1"),
                stderr=log,
            )
        await until(
            lambda: len(re.findall("front is serving", self.said())) > seen or self._ended(), "front serves", 20
        )
        assert not self._ended(), self.said()
        return self

    def _ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if not self._ended():
            os.kill(self.process.pid, number)
        return await asyncio.wait_for(self.process.wait(), 20)


class Caller:
    """Calls the gateway over one channel."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        self._call = self._channel.unary_unary(INFER)

    async def infer(
        self, payload: bytes, timeout_s: float = 10.0, metadata: Metadata = ()
    ) -> tuple[bytes, dict[str, str]]:
        call = self._call(payload, timeout=timeout_s, metadata=metadata)
        answer = await call
        return answer, {key: value for key, value in await call.trailing_metadata() or () if isinstance(value, str)}

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    caller = Caller(address)
    try:
        yield caller
    finally:
        await caller.close()


@dataclass
class Load:
    """Callers at a steady rate: every failed call is kept."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    retried: int = 0
    sites: set[str] = field(default_factory=set)

    async def run(self, address: str, callers: int, rate: float, lasting_s: float) -> None:
        period_s = callers / rate
        end_s = time.monotonic() + lasting_s
        await asyncio.gather(*(self._caller(address, period_s, end_s) for _ in range(callers)))

    async def _caller(self, address: str, period_s: float, end_s: float) -> None:
        """Calls are sent when they are due, however slow the ones before are."""
        pending: set[asyncio.Task[None]] = set()
        async with calling(address) as caller:
            due_s = time.monotonic()
            while due_s < end_s:
                pending.add(asyncio.create_task(self._one(caller)))
                due_s += period_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await asyncio.gather(*pending)

    async def _one(self, caller: Caller) -> None:
        start_s = time.monotonic()
        try:
            _, metadata = await caller.infer(request())
        except grpc.aio.AioRpcError as err:
            self.failures.append(f"{err.code().name}: {err.details()}")
        else:
            self.answered += 1
            self.sites.add(metadata["skerry-site"])
            self.retried += metadata["skerry-attempts"] != "1"
        self.slowest_s = max(self.slowest_s, time.monotonic() - start_s)
