"""The control plane's end of a front's link, real but for what decides: every node is assigned one replica."""

import asyncio
import threading

import grpc.aio

from benchmarks.fleet.node import SITES
from orchestrator.clock import SystemClock
from orchestrator.control.board import Board, Published
from orchestrator.control.links import FrontLinkServicer
from orchestrator.control.observations import Observations
from orchestrator.model.ids import NodeName, SiteName
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.probe.servicer import ProbeServicer

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
)


class ControlEnd:
    """Runs in a thread of its own; what it is asked is read from there without a lock: counts, nothing more."""

    def __init__(self, port: int, nodes: int) -> None:
        self._port, self._nodes = port, nodes
        self._clock = SystemClock()
        self.observations, self._board = Observations(), Board()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait(20)

    def reconciled(self) -> int:
        """Nodes that a front holds now and that hold what they are assigned, ready."""
        return asyncio.run_coroutine_threadsafe(self._count(), self._loop).result(60)

    async def _count(self) -> int:
        seen = self.observations.observed(self._clock.now_s()).nodes.values()
        return sum(1 for node in seen if node.silent_s == 0 and node.held_revision == 1 and len(node.replicas) == 1)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = grpc.aio.server(options=_OPTIONS)
        link_pb2_grpc.add_FrontLinkServicer_to_server(
            FrontLinkServicer(self.observations, self._board, self._clock), server
        )
        link_pb2_grpc.add_ProbeServicer_to_server(ProbeServicer(), server)
        server.add_insecure_port(f"127.0.0.1:{self._port}")
        await server.start()
        assignments = {NodeName(f"node-{number}"): _assignment(number) for number in range(self._nodes)}
        sites = frozenset(SiteName(f"site-{number}") for number in range(SITES))
        await self._board.publish(Published(1, link_pb2.RouteTable(revision=1), assignments, sites))
        self._ready.set()
        await server.wait_for_termination()


def _assignment(number: int) -> link_pb2.Assignment:
    artifact = link_pb2.Artifact(digest=f"sha256:{number % 7:064x}", size_bytes=200_000, format="tflite")
    replica = link_pb2.ReplicaAssignment(
        replica=f"replica-{number}",
        namespace="default",
        service="digits",
        version="digits-1",
        artifact=artifact,
        memory_bytes=1 << 20,
        decision="decision-1",
        valid_offline_s=86_400,
    )
    return link_pb2.Assignment(revision=1, replicas=[replica])
