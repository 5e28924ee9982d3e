"""The front as a process: two servers, the uplink, and nothing that another front could not do as well."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from importlib.metadata import version

import grpc.aio

from orchestrator.errors import OrchestratorError
from orchestrator.front import enrolment, orders
from orchestrator.front.bulk import BulkServicer
from orchestrator.front.door import Door, bind
from orchestrator.front.legs import RegionLeg
from orchestrator.front.link import NodeLinkServicer, NodeProbeServicer, RelayServicer
from orchestrator.front.nodes import Nodes
from orchestrator.front.relay import RelayTransport
from orchestrator.front.settings import FrontSettings
from orchestrator.front.uplink import Uplink
from orchestrator.lines import log_to
from orchestrator.settings import is_loopback, loopback
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.library import ArtifactLibrary
from workers.gateway.choice import Route
from workers.gateway.direct import DirectTransport
from workers.gateway.forward import Gateway
from workers.gateway.server import OPTIONS, OipHandlers, gateway_server
from workers.gateway.tables import table_of
from workers.gateway.transport import Answer, Metadata
from workers.identity.connecting import Connector
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.tasks import stopped

log = logging.getLogger(__name__)

DRAIN_S = 5.0
SWEEPS_PER_BEAT = 4
# After each beat grpc would ping the node, to learn how large a window the link deserves, and the node would answer: as
# many bytes again. A window that is large from the start takes what nodes send up, relayed answers above all.
LINK_OPTIONS = (*OPTIONS, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 20))
KEEP_PAUSE = 20.0  # times as long as the orders took to write
CAPABILITIES = ("relay", "bulk", "chunks", "probe", "deltas")


class RoutedTransport:
    """By relay to a node, directly to an address."""

    def __init__(self, direct: DirectTransport, relay: RelayTransport) -> None:
        self._direct, self._relay = direct, relay

    async def call(self, route: Route, method: str, payload: bytes, metadata: Metadata, timeout_s: float) -> Answer:
        way = self._relay if route.node else self._direct
        return await way.call(route, method, payload, metadata, timeout_s)


class Front:
    """The parts of one front, wired. Build it inside the event loop."""

    def __init__(self, settings: FrontSettings) -> None:
        self._settings = settings
        self._software = link_pb2.Software(version=version("skerry"), protocol=1, capabilities=CAPABILITIES)
        self._identity = IdentityFolder(settings.identity_dir) if settings.identity_dir else None
        self._connector = Connector(self._identity)
        self._direct, self._relay = DirectTransport(self._connector), RelayTransport()
        self._nodes = Nodes(self._hurry, round(settings.heartbeat_s * 1000))
        self._gateway = Gateway(RoutedTransport(self._direct, self._relay), settings.zone, self._relay.nodes)
        self._leg = RegionLeg(settings.control_address, settings.name, settings.region, self._connector)
        self._orders = orders.restored(settings.orders_path)
        self._unkept, self._pressing = asyncio.Event(), asyncio.Event()
        self._handlers = OipHandlers(self._gateway, self._software.version)
        self._gateway_server = gateway_server(self._handlers)
        self._door = Door(plain=settings.identity_dir is None)
        self._node_link = NodeLinkServicer(self._nodes, settings.name, self._software, self._door)
        self._link_server = self._link()
        self._uplink: Uplink | None = None
        self._obey(self._orders.whole())

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain. Raises Unavailable when an address is taken."""
        settings = self._settings
        plain = is_loopback(settings.gateway_address)
        gateway = bind(
            self._gateway_server, "gateway", settings.gateway_address, None if plain else settings.identity_dir
        )
        link = bind(self._link_server, "link", settings.link_address, settings.identity_dir)
        async with self._connector.aio(settings.control_address, Role.CONTROL) as control:
            joining = self._enrolment_server(control)
            hello = self._hello(gateway, link, self._bound_enrolment(joining))
            await self._serve(stop, hello, [self._link_server, self._gateway_server, *filter(None, [joining])])
            if joining:
                await joining.stop(0)

    async def _serve(self, stop: asyncio.Event, hello: link_pb2.FrontHello, servers: list[grpc.aio.Server]) -> None:
        self._uplink = Uplink(self._settings.control_address, hello, self._report, self._ordered, self._connector)
        for server in servers:
            await server.start()
        facts = {"gateway": hello.gateway_address, "link": hello.link_address, "enrolment": hello.enrolment_address}
        log.info("front is serving", extra={"front": self._settings.name, **facts})
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(w) for w in (self._uplink.run(), self._leg.probe(), self._sweep(), self._keep())]
            try:
                await stop.wait()
            finally:
                await self._drain()
                await stopped(work)

    async def _drain(self) -> None:
        """Calls under way end first; they may need the nodes' streams."""
        log.info("front is draining", extra={"front": self._settings.name, "at_most_s": DRAIN_S})
        self._handlers.draining = True
        await self._gateway_server.stop(DRAIN_S)
        await self._link_server.stop(0)
        await self._direct.close()

    def _link(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=LINK_OPTIONS)
        library = ArtifactLibrary(self._settings.artifacts_url)
        link_pb2_grpc.add_NodeLinkServicer_to_server(self._node_link, server)
        link_pb2_grpc.add_BulkServicer_to_server(BulkServicer(library, self._door), server)
        link_pb2_grpc.add_RelayServicer_to_server(RelayServicer(self._relay, self._nodes, self._door), server)
        link_pb2_grpc.add_ProbeServicer_to_server(NodeProbeServicer(self._door), server)
        return server

    def _enrolment_server(self, control: grpc.aio.Channel) -> grpc.aio.Server | None:
        if self._settings.identity_dir is None or not self._settings.enrolment_address:
            return None
        server = grpc.aio.server(options=enrolment.OPTIONS)
        link_pb2_grpc.add_EnrolmentServicer_to_server(enrolment.EnrolmentServicer(control), server)
        return server

    def _bound_enrolment(self, server: grpc.aio.Server | None) -> str:
        """Whoever joins has no certificate to show. Raises Unavailable."""
        if server is None:
            return ""
        return bind(server, "enrolment", self._settings.enrolment_address, self._settings.identity_dir, callers=False)

    def _hello(self, gateway: str, link: str, joining: str) -> link_pb2.FrontHello:
        return link_pb2.FrontHello(
            front=self._settings.name,
            region=self._settings.region,
            software=self._software,
            gateway_address=gateway,
            link_address=_dialled(link, self._settings.hosts),
            enrolment_address=_dialled(joining, self._settings.hosts),
        )

    def _hurry(self) -> None:
        if self._uplink is not None:
            self._uplink.hurry()

    def _report(self, whole: bool) -> link_pb2.FrontReport:
        now_s = asyncio.get_running_loop().time()
        table = self._gateway.table
        nodes, forgotten = (self._nodes.states(now_s), ()) if whole else self._nodes.changes(now_s)
        return link_pb2.FrontReport(
            nodes=nodes,
            delta=not whole,
            forgotten=forgotten,
            legs=self._leg.estimates(now_s),
            demand=[
                link_pb2.Demand(
                    namespace=each.namespace,
                    service=each.service,
                    zone=each.zone,
                    calls=each.calls,
                    failed=each.failed,
                    request_bytes=each.request_bytes,
                    response_bytes=each.response_bytes,
                    window_ms=each.window_ms,
                )
                for each in self._gateway.demand.drain(now_s)
            ],
            routes_revision=0 if table is None else table.revision,
        )

    def _ordered(self, sent: link_pb2.FrontOrders) -> None:
        if self._orders.take(sent):
            self._obey(sent)
            self._unkept.set()
            if sent.HasField("revocations"):
                self._pressing.set()  # a front that restarts alone must refuse them

    def _obey(self, sent: link_pb2.FrontOrders) -> None:
        """Contents count, not revisions: a control plane that was set up anew counts them from the start."""
        if sent.HasField("routes"):
            table = table_of(sent.routes)
            self._gateway.use(table)
            self._direct.retain(table.addresses)
        self._nodes.assign(
            {(node := sys.intern(each.node)): self._orders.assignments[node] for each in sent.assignments}
        )
        if sent.sites:
            self._nodes.know_sites(sent.sites)
        if sent.fronts:
            self._node_link.fronts = tuple(sent.fronts)
        if sent.HasField("revocations"):
            self._door.revoked = frozenset(sent.revocations.keys)
            for node in self._nodes.revoke(self._door.revoked):
                self._relay.cut(node, f"the enrolment of node {node} was ended")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s / SWEEPS_PER_BEAT)
            for node in self._nodes.sweep(asyncio.get_running_loop().time()):
                self._relay.cut(node, f"node {node} is silent")

    async def _keep(self) -> None:
        """Write the orders to disk when they changed: all of them, so that a fleet's must not be written at each."""
        loop = asyncio.get_running_loop()
        while True:
            await self._unkept.wait()
            self._unkept.clear()
            self._pressing.clear()
            began_s = loop.time()
            try:
                await asyncio.to_thread(orders.keep, self._settings.orders_path, self._orders.pieces())
            except OSError as err:
                path = str(self._settings.orders_path)
                log.error(
                    "orders not kept; a restart without the control plane would serve nothing",
                    extra={"path": path, "reason": str(err)},
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_PAUSE * (loop.time() - began_s)):
                    await self._pressing.wait()


def _dialled(address: str, hosts: tuple[str, ...]) -> str:
    """As others dial it: what listens on every address is known by the first of `hosts`, else by the host's name."""
    host, _, port = address.rpartition(":")
    if host.strip("[]") not in ("0.0.0.0", "::"):
        return address
    return f"{hosts[0] if hosts else socket.gethostname()}:{port}"


async def run_front(settings: FrontSettings, stop: asyncio.Event | None = None) -> None:
    """Serve until `stop` is set or SIGTERM or SIGINT comes. Raises OrchestratorError when it cannot start."""
    if settings.identity_dir is None:
        for option in ("control", "gateway", "link"):
            loopback(f"--{option}", getattr(settings, f"{option}_address"))
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread: whoever runs us stops us
            loop.add_signal_handler(each, stop.set)
    await Front(settings).serve(stop)


def run(settings: FrontSettings) -> int:
    """The exit code: 0 after a drain, 1 with one line on stderr when it could not start."""
    log_to()
    try:
        asyncio.run(run_front(settings))
    except OrchestratorError as err:
        log.error("front cannot start", extra={"front": settings.name, "reason": str(err)})
        return 1
    return 0
