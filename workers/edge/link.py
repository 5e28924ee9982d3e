"""The node's connections to a front. The node dials, always; nothing here listens.

Control (NodeLink.Attach) is the lease: while it is open the node is attached. Its welcome names a session, under which
relay (Relay.Serve), probe (Probe.Echo) and bulk (Bulk.Fetch) open connections of their own.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.edge.assignment import Report
from workers.edge.channels import CONTROL, PROBE, QUICK_RELAY, RELAY, Backoff
from workers.edge.dialling import Dial
from workers.edge.errors import NewerBoot
from workers.edge.events import AssignmentReceived, Event, LinkLost, LinkOpened, ProbeSampled
from workers.edge.giver import FetchBroken, Giver
from workers.edge.outage import Outage, remedy_for
from workers.edge.patience import Patience, told_to_wait_s
from workers.edge.relay import RelayServer
from workers.edge.reports import Reports
from workers.edge.wire import assignment_from
from workers.identity.errors import IdentityError
from workers.probe.echo import Echo, EchoProber
from workers.probe.legs import RoundTrip
from workers.probe.pace import ProbePace, rest_of
from workers.tasks import until_first

HEARTBEAT_S = 1.0  # where the front does not say
STEADY_S = 5.0  # an attachment that held for so long makes the next try a first one
UNKNOWN_SITE_WAIT_S = 5.0
REFUSED_WAIT_S = 60.0  # a node that was revoked: only a person can mend it
ECHO_WAIT_S = 10.0
ANSWER_WAIT_S, ANSWER_LOOK_S = 10.0, 1.0

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
        self._reports = Reports()
        self._report_new = asyncio.Event()  # there may be something to tell
        self._probing: tuple[str, ProbePace, EchoProber] | None = None  # of the front that was probed last
        self._session: str | None = None  # of the attachment that is open now
        self._front_can: frozenset[str] = frozenset()
        self._patience = Patience()
        self._outage, self._attached_before = Outage(), False
        self.problem = "not attached yet"  # for status; empty while attached

    def send(self, report: Report) -> None:
        """The latest report replaces one that was not sent yet; while alone, some are kept."""
        self._reports.made(report, asyncio.get_running_loop().time())
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
            except TimeoutError as err:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
                self.problem = str(err) or f"the front did not answer within {self._patience.waited_s:.0f} s"
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
        """One attachment, from dialling to its end. Raises AioRpcError, TimeoutError, IdentityError, OSError.

        A front that names a time to come back is asked again on the same connection: it has shaken hands already.
        """
        async with self._settings.dial.open(CONTROL) as channel:
            while True:
                stream = link_pb2_grpc.NodeLinkStub(channel).Attach()
                try:
                    async with self._patience.waiting():
                        welcome = await self._greet(stream, held_revision)
                    return await self._opened(stream, welcome)
                except grpc.aio.AioRpcError as err:
                    if (wait_s := told_to_wait_s(err)) is None or self._session is not None:
                        raise
                    self.problem = f"the front is busy: {err.details()}"
                finally:
                    stream.cancel()
                await asyncio.sleep(wait_s * self._chance.uniform(1.0, 1.1))

    async def _greet(self, stream: "Stream", held_revision: int) -> pb.FrontWelcome:
        hello = pb.NodeHello()
        hello.CopyFrom(self._settings.hello)
        hello.held_revision = held_revision
        with contextlib.suppress(asyncio.InvalidStateError):  # it was refused already, and the reader is told why
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
        heartbeat_s = self._settings.heartbeat_s or welcome.heartbeat_ms / 1000 or HEARTBEAT_S
        deltas = "deltas" in self._front_can
        rest_s = rest_of(heartbeat_s) if deltas else 0.0
        self._reports.opened(deltas, rest_s)
        await self._inbox.put(LinkOpened(welcome.front, rest_s))
        await self._settings.dial.learn(welcome.fronts)
        await until_first(
            self._receive(stream),
            self._talk(stream, heartbeat_s),
            self._relayed(welcome.session, QUICK_RELAY if rest_s == 0 else RELAY),
            self._probed(welcome.front, rest_s),
            self._answered(ANSWER_WAIT_S if rest_s == 0 else math.inf),
        )

    async def _lost(self) -> None:
        self._session = None
        self._reports.lost()
        facts = {"front": self._settings.dial.front, "reason": self.problem}
        _log.warning("link lost; serving what is held and dialling again", extra=facts)
        await self._inbox.put(LinkLost(self.problem))

    async def _receive(self, stream: "Stream") -> None:
        while isinstance(message := await stream.read(), pb.FrontMessage):
            if message.WhichOneof("kind") == "assignment":
                await self._inbox.put(AssignmentReceived(assignment_from(message.assignment)))
            elif message.WhichOneof("kind") == "taken":
                self._reports.taken(message.taken)
                self._report_new.set()

    async def _talk(self, stream: "Stream", heartbeat_s: float) -> None:
        """The only writer: reports when there is a new one, else heartbeats. Ends by being cancelled."""
        try:
            while True:
                await stream.write(await self._next_message(heartbeat_s))
        except asyncio.InvalidStateError:
            await asyncio.Event().wait()  # the stream has ended: `_receive` knows why

    async def _next_message(self, heartbeat_s: float) -> pb.NodeMessage:
        """What is due next. Beats are spread: nodes that a front took at once do not beat at once for ever."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(heartbeat_s * self._chance.uniform(0.9, 1.0)):
                while (report := self._reports.next(loop.time())) is None:
                    self._report_new.clear()
                    await self._report_new.wait()
        except TimeoutError:
            return pb.NodeMessage(heartbeat=pb.Heartbeat())
        return pb.NodeMessage(report=report)

    async def _answered(self, limit_s: float) -> None:
        """Until a report is not answered: a proxy that takes all that is written hides that the front is gone.

        A front that wants few beats may have a fleet to answer, and pings find the same more slowly.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ANSWER_LOOK_S)
            if self._reports.unanswered_s(loop.time()) > limit_s:
                raise TimeoutError(f"the front did not answer a report within {limit_s:.0f} s")

    async def _relayed(self, session: str, traffic: tuple[tuple[str, int], ...]) -> None:
        """Keep the relay open as long as the attachment is; its loss is not the attachment's."""
        backoff = Backoff(self._chance)
        while True:
            async with self._settings.dial.open(traffic) as channel:
                try:
                    await self._relay.serve(channel, self._settings.hello.node, session)
                except grpc.aio.AioRpcError as err:
                    _log.info("relay lost; dialling again", extra={"code": err.code().name, "said": err.details()})
            await asyncio.sleep(backoff.next_s())

    async def _probed(self, front: str, rest_s: float) -> None:
        async with self._settings.dial.open(PROBE) as channel:
            stub = link_pb2_grpc.ProbeStub(channel)

            async def echo(payload: bytes, reply_bytes: int) -> None:
                await stub.Echo(pb.EchoRequest(payload=payload, reply_bytes=reply_bytes), timeout=ECHO_WAIT_S)

            pace, prober = self._probing_of(front, echo)
            pace.rest_s, prober.sparing = rest_s, rest_s > 0
            if pace.rests:
                await asyncio.sleep(self._chance.uniform(0.0, pace.wait_s))
            while True:
                try:
                    async for sample in prober.samples():
                        await self._inbox.put(ProbeSampled(sample))
                        if isinstance(sample, RoundTrip):
                            pace.sampled(sample.rtt_ms)
                except grpc.aio.AioRpcError as err:
                    _log.info("probe failed", extra={"code": err.code().name, "said": err.details()})
                if not prober.young:
                    await asyncio.sleep(pace.wait_s)

    def _probing_of(self, front: str, echo: Echo) -> tuple[ProbePace, EchoProber]:
        """A front that is back was measured before: thousands of nodes that return at once do not all begin anew."""
        if self._probing is None or self._probing[0] != front:
            self._probing = front, ProbePace(self._settings.probe_interval_s), EchoProber(echo)
        _, pace, prober = self._probing
        prober.echo = echo
        return pace, prober


Stream = grpc.aio.StreamStreamCall[pb.NodeMessage, pb.FrontMessage]
