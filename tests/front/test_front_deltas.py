"""Reports as changes through a front's process: both ways of speaking, refusals, and agents of two releases ago."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from front_rig import Node, until
from old_link import OLD_HELLO, OLD_NODE_MESSAGE, old_front_message
from test_front_process import World, orders

from orchestrator.front.nodes import MOST_REPORT_BYTES
from protos.link.v1 import link_pb2

pytestmark = pytest.mark.real

READY, FAILED = link_pb2.REPLICA_PHASE_READY, link_pb2.REPLICA_PHASE_FAILED


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:
        yield World(ends, tmp_path)


def replica(name: str, phase: link_pb2.ReplicaPhase.ValueType = READY, reason: str = "") -> link_pb2.ReplicaState:
    return link_pb2.ReplicaState(replica=name, incarnation=f"{name}.1", phase=phase, reason=reason)


def replicas_of(world: World, node: str) -> dict[str, int]:
    state = world.control.state(node)
    return {each.replica: each.phase for each in state.report.replicas} if state else {}


async def until_taken(node: Node, number: int) -> link_pb2.ReportTaken:
    await until(lambda: bool(node.taken) and node.taken[-1].number == number, f"report {number} is answered")
    return node.taken[-1]


async def test_changes_are_laid_onto_what_is_known_and_only_changed_nodes_travel_up(world: World) -> None:
    await world.begin(orders("n1", "n2"), deltas=True)
    first, _second = await world.node("n1", relay=False), await world.node("n2", relay=False)
    assert first.welcome is not None
    assert "deltas" in first.welcome.software.capabilities
    await first.report(link_pb2.NodeReport(number=1, held_revision=1, replicas=[replica("a"), replica("b")]))
    assert not (await until_taken(first, 1)).refused
    await until(lambda: replicas_of(world, "n1") == {"a": READY, "b": READY}, "the whole report travelled up")
    await until(lambda: world.control.state("n2") is not None, "so did the other node")
    before = len(world.control.reports)
    await first.report(
        link_pb2.NodeReport(number=2, held_revision=1, delta=True, gone=["a"], replicas=[replica("b", FAILED)])
    )
    await until_taken(first, 2)
    await until(lambda: replicas_of(world, "n1") == {"b": FAILED}, "the changes too")
    since = world.control.reports[before:]
    assert all(report.delta for report in since)
    assert {state.hello.node for report in since for state in report.nodes} == {"n1"}
    await until(lambda: len(world.control.reports) > before + 4, "an idle front still reports")
    assert not any(report.nodes for report in world.control.reports[-2:])


async def test_usage_and_restarts_stay_as_they_were_said_last(world: World) -> None:
    def said() -> tuple[int, list[tuple[str, int]]]:
        state = world.control.state("n1")
        report = state.report if state else link_pb2.NodeReport()
        return report.usage.sample, [(each.replica, each.restarts) for each in report.replicas]

    await world.begin(orders("n1"), deltas=True)
    node = await world.node("n1", relay=False)
    ended = link_pb2.ReplicaState(replica="a", incarnation="a.2", phase=READY, restarts=2)
    usage = link_pb2.Usage(sample=1, cpu_share=0.5)
    await node.report(link_pb2.NodeReport(number=1, held_revision=1, replicas=[ended], usage=usage))
    await until(lambda: said() == (1, [("a", 2)]), "both travelled up")
    await until_taken(node, 1)
    await node.report(link_pb2.NodeReport(number=2, held_revision=1, delta=True, replicas=[replica("b")]))
    await until(lambda: said() == (1, [("a", 2), ("b", 0)]), "changes that say nothing of them leave them")
    await until_taken(node, 2)
    usage.sample = 2
    await node.report(link_pb2.NodeReport(number=3, held_revision=1, delta=True, usage=usage))
    await until(lambda: said() == (2, [("a", 2), ("b", 0)]), "a change of usage alone")


async def test_a_control_plane_that_comes_back_is_told_all_there_is(world: World) -> None:
    await world.begin(orders("n1"), deltas=True)
    node = await world.node("n1", relay=False)
    await node.report(link_pb2.NodeReport(number=1, held_revision=1, replicas=[replica("a")]))
    await until(lambda: replicas_of(world, "n1") == {"a": READY}, "the report travelled up")
    await world.control.kill()
    world.control = await world.control_plane(orders("n1"), world.control.port, deltas=True)
    await until(lambda: replicas_of(world, "n1") == {"a": READY}, "it is told again")
    assert not world.control.reports[0].delta
    state = world.control.reports[0].nodes[0]
    assert state.report_age_ms > 0


async def test_changes_without_a_whole_report_are_asked_for_anew(world: World) -> None:
    await world.begin(orders("n1"))
    node = await world.node("n1", relay=False)
    await node.report(link_pb2.NodeReport(number=1, delta=True, replicas=[replica("a")]))
    answer = await until_taken(node, 1)
    assert answer.whole
    assert "no whole report" in answer.refused
    await node.report(link_pb2.NodeReport(number=2, replicas=[replica("a")]))
    assert not (await until_taken(node, 2)).refused


@pytest.mark.parametrize("number", [1, 0])
async def test_a_report_of_ten_megabytes_is_refused_and_node_and_front_live_on(world: World, number: int) -> None:
    """Numbered by a node of today, not by one of two releases ago."""
    await world.begin(orders("n1"))
    node = await world.node("n1", relay=False)
    huge = link_pb2.NodeReport(number=number, replicas=[replica("a", FAILED, "x" * 10_000_000)])
    await node.report(huge)
    if number:
        answer = await until_taken(node, number)
        assert not answer.whole
        assert f"at most {MOST_REPORT_BYTES} are taken" in answer.refused
    await until(lambda: "report refused" in world.front.said(), "the front says so")
    await node.report(link_pb2.NodeReport(number=number and 2, replicas=[replica("a")]))
    await until(lambda: replicas_of(world, "n1") == {"a": READY}, "the next one is taken, on the same attachment")
    assert not node.stream.done()


async def test_an_agent_that_knows_none_of_todays_fields_is_held_and_assigned_and_heard(world: World) -> None:
    await world.begin(orders("n1"), deltas=True)
    async with grpc.aio.insecure_channel(world.front.link) as channel:
        attach = channel.stream_stream(
            "/skerry.link.v1.NodeLink/Attach",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=old_front_message,
        )
        stream = attach()
        await stream.write(OLD_NODE_MESSAGE(hello=OLD_HELLO(node="n1", site="plant", epoch=1)))
        welcome = await stream.read()
        assert welcome.WhichOneof("kind") == "welcome"
        assert welcome.welcome.heartbeat_ms == 1000
        assignment = await stream.read()
        assert assignment.assignment.revision == 1
        for phase in (FAILED, READY):
            old = OLD_NODE_MESSAGE()
            old.report.held_revision = 1
            old.report.replicas.add(replica="r", incarnation="r.1", phase=phase)
            await stream.write(old)
            await until(lambda: replicas_of(world, "n1") == {"r": phase}, "its whole reports count")  # noqa: B023
        answer = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.2)
        assert not answer.done(), "it is sent nothing that it would not know"
        stream.cancel()
        await asyncio.gather(answer, return_exceptions=True)
