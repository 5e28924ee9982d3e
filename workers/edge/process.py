"""One agent's process: what it is made of, how it starts and how it stops."""

import asyncio
import logging
import os
import re
import secrets
import signal
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from protos.link.v1 import link_pb2 as pb
from workers.edge.agent import Agent
from workers.edge.errors import AddressRefused
from workers.edge.events import Restarted
from workers.edge.host import Host
from workers.edge.lan import LanGateway
from workers.edge.link import Link, LinkSettings
from workers.edge.loop import INBOX_EVENTS, Inbox, run
from workers.edge.models import EdgeModels
from workers.edge.relay import RelayServer
from workers.edge.state import StateFolder
from workers.inference.errors import AddressUnusable
from workers.inference.server import InferenceServer
from workers.tasks import until_first

PROTOCOL = 1
CAPABILITIES = ("bulk", "relay", "probe", "litert")
DRAIN_S = 1.5  # for calls under way when the process is told to stop

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[?::1\]?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    site: str
    node: str
    front: str  # host:port
    lan: str  # host:port; empty: the agent listens on nothing
    state_dir: Path
    memory_bytes: int
    compute_millis: int
    probe_interval_s: float
    heartbeat_s: float | None


def run_agent(settings: EdgeSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises EdgeError."""
    _refuse_plain_text("--front", settings.front)
    _refuse_plain_text("--lan", settings.lan or "127.0.0.1:0")
    state = StateFolder(settings.state_dir)
    try:
        models = EdgeModels(settings.site, settings.node)
        gateway = LanGateway(models)
        asyncio.run(_serve(settings, state, models, gateway, _listen(settings.lan, gateway)))
    finally:
        state.close()


async def _serve(
    settings: EdgeSettings, state: StateFolder, models: EdgeModels, gateway: LanGateway, lan: InferenceServer | None
) -> None:
    hello, held = _hello(settings, state.next_epoch(), lan.address if lan else ""), state.assignment()
    inbox: Inbox = asyncio.Queue(maxsize=INBOX_EVENTS)
    relay = RelayServer(models)
    link = Link(LinkSettings(settings.front, hello, settings.probe_interval_s, settings.heartbeat_s), relay, inbox)
    agent = Agent(settings.site, boot=secrets.token_hex(4))
    host = Host(state, models, link, _about(settings, hello), gateway.totals)
    if held:
        host.serve_services(held)
    inbox.put_nowait(Restarted(held, state.offline_s()))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await until_first(run(agent, host, inbox), link.run(lambda: agent.held_revision), _stopped(stop, relay, lan))
    finally:
        if lan and not stop.is_set():
            lan.stop(0.0)  # refused or broken: nobody waits


async def _stopped(stop: asyncio.Event, relay: RelayServer, lan: InferenceServer | None) -> None:
    """Told to stop: take no more calls and finish those under way, while the links are still there to answer on."""
    await stop.wait()
    _log.info("stopping: finishing the calls under way")
    leaving = [asyncio.ensure_future(relay.leave(DRAIN_S))]
    if lan:
        leaving.append(asyncio.ensure_future(asyncio.to_thread(lan.stop, DRAIN_S)))
    await asyncio.gather(*leaving)


def _refuse_plain_text(option: str, address: str) -> None:
    if not _LOOPBACK.fullmatch(address.rpartition(":")[0]):
        raise AddressRefused(f"{option} {address}: plain text is for loopback only; use 127.0.0.1 until TLS is set up")


def _listen(address: str, gateway: LanGateway) -> InferenceServer | None:
    if not address:
        return None
    server = InferenceServer(gateway, address, reflection=False)
    try:
        server.start()
    except AddressUnusable as err:
        raise AddressRefused(f"--lan {address}: {err}") from err
    return server


def _hello(settings: EdgeSettings, epoch: int, lan_address: str) -> pb.NodeHello:
    return pb.NodeHello(
        node=settings.node,
        site=settings.site,
        epoch=epoch,
        software=pb.Software(version=own_version(), protocol=PROTOCOL, capabilities=CAPABILITIES),
        memory_bytes=settings.memory_bytes,
        compute_millis=settings.compute_millis,
        lan_address=lan_address,
    )


def _about(settings: EdgeSettings, hello: pb.NodeHello) -> dict[str, str | int]:
    return {
        "site": settings.site,
        "node": settings.node,
        "front": settings.front,
        "lan_address": hello.lan_address,
        "epoch": hello.epoch,
        "version": hello.software.version,
        "process": os.getpid(),
    }


def own_version() -> str:
    try:
        return version("skerry")
    except PackageNotFoundError:
        return "unknown"
