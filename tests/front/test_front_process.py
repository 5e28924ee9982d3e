"""The front as a process, between a control plane, nodes and callers that speak the real wire."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from front_rig import ControlPlane, FrontProcess, Load, Node, calling, relay_route, request, table, until

from protos.link.v1 import link_pb2
from workers.gateway.transport import Answer, TransportError

pytestmark = pytest.mark.real


def orders(*nodes: str, epoch: int = 1, revision: int = 1) -> link_pb2.FrontOrders:
    """One replica on each node, equal shares."""
    return link_pb2.FrontOrders(
        epoch=epoch,
        routes=table(revision, *(relay_route(f"r-{node}", node, 1 / len(nodes)) for node in nodes)),
        assignments=[
            link_pb2.NodeAssignment(node=node, assignment=link_pb2.Assignment(revision=revision)) for node in nodes
        ],
        sites=["plant"],
    )


class World:
    """One control plane, one front, and its nodes; all of it ends with the test."""

    def __init__(self, ends: AsyncExitStack, state_dir: Path) -> None:
        self._ends, self._state_dir = ends, state_dir
        self.control: ControlPlane
        self.front: FrontProcess

    async def begin(self, first: link_pb2.FrontOrders, deltas: bool = False) -> None:
        self.control = await self.control_plane(first, deltas=deltas)
        self.front = await FrontProcess(self._state_dir, self.control.port).start()
        self._ends.push_async_callback(self.front.stop, signal.SIGKILL)

    async def control_plane(self, first: link_pb2.FrontOrders, port: int = 0, deltas: bool = False) -> ControlPlane:
        control = await ControlPlane(first, port, deltas).start()
        self._ends.push_async_callback(control.kill)
        return control

    async def node(self, name: str, relay: bool = True, **more: object) -> Node:
        node = Node(name, **more)  # type: ignore[arg-type]
        self._ends.push_async_callback(node.leave)
        await node.attach(self.front.link)
        return await node.relay(self.front.link) if relay else node

    async def replica(self) -> tuple[asyncio.subprocess.Process, str]:
        """A replica to dial, and its address."""
        script = str(Path(__file__).with_name("echo_replica.py"))
        process = await asyncio.create_subprocess_exec(sys.executable, script, stdout=asyncio.subprocess.PIPE)
        self._ends.push_async_callback(process.wait)
        self._ends.callback(lambda: process.kill() if process.returncode is None else None)
        assert process.stdout is not None
        return process, (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()

    async def serving(self) -> None:
        """The front answers calls."""
        async with calling(self.front.gateway) as caller:
            for _ in range(500):
                try:
                    await caller.infer(request())
                    return
                except grpc.aio.AioRpcError as err:
                    reason = err
                    await asyncio.sleep(0.02)
            raise reason


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:
        yield World(ends, tmp_path)


async def test_attach_assign_relay_report(world: World) -> None:
    await world.begin(orders("n1"))
    node = await world.node("n1")
    await until(lambda: node.assignments == [link_pb2.Assignment(revision=1)], "the assignment came")
    assert node.welcome is not None
    assert node.welcome.front == "front-0"
    assert node.welcome.heartbeat_ms == 1000
    await world.serving()
    async with calling(world.front.gateway) as caller:
        answer, metadata = await caller.infer(request(raw=b"image"))
        assert answer == request(raw=b"image")
        assert metadata["saw-incarnation"] == "r-n1-1"
        said = {key: metadata[f"skerry-{key}"] for key in ("site", "version", "decision", "replica", "attempts")}
        assert said == {
            "site": "site-of-n1",
            "version": "v1",
            "decision": "decision-1",
            "replica": "r-n1",
            "attempts": "1",
        }
    ready = link_pb2.NodeReport(replicas=[link_pb2.ReplicaState(replica="r-n1", phase=link_pb2.REPLICA_PHASE_READY)])
    await node.report(ready)
    await until(lambda: (s := world.control.state("n1")) is not None and s.report == ready, "the report travelled up")
    world.control.order(orders("n1", revision=2))
    await until(lambda: [a.revision for a in node.assignments] == [1, 2], "the next assignment is pushed")
    first = world.control.reports[0]
    assert (first.hello.front, first.hello.gateway_address) == ("front-0", world.front.gateway)
    assert not world.control.reports[-1].HasField("hello")
    await until(lambda: bool(world.control.reports[-1].legs), "the leg to the region is measured")
    leg = world.control.reports[-1].legs[0]
    assert (leg.source, leg.target) == ("front/front-0", "region/local")
    assert 0 < leg.rtt_p50_ms < 1000
    calls = sum(demand.calls for report in world.control.reports for demand in report.demand)
    assert calls >= 2
    await until(lambda: world.control.reports[-1].routes_revision == 2, "the table in use is reported")


async def test_a_newer_boot_fences_the_older_and_an_unknown_site_is_refused(world: World) -> None:
    await world.begin(orders("n1"))
    await until(lambda: bool(world.control.reports), "the front is attached")
    older = await world.node("n1", epoch=1)
    newer = await world.node("n1", epoch=2)
    fenced = await older.refusal()
    assert fenced.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "epoch 2 has attached in place of 1" in (fenced.details() or "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.node("n1", epoch=1)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await world.serving()
    assert newer.calls == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.node("n2", site="nowhere")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "apply a Site named 'nowhere'" in (caught.value.details() or "")


async def test_a_silent_node_is_detached_and_its_calls_go_elsewhere(world: World) -> None:
    hole = asyncio.Event()

    async def swallow(call: link_pb2.RelayRequest) -> None:
        await hole.wait()

    await world.begin(orders("n1", "n2"))
    await world.node("n1", heartbeats=False, handle=swallow)
    await world.node("n2")
    await world.serving()
    load = Load()
    await load.run(world.front.gateway, callers=4, rate=40, lasting_s=4)
    assert load.failures == []
    assert load.slowest_s < 1.0, "a black hole costs its patience, not the deadline"
    await until(lambda: (s := world.control.state("n1")) is not None and not s.attached, "the silent node is detached")
    state = world.control.state("n1")
    assert state is not None
    assert "silent" in state.link_error


async def test_the_control_plane_is_killed_and_no_call_is_lost(world: World) -> None:
    await world.begin(orders("n1"))
    await world.node("n1")
    await world.serving()
    load = Load()
    running = asyncio.create_task(load.run(world.front.gateway, callers=8, rate=200, lasting_s=2))
    await asyncio.sleep(0.3)
    await world.control.kill()
    await running
    assert load.failures == []
    assert load.answered >= 390
    again = await world.control_plane(orders("n1", epoch=1), world.control.port)
    await until(lambda: again.state("n1") is not None, "the front reports all it holds to the new one")
    assert again.reports[0].hello.front == "front-0"


async def test_orders_of_an_older_leader_are_ignored(world: World) -> None:
    await world.begin(orders("n1", epoch=5))
    node = await world.node("n1")
    await world.serving()
    world.control.order(orders("n1", epoch=4, revision=9))
    world.control.order(orders("n1", epoch=6, revision=10))
    await until(lambda: bool(node.assignments) and node.assignments[-1].revision == 10, "the newer orders came")
    assert [each.revision for each in node.assignments] == [1, 10]


async def test_killed_and_restarted_without_a_control_plane_it_serves_from_what_it_kept(world: World) -> None:
    await world.begin(orders("n1"))
    node = await world.node("n1")
    await world.serving()
    await until(lambda: (world.front.state_dir / "front-front-0.orders").exists(), "the orders are kept")
    await world.control.kill()
    assert await world.front.stop(signal.SIGKILL) == -signal.SIGKILL
    await node.leave()
    await world.front.start()
    again = await world.node("n1", epoch=1)
    await world.serving()
    assert again.calls >= 1
    await until(lambda: [a.revision for a in again.assignments] == [1], "the assignment is known too")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.node("n2", site="nowhere")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND, "and so are the sites"


async def test_one_of_two_streams_is_cut_under_load_and_no_call_is_lost(world: World) -> None:
    async def thinking(call: link_pb2.RelayRequest) -> Answer:
        await asyncio.sleep(0.05)  # of the model: so that calls are under way on the stream that is cut
        return Answer(call.payload, ())

    await world.begin(orders("n1", "n2"))
    first, second = await world.node("n1", handle=thinking), await world.node("n2", handle=thinking)
    await world.serving()
    load = Load()
    running = asyncio.create_task(load.run(world.front.gateway, callers=8, rate=240, lasting_s=3))
    await until(lambda: min(first.calls, second.calls) > 50, "both nodes answer")
    await first.leave()
    await running
    assert load.failures == []
    assert load.answered >= 200 * 3
    assert load.sites == {"site-of-n1", "site-of-n2"}
    assert load.retried > 0, "calls were under way on the stream that was cut"


async def test_one_of_two_dialled_replicas_is_killed_under_load_and_no_call_is_lost(world: World) -> None:
    doomed, doomed_address = await world.replica()
    _, other_address = await world.replica()
    routes = [
        link_pb2.Route(replica=name, site=name, version="v1", share=0.5, predicted_ms=25, address=address)
        for name, address in (("doomed", doomed_address), ("other", other_address))
    ]
    await world.begin(link_pb2.FrontOrders(epoch=1, routes=table(1, *routes)))
    await world.serving()
    load = Load()
    running = asyncio.create_task(load.run(world.front.gateway, callers=8, rate=220, lasting_s=3))
    await until(lambda: load.sites == {"doomed", "other"}, "both replicas answer")
    doomed.kill()
    await running
    assert load.failures == []
    assert load.answered >= 200 * 3
    assert load.retried > 0, "calls were under way at the replica that was killed"


async def test_sigterm_lets_calls_end_and_exits_0(world: World) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(call: link_pb2.RelayRequest):  # type: ignore[no-untyped-def]
        begun.set()
        await go.wait()
        raise TransportError(grpc.StatusCode.INVALID_ARGUMENT, "answered after all")

    await world.begin(orders("n1"))
    await world.node("n1", handle=slow)
    async with calling(world.front.gateway) as caller:
        await until(lambda: world.control.state("n1") is not None, "the node is attached")
        call = asyncio.create_task(caller.infer(request()))
        await asyncio.wait_for(begun.wait(), 5)
        stopping = asyncio.create_task(world.front.stop())
        await until(lambda: "draining" in world.front.said(), "the front drains")
        go.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert "answered after all" in (caught.value.details() or "")
        assert await stopping == 0


async def test_a_busy_port_is_named_with_the_remedy(world: World, tmp_path: Path) -> None:
    await world.begin(orders("n1"))
    other = FrontProcess(tmp_path / "other", 1, gateway=world.front.gateway)
    with pytest.raises(AssertionError):
        await other.start()
    assert other.process is not None
    assert other.process.returncode == 1
    assert f"gateway address {world.front.gateway} cannot be bound" in other.said()
    assert "--gateway" in other.said()
    assert "Traceback" not in other.said()


async def test_other_addresses_than_loopback_are_refused(tmp_path: Path) -> None:
    front = FrontProcess(tmp_path, 1, gateway="0.0.0.0:0")
    with pytest.raises(AssertionError):
        await front.start()
    assert "plain text is for loopback only" in front.said()
