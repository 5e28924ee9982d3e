"""Thousands that dial at once: taken at a steady rate, and hardly any of them told twice to wait."""

import asyncio
import heapq
import random
from itertools import pairwise

import grpc.aio
import pytest

from orchestrator.front.admission import Admission
from orchestrator.front.door import Door
from orchestrator.front.link import NodeLinkServicer
from orchestrator.front.nodes import Nodes
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.edge.dialling import Dial
from workers.edge.events import Event, LinkOpened
from workers.edge.link import Link, LinkSettings
from workers.edge.relay import RelayServer
from workers.tasks import stopped


def storm(nodes: int, per_s: float, burst: int, within_s: float, seed: int) -> tuple[list[float], int]:
    """When each was taken, and how often one had to wait, by nodes that come back when they are told, or soon after."""
    chance = random.Random(seed)
    admission = Admission(per_s, burst)
    due = [(chance.uniform(0, within_s), node) for node in range(nodes)]
    heapq.heapify(due)
    taken, told = [], 0
    while due:
        now_s, node = heapq.heappop(due)
        if wait_s := admission.wait_s(now_s):
            told += 1
            heapq.heappush(due, (now_s + wait_s * chance.uniform(1.0, 1.1), node))
        else:
            taken.append(now_s)
    return taken, told


def test_a_few_are_taken_at_once() -> None:
    admission = Admission(per_s=10, burst=5)
    assert [admission.wait_s(0.0) for _ in range(5)] == [0.0] * 5
    assert admission.wait_s(0.0) > 0
    assert admission.wait_s(0.1 + 1e-9) == 0.0, "a place is free again"


@pytest.mark.parametrize("seed", range(5))
def test_a_storm_is_taken_at_the_rate_and_told_about_once(seed: int) -> None:
    taken, told = storm(10_000, per_s=300, burst=300, within_s=1.0, seed=seed)
    assert len(taken) == 10_000
    assert 32 < max(taken) < 45
    assert told < 1.6 * 10_000
    for start_s in range(0, 40):
        inside = sum(start_s <= at_s < start_s + 1 for at_s in taken)
        assert inside <= 300 + 300


def test_who_is_told_to_wait_is_given_another_time_each() -> None:
    admission = Admission(per_s=10, burst=1)
    admission.wait_s(0.0)
    waits_s = [admission.wait_s(0.0) for _ in range(50)]
    assert all(before < after for before, after in pairwise(waits_s))
    assert max(waits_s) == pytest.approx(5.1)


class NoModels:
    def handle(self, method, payload, metadata):
        raise AssertionError("nothing is relayed here")


@pytest.mark.real
async def test_agents_that_dial_at_once_are_all_attached_each_in_its_turn() -> None:
    nodes, server = Nodes(lambda: None), grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    software = link_pb2.Software(capabilities=["deltas"])
    servicer = NodeLinkServicer(nodes, "f", software, Door(plain=True), Admission(per_s=10, burst=2))
    link_pb2_grpc.add_NodeLinkServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    inboxes: list[asyncio.Queue[Event]] = [asyncio.Queue() for _ in range(20)]
    links = [
        Link(
            LinkSettings(Dial([address]), link_pb2.NodeHello(node=f"n{number}", site="s", epoch=1), 1.0, None),
            RelayServer(NoModels()),
            inbox,
        )
        for number, inbox in enumerate(inboxes)
    ]
    loop = asyncio.get_running_loop()
    began_s, tasks = loop.time(), [asyncio.create_task(link.run(lambda: 0)) for link in links]
    try:
        async with asyncio.timeout(30):
            first = await asyncio.gather(*(inbox.get() for inbox in inboxes))
        assert all(isinstance(event, LinkOpened) for event in first), "nobody lost a link that it had"
        assert loop.time() - began_s > 1.5, "at ten a second"
    finally:
        await stopped(tasks)
        await server.stop(None)
