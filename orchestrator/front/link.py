"""The servicers that nodes dial: wire to values, errors to codes, and nothing decided."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import grpc.aio

from orchestrator.errors import EdgeUnreachable, EpochStale, Forbidden, InvalidRequest, NodeUnknown, OrchestratorError
from orchestrator.front.door import Door
from orchestrator.front.nodes import Nodes, Session
from orchestrator.front.relay import RelayStream, RelayTransport
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.probe.servicer import ProbeServicer
from workers.tasks import stopped

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 10.0

STATUS = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NodeUnknown: grpc.StatusCode.NOT_FOUND,  # somebody applies the Site; the node dials again, slowly
    EpochStale: grpc.StatusCode.FAILED_PRECONDITION,  # a newer boot is attached: the older one exits
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,  # somebody joins it again
    EdgeUnreachable: grpc.StatusCode.UNAVAILABLE,  # dial again, with jitter
}
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]  # its streams carry what the method's signature says


def _code(err: Exception) -> grpc.StatusCode:
    return STATUS.get(type(err), grpc.StatusCode.INTERNAL)


async def _first(context: Context, what: str) -> Any:
    """The stream's first message. Raises EdgeUnreachable when it does not come."""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            message = await context.read()
    except TimeoutError as err:
        raise EdgeUnreachable(f"{what}: did not come within {HELLO_TIMEOUT_S:g} s") from err
    if message is grpc.aio.EOF:
        raise EdgeUnreachable(f"{what}: the stream ended before it")
    return message


class NodeLinkServicer(link_pb2_grpc.NodeLinkServicer):
    """Control class: the stream is the node's lease."""

    def __init__(self, nodes: Nodes, front: str, software: link_pb2.Software, door: Door) -> None:
        self._nodes, self._front, self._software, self._door = nodes, front, software, door
        self.fronts: tuple[str, ...] = ()  # link addresses of all

    async def Attach(  # type: ignore[override]  # aio's read and write
        self, request_iterator: AsyncIterator[link_pb2.NodeMessage], context: Context
    ) -> None:
        try:
            hello = _checked((await _first(context, "hello")).hello)
            session = self._nodes.attach(hello, _now_s(), self._door.admit_as(context, hello.node, hello.site))
        except OrchestratorError as err:
            log.warning("node refused", extra={"peer": context.peer(), "reason": str(err)})
            await context.abort(_code(err), str(err))
        log.info("node attached", extra=_facts(session))
        listening = asyncio.create_task(self._listen(session, context))
        try:
            await context.write(self._welcome(session))
            await self._tell(session, context)
        finally:
            self._nodes.detach(session, EdgeUnreachable(f"node {session.hello.node}: its connection broke"))
            await stopped([listening])  # what it raises is the broken stream's: `ended` tells it in our words
            log.info("node detached", extra={**_facts(session), "reason": str(session.ended)})
        if session.ended is not None and not isinstance(session.ended, _Left):
            await context.abort(_code(session.ended), str(session.ended))

    async def _listen(self, session: Session, context: Context) -> None:
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                report = message.report if message.WhichOneof("kind") == "report" else None
                self._nodes.heard(session, _now_s(), report)
            session.end(_Left(f"node {session.hello.node}: said goodbye"))
        finally:
            session.end(EdgeUnreachable(f"node {session.hello.node}: its stream cannot be read any more"))

    async def _tell(self, session: Session, context: Context) -> None:
        """Push the assignment at once and whenever it changes, until the session ends."""
        told: link_pb2.Assignment | None = None
        while True:
            await session.wake.wait()
            session.wake.clear()
            if session.ended is not None:
                return
            assignment = self._nodes.assignment(session.hello.node)
            if assignment is not None and assignment != told:
                await context.write(link_pb2.FrontMessage(assignment=assignment))
                told = assignment

    def _welcome(self, session: Session) -> link_pb2.FrontMessage:
        return link_pb2.FrontMessage(
            welcome=link_pb2.FrontWelcome(
                front=self._front,
                software=self._software,
                heartbeat_ms=self._nodes.heartbeat_ms,
                session=session.name,
                fronts=self.fronts,
            )
        )


class _Left(EdgeUnreachable):
    """The node ended its stream itself."""


class RelayServicer(link_pb2_grpc.RelayServicer):
    """Requests travel down, answers travel up."""

    def __init__(self, relay: RelayTransport, nodes: Nodes, door: Door) -> None:
        self._relay, self._nodes, self._door = relay, nodes, door

    async def Serve(  # type: ignore[override]  # aio's read and write
        self, request_iterator: AsyncIterator[link_pb2.RelayAnswer], context: Context
    ) -> None:
        try:
            hello = (await _first(context, "relay hello")).hello
            self._door.admit_as(context, hello.node)
            if not self._nodes.is_current(hello.node, hello.session):
                raise EdgeUnreachable(f"node {hello.node!r}: session {hello.session!r} is not attached: attach first")
        except OrchestratorError as err:
            await context.abort(_code(err), str(err))
        stream = self._relay.open(hello.node)
        tasks = [
            asyncio.create_task(coroutine)
            for coroutine in (_answers(stream, context), _calls(stream, context), stream.ended.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._relay.close(stream, f"the relay connection of node {hello.node} broke")
            await stopped(tasks)
        await context.abort(grpc.StatusCode.UNAVAILABLE, stream.why)


async def _answers(stream: RelayStream, context: Context) -> None:
    while (answer := await context.read()) is not grpc.aio.EOF:
        stream.answered(answer)


async def _calls(stream: RelayStream, context: Context) -> None:
    while True:
        await context.write(await stream.outgoing.get())


class NodeProbeServicer(ProbeServicer):
    """Echoes for nodes."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def Echo(self, request: link_pb2.EchoRequest, context: Context) -> link_pb2.EchoReply:
        try:
            self._door.admit(context)
        except Forbidden as err:
            await context.abort(_code(err), str(err))
        return await super().Echo(request, context)


def _checked(hello: link_pb2.NodeHello) -> link_pb2.NodeHello:
    """Raises InvalidRequest."""
    for field, value in (("hello.node", hello.node), ("hello.site", hello.site)):
        if not value:
            raise InvalidRequest(field, value, "is empty; the first message must be a hello that names node and site")
    return hello


def _facts(session: Session) -> dict[str, object]:
    hello = session.hello
    return {"node": hello.node, "site": hello.site, "epoch": hello.epoch, "version": hello.software.version}


def _now_s() -> float:
    return asyncio.get_running_loop().time()
