"""The servicers that nodes dial: wire to values, errors to codes, and nothing decided."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import grpc.aio

from orchestrator.errors import EdgeUnreachable, EpochStale, Forbidden, InvalidRequest, NodeUnknown, OrchestratorError
from orchestrator.front.admission import Admission
from orchestrator.front.door import Door
from orchestrator.front.merging import DeltaUnfounded
from orchestrator.front.nodes import Nodes, Session
from orchestrator.front.relay import RelayStream, RelayTransport
from orchestrator.front.telling import Teller
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.edge.patience import retry_after
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

    def __init__(
        self, nodes: Nodes, front: str, software: link_pb2.Software, door: Door, admission: Admission | None = None
    ) -> None:
        self._nodes, self._front, self._software, self._door = nodes, front, software, door
        self._admission = admission or Admission()
        self.fronts: tuple[str, ...] = ()  # link addresses of all

    async def Attach(  # type: ignore[override]  # aio's read and write
        self, request_iterator: AsyncIterator[link_pb2.NodeMessage], context: Context
    ) -> None:
        try:
            hello, key = await self._admitted(context)
            session = self._nodes.attach(hello, _now_s(), key)
            del hello
        except OrchestratorError as err:
            log.warning("node refused", extra={"peer": context.peer(), "reason": str(err)})
            # A hello that does not come is a busy machine's, here or there: dialling anew would keep both busy.
            busy = retry_after(HELLO_TIMEOUT_S) if isinstance(err, EdgeUnreachable) else ()
            await context.abort(_code(err), str(err), busy)
        log.info("node attached", extra=_facts(session))
        teller = Teller(session, self._nodes, context)
        try:
            await context.write(self._welcome(session))
            session.attends = teller
            teller.attend()
            # Here and not in a method, and no message is held: each would take a kilobyte of every idle node.
            while session.ended is None and (message := await context.read()) is not grpc.aio.EOF:
                if message.WhichOneof("kind") == "report":
                    self._take(session, message.report, teller)
                else:
                    self._nodes.heard(session, _now_s())
                del message
            session.end(_Left(f"node {session.node}: said goodbye"))
        except asyncio.CancelledError:
            if session.ended is None or (this := asyncio.current_task()) is None:
                raise  # by grpc: the stream is gone
            this.uncancel()  # by the session's end, which the node is told below
        finally:
            self._nodes.detach(session, EdgeUnreachable(f"node {session.node}: its connection broke"))
            session.attends = None
            await teller.close()
            log.info("node detached", extra={**_facts(session), "reason": str(session.ended)})
        if session.ended is not None and not isinstance(session.ended, _Left):
            await context.abort(_code(session.ended), str(session.ended))

    async def _admitted(self, context: Context) -> tuple[link_pb2.NodeHello, str]:
        """With the key of its certificate. Raises InvalidRequest, EdgeUnreachable, Forbidden; aborts where too many
        dial at once.

        The hello is read before all else: who is refused while it is on the way hears of a reset stream, no more. Who
        may not come in takes nobody's place.
        """
        hello = _checked((await _first(context, "hello")).hello)
        key = self._door.admit_as(context, hello.node, hello.site)
        if wait_s := self._admission.wait_s(_now_s()):
            said = f"too many nodes dial at once; dial again in {wait_s:.1f} s"
            await context.abort(grpc.StatusCode.UNAVAILABLE, said, retry_after(wait_s))
        return hello, key

    def _take(self, session: Session, report: link_pb2.NodeReport, teller: Teller) -> None:
        taken = link_pb2.ReportTaken(number=report.number)
        try:
            self._nodes.reported(session, report, _now_s())
        except (InvalidRequest, DeltaUnfounded) as err:
            log.warning("report refused", extra={**_facts(session), "reason": str(err)})
            taken.refused, taken.whole = str(err), isinstance(err, DeltaUnfounded)
        if report.number:
            teller.taken(taken)

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
