"""The node's connections to a front. The node dials, always; nothing here listens.

Control (NodeLink.Attach) is the lease: while it is open the node is attached. Its welcome names a session, under which
relay (Relay.Serve), probe (Probe.Echo) and bulk (Bulk.Fetch) open connections of their own.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.edge.assignment import Report
from workers.edge.channels import Backoff
from workers.edge.dialling import Dial
from workers.edge.errors import NewerBoot
from workers.edge.events import AssignmentReceived, Event, LinkLost, LinkOpened, ProbeSampled
from workers.edge.giver import FetchBroken, Giver
from workers.edge.outage import Outage, remedy_for
from workers.edge.relay import RelayServer
from workers.edge.wire import assignment_from, report_to
from workers.identity.errors import IdentityError
from workers.probe.echo import EchoProber
from workers.tasks import until_first

WELCOME_WAIT_S = 5.0
HEARTBEAT_S = 1.0  # where the front does not say
STEADY_S = 5.0  # an attachment that held for so long makes the next try a first one
UNKNOWN_SITE_WAIT_S = 5.0
REFUSED_WAIT_S = 60.0  # a node that was revoked: only a person can mend it
ECHO_WAIT_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    dial: Dial
    hello: pb.NodeHello  # without held_revision
    probe_interval_s: float
    heartbeat_s: float | None  # None: what the front says


class Link:
    """One node's link to whichever front is there, through as many attachments as it takes."""

    def __init__(self, settings: LinkSettings, relay: RelayServer, inbox: asyncio.Queue[Event]) -> None:
        self._settings, self._relay, self._inbox = settings, relay, inbox
        self._chance = random.Random()
        self._report: Report | None = None
        self._report_new = asyncio.Event()
        self._session: str | None = None  # of the attachment that is open now
        self._front_can: frozenset[str] = frozenset()
        self._outage, self._attached_before = Outage(), False
        self.problem = "not attached yet"  # for status; empty while attached

    def send(self, report: Report) -> None:
        """The latest report replaces one that was not sent yet."""
        self._report = report
        self._report_new.set()

    async def run(self, held_revision: Callable[[], int]) -> None:
        """Attach, again and again, until cancelled. Raises NewerBoot."""
        backoff = Backoff(self._chance)
        loop = asyncio.get_running_loop()
        while True:
            began_s, code = loop.time(), grpc.StatusCode.UNAVAILABLE
            try:
                await self._attach(held_revision())
                self.problem = "the front closed the link"
            except grpc.aio.AioRpcError as err:
                self._end_if_outdated(err)
                code, self.problem = err.code(), f"{err.code().name}: {err.details()}"
            except TimeoutError:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
                self.problem = f"the front did not answer within {WELCOME_WAIT_S:.0f} s"
            except (IdentityError, OSError) as err:
                code, self.problem = grpc.StatusCode.UNAUTHENTICATED, str(err)
            if trouble := self._settings.dial.trouble():
                self.problem += f"; {trouble}"
            if self._session is None:
                self._not_attached(code, loop.time())
            else:
                await self._lost()
            if loop.time() - began_s > STEADY_S:
                backoff.reset()
            self._settings.dial.advance()
            await asyncio.sleep(max(self._least_wait_s(code), backoff.next_s()))

    def _least_wait_s(self, code: grpc.StatusCode) -> float:
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return REFUSED_WAIT_S * self._chance.uniform(0.5, 1.0)
        return UNKNOWN_SITE_WAIT_S if code is grpc.StatusCode.NOT_FOUND else 0.0

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator[Giver]:
        """The front as a giver of artifacts, on a connection of its own. Raises FetchBroken."""
        session = self._session
        if session is None:
            raise FetchBroken(f"not on disk, and no front is attached ({self.problem}); it is tried again")
        try:
            channel = self._settings.dial.open()
        except IdentityError as err:
            raise FetchBroken(f"the front cannot be dialled: {err}") from err
        async with channel:
            fetch = link_pb2_grpc.BulkStub(channel).Fetch
            yield Giver("the front", fetch, session, ranges="chunks" in self._front_can, over_wan=True)

    def _end_if_outdated(self, err: grpc.aio.AioRpcError) -> None:
        """Raises NewerBoot."""
        hello = self._settings.hello
        if err.code() is grpc.StatusCode.FAILED_PRECONDITION:
            raise NewerBoot(f"node {hello.node}: the front refused epoch {hello.epoch}: {err.details()}") from err

    def _not_attached(self, code: grpc.StatusCode, now_s: float) -> None:
        """A person must know, but not of each try."""
        if self._outage.failed(code, now_s):
            facts = {
                "front": self._settings.dial.front,
                "site": self._settings.hello.site,
                "reason": self.problem,
                "remedy": remedy_for(code, self.problem),
                "tries": self._outage.tries,
                "for_s": round(self._outage.lasted_s(now_s)),
            }
            _log.warning("cannot attach to the front; serving what is held and trying again", extra=facts)

    async def _attach(self, held_revision: int) -> None:
        """One attachment, from dialling to its end. Raises AioRpcError, TimeoutError."""
        async with self._settings.dial.open() as channel:
            stream = link_pb2_grpc.NodeLinkStub(channel).Attach()
            try:
                async with asyncio.timeout(WELCOME_WAIT_S):
                    welcome = await self._greet(stream, held_revision)
                await self._opened(stream, welcome)
            finally:
                stream.cancel()

    async def _greet(self, stream: "Stream", held_revision: int) -> pb.FrontWelcome:
        hello = pb.NodeHello()
        hello.CopyFrom(self._settings.hello)
        hello.held_revision = held_revision
        await stream.write(pb.NodeMessage(hello=hello))
        first = await stream.read()
        if not isinstance(first, pb.FrontMessage) or first.WhichOneof("kind") != "welcome":
            raise TimeoutError  # it speaks, but not as a front does: as good as no answer
        return first.welcome

    async def _opened(self, stream: "Stream", welcome: pb.FrontWelcome) -> None:
        self._session, self.problem = welcome.session, ""
        self._front_can = frozenset(welcome.software.capabilities)
        facts = {"front": welcome.front, "address": self._settings.dial.front, "session": welcome.session}
        if self._outage.tries:
            facts["after_s"] = str(round(self._outage.lasted_s(asyncio.get_running_loop().time())))
        _log.info("attached again" if self._attached_before else "attached", extra=facts)
        self._outage, self._attached_before = Outage(), True
        await self._inbox.put(LinkOpened(welcome.front))
        await self._settings.dial.learn(welcome.fronts)
        heartbeat_s = self._settings.heartbeat_s or welcome.heartbeat_ms / 1000 or HEARTBEAT_S
        await until_first(
            self._receive(stream), self._talk(stream, heartbeat_s), self._relayed(welcome.session), self._probed()
        )

    async def _lost(self) -> None:
        self._session = None
        facts = {"front": self._settings.dial.front, "reason": self.problem}
        _log.warning("link lost; serving what is held and dialling again", extra=facts)
        await self._inbox.put(LinkLost(self.problem))

    async def _receive(self, stream: "Stream") -> None:
        while isinstance(message := await stream.read(), pb.FrontMessage):
            if message.WhichOneof("kind") == "assignment":
                await self._inbox.put(AssignmentReceived(assignment_from(message.assignment)))

    async def _talk(self, stream: "Stream", heartbeat_s: float) -> None:
        """The only writer: reports when there is a new one, else heartbeats. Ends by being cancelled."""
        try:
            while True:
                await stream.write(await self._next_message(heartbeat_s))
        except asyncio.InvalidStateError:
            await asyncio.Event().wait()  # the stream has ended: `_receive` knows why

    async def _next_message(self, heartbeat_s: float) -> pb.NodeMessage:
        try:
            async with asyncio.timeout(heartbeat_s):
                await self._report_new.wait()
        except TimeoutError:
            return pb.NodeMessage(heartbeat=pb.Heartbeat())
        self._report_new.clear()
        assert self._report is not None
        return pb.NodeMessage(report=report_to(self._report))

    async def _relayed(self, session: str) -> None:
        """Keep the relay open as long as the attachment is; its loss is not the attachment's."""
        backoff = Backoff(self._chance)
        while True:
            async with self._settings.dial.open() as channel:
                try:
                    await self._relay.serve(channel, self._settings.hello.node, session)
                except grpc.aio.AioRpcError as err:
                    _log.info("relay lost; dialling again", extra={"code": err.code().name, "said": err.details()})
            await asyncio.sleep(backoff.next_s())

    async def _probed(self) -> None:
        async with self._settings.dial.open() as channel:
            stub = link_pb2_grpc.ProbeStub(channel)

            async def echo(payload: bytes, reply_bytes: int) -> None:
                await stub.Echo(pb.EchoRequest(payload=payload, reply_bytes=reply_bytes), timeout=ECHO_WAIT_S)

            prober = EchoProber(echo)
            while True:
                try:
                    async for sample in prober.samples():
                        await self._inbox.put(ProbeSampled(sample))
                except grpc.aio.AioRpcError as err:
                    _log.info("probe failed", extra={"code": err.code().name, "said": err.details()})
                if not prober.young:
                    await asyncio.sleep(self._settings.probe_interval_s)


Stream = grpc.aio.StreamStreamCall[pb.NodeMessage, pb.FrontMessage]
