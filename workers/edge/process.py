"""One agent's process: what it is made of, how it starts and how it stops."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protos.link.v1 import link_pb2 as pb
from workers.edge import membership
from workers.edge.agent import Agent
from workers.edge.apart import Processes
from workers.edge.cgroups import Cgroups
from workers.edge.dialling import Dial, Fronts
from workers.edge.errors import AddressRefused
from workers.edge.events import Restarted
from workers.edge.host import Host
from workers.edge.lan import LanGateway
from workers.edge.link import Link, LinkSettings
from workers.edge.loop import INBOX_EVENTS, Inbox, run
from workers.edge.machine import MachineReader, sampled
from workers.edge.models import EdgeModels
from workers.edge.neighbours import Neighbours, PeerServer
from workers.edge.plan import plan_of
from workers.edge.relay import RelayServer
from workers.edge.renewal import Renewal
from workers.edge.resources import Machine
from workers.edge.service import ServiceManager
from workers.edge.software import own_software
from workers.edge.state import Boot, Json, StateFolder
from workers.edge.status import machine_facts
from workers.edge.wire import machine_to
from workers.identity.connecting import Connector, on_loopback
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder, folder_of
from workers.identity.tls import server_credentials
from workers.inference.errors import AddressUnusable
from workers.inference.server import InferenceServer
from workers.tasks import until_first

DISK_SHARE = 0.8
DRAIN_S = 1.5  # for calls under way when the process is told to stop

_ALL_ADDRESSES = ("0.0.0.0", "::")  # where a neighbour would dial itself

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    site: str
    node: str
    fronts: Fronts  # host:port
    front_given: bool  # by whoever started it: no other is dialled, whatever fronts say
    lan: str  # host:port; empty: the agent listens on nothing
    state_dir: Path
    memory_bytes: int
    compute_millis: int
    probe_interval_s: float
    heartbeat_s: float | None
    joined: bool = False  # the state folder holds an identity
    disk_bytes: int = 0  # for artifacts; 0: most of what the disk has free


def run_agent(settings: EdgeSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises EdgeError."""
    if not settings.joined:
        _refuse_plain_text("--front", settings.fronts)
        _refuse_plain_text("--lan", [settings.lan] if settings.lan else [])
    state = StateFolder(settings.state_dir)
    try:
        if settings.joined:
            _heal(settings.state_dir)
        if _beyond_loopback(settings):
            _mend_identity(settings.state_dir)
        processes = Processes(Cgroups.delegated())
        models = EdgeModels(settings.site, settings.node, processes=processes)
        gateway = LanGateway(models)
        asyncio.run(_serve(settings, state, models, processes, gateway, _listen(settings, gateway)))
    finally:
        state.close()


async def _serve(
    settings: EdgeSettings,
    state: StateFolder,
    models: EdgeModels,
    processes: Processes,
    gateway: LanGateway,
    lan: InferenceServer | None,
) -> None:
    reader = MachineReader(state.root)
    machine = reader.machine()
    identity = folder_of(settings.state_dir) if settings.joined else None
    peers = _peers(settings, lan.address if lan else "", identity)
    boot = state.next_boot()
    hello = _hello(settings, boot, lan.address if lan else "", peers.address, machine)
    held = state.assignment()
    inbox: Inbox = asyncio.Queue(maxsize=INBOX_EVENTS)
    relay = RelayServer(models)
    dial = _dial(settings)
    link = Link(LinkSettings(dial, hello, settings.probe_interval_s, settings.heartbeat_s), relay, inbox)
    renewing = Renewal(settings.state_dir, dial.learn).run() if settings.joined else _never()
    about: dict[str, Json] = {"machine": machine_facts(machine), "limits_held_by": processes.limits_held_by}
    neighbours = Neighbours(settings.node, Connector(identity))
    host = Host(state, models, link, {**_about(settings, hello), **about}, gateway.totals, processes, neighbours)
    if held:
        host.hold(held)
    await peers.start(host.stock)
    on_disk = host.artifacts()
    disk_bytes = settings.disk_bytes or _free_for_artifacts(settings.state_dir, sum(size for _, size in on_disk))
    agent = Agent(settings.site, boot.id, disk_bytes)
    inbox.put_nowait(Restarted(held, state.offline_s(), on_disk))
    stop, manager = asyncio.Event(), ServiceManager(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await until_first(
            run(agent, host, inbox),
            link.run(lambda: agent.held_revision),
            renewing,
            sampled(reader, machine, processes.ids, inbox),
            manager.watched(lambda: link.problem),
            _stopped(stop, relay, lan, manager),
        )
    finally:
        processes.close()
        await peers.stop()
        if lan and not stop.is_set():
            lan.stop(0.0)  # refused or broken: nobody waits


async def _stopped(
    stop: asyncio.Event, relay: RelayServer, lan: InferenceServer | None, manager: ServiceManager
) -> None:
    """Told to stop: take no more calls and finish those under way, while the links are still there to answer on."""
    await stop.wait()
    manager.stopping()
    _log.info("stopping: finishing the calls under way")
    leaving = [asyncio.ensure_future(relay.leave(DRAIN_S))]
    if lan:
        leaving.append(asyncio.ensure_future(asyncio.to_thread(lan.stop, DRAIN_S)))
    await asyncio.gather(*leaving)


def _heal(root: Path) -> None:
    try:
        membership.heal(root)
    except OSError as err:
        _log.error("cannot mend what joining told: free space on the disk", extra={"error": str(err)})


async def _never() -> None:
    await asyncio.Event().wait()


def _free_for_artifacts(state_dir: Path, held_bytes: int) -> int:
    """Of what is free and what they take already: a disk that is full stops more than us."""
    return max(1, int(DISK_SHARE * (shutil.disk_usage(state_dir).free + held_bytes)))


def _refuse_plain_text(option: str, addresses: Iterable[str]) -> None:
    for address in addresses:
        if not on_loopback(address):
            remedy = "use 127.0.0.1, or `skerry-edge join` this machine first"
            raise AddressRefused(f"{option} {address}: plain text is for loopback only: {remedy}")


def _beyond_loopback(settings: EdgeSettings) -> bool:
    return bool(settings.lan) and not on_loopback(settings.lan)


def _mend_identity(root: Path) -> None:
    """A spoilt certificate cannot be shown on the LAN: ask for another by the key before that."""
    try:
        folder_of(root).pems()
    except (IdentityError, OSError):
        asyncio.run(Renewal(root, _nobody_dials).try_once())


async def _nobody_dials(_: Fronts) -> None:
    """Yet: what is told is on disk."""


def _dial(settings: EdgeSettings) -> Dial:
    if not settings.joined:
        return Dial(settings.fronts, pinned=settings.front_given)
    root = settings.state_dir

    def keep(fronts: Fronts) -> None:
        membership.change(root, lambda joined: joined.told(fronts))

    return Dial(settings.fronts, folder_of(root), keep, settings.front_given, lambda: plan_of(root).ends_s)


def _listen(settings: EdgeSettings, gateway: LanGateway) -> InferenceServer | None:
    """On loopback in plain text; elsewhere callers need a certificate of the node's own authority."""
    if not settings.lan:
        return None
    try:
        credentials = server_credentials(folder_of(settings.state_dir)) if _beyond_loopback(settings) else None
        server = InferenceServer(gateway, settings.lan, reflection=False, credentials=credentials)
        server.start()
    except AddressUnusable as err:
        raise AddressRefused(f"--lan {settings.lan}: {err}") from err
    except (IdentityError, OSError) as err:
        remedy = "`skerry-edge doctor` says what is wrong with it"
        raise AddressRefused(f"--lan {settings.lan}: no certificate to show there: {err}: {remedy}") from err
    return server


def _peers(settings: EdgeSettings, lan_address: str, identity: IdentityFolder | None) -> PeerServer:
    """Neighbours can do without this node; its own callers cannot."""
    if lan_address.rpartition(":")[0].strip("[]") in _ALL_ADDRESSES:
        _log.info("nothing is given to other nodes of the site: --lan names no address of its own")
        lan_address = ""
    try:
        return PeerServer(lan_address, settings.site, identity)
    except (IdentityError, OSError, RuntimeError) as err:
        _log.warning("nothing is given to other nodes of the site", extra={"reason": str(err)})
        return PeerServer("")


def _hello(settings: EdgeSettings, boot: Boot, lan_address: str, peer_address: str, machine: Machine) -> pb.NodeHello:
    return pb.NodeHello(
        node=settings.node,
        site=settings.site,
        epoch=boot.epoch,
        boot=boot.id,
        boots_before=boot.before,
        software=own_software(),
        memory_bytes=settings.memory_bytes,
        compute_millis=settings.compute_millis,
        lan_address=lan_address,
        peer_address=peer_address,
        machine=machine_to(machine),
    )


def _about(settings: EdgeSettings, hello: pb.NodeHello) -> dict[str, Json]:
    return {
        "site": settings.site,
        "node": settings.node,
        "front": settings.fronts[0],
        "lan_address": hello.lan_address,
        "epoch": hello.epoch,
        "version": hello.software.version,
        "process": os.getpid(),
        "prefix": sys.prefix,
    }
