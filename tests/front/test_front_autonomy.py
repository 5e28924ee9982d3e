"""A real agent that loses its real front: what it did meanwhile is told, and nothing of it restarts."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from front_rig import free_port, until
from test_front_process import World

from protos.inference.v2 import inference_pb2, inference_pb2_grpc
from protos.link.v1 import link_pb2
from workers.artifacts.library import ArtifactLibrary

pytestmark = pytest.mark.real

MODEL = Path(__file__).parents[1] / "inference" / "models" / "dense.tflite"
READY = link_pb2.REPLICA_PHASE_READY


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:
        yield World(ends, tmp_path)


def assigned(state_dir: Path) -> link_pb2.FrontOrders:
    digest, size_bytes = ArtifactLibrary(str(state_dir / "artifacts")).add(MODEL)
    replica = link_pb2.ReplicaAssignment(
        replica="r1",
        namespace="default",
        service="dense",
        version="v1",
        artifact=link_pb2.Artifact(digest=digest, size_bytes=size_bytes, format="tflite"),
        memory_bytes=1 << 20,
        decision="d1",
        valid_offline_s=3600,
    )
    assignment = link_pb2.Assignment(revision=1, replicas=[replica])
    return link_pb2.FrontOrders(
        epoch=1,
        routes=link_pb2.RouteTable(revision=1),
        assignments=[link_pb2.NodeAssignment(node="n1", assignment=assignment)],
        sites=["plant"],
    )


async def call(address: str) -> None:
    message = inference_pb2.ModelInferRequest(model_name="dense")
    message.inputs.add(name="x", datatype="FP32", shape=(1, 4))
    message.raw_input_contents.append(np.ones((1, 4), "<f4").tobytes())
    async with grpc.aio.insecure_channel(address) as channel:
        await inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=10)


def loads(world: World) -> set[str]:
    """Incarnations of r1 that were ever ready."""
    return {
        replica.incarnation
        for report in world.control.reports
        for state in report.nodes
        for replica in state.report.replicas
        if replica.phase == READY
    }


async def test_a_node_that_was_alone_tells_what_happened_and_nothing_restarted(world: World, tmp_path: Path) -> None:
    await world.begin(assigned(tmp_path), deltas=True)
    lan, state_dir = f"127.0.0.1:{free_port()}", tmp_path / "agent"
    agent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workers.edge.command", "run", "--site", "plant", "--node", "n1"),
        *("--front", world.front.link, "--lan", lan, "--state-dir", str(state_dir), "--log-level", "warning"),
    )
    try:
        await until(lambda: bool(loads(world)), "the replica is ready", 30)
        (load,) = loads(world)
        await call(lan)
        await world.front.stop(signal.SIGKILL)
        await until(lambda: status(state_dir).get("link") == "not attached", "the agent noticed")
        for _ in range(3):
            await call(lan)
        alone_s = time.monotonic()
        await world.front.start()
        await until(lambda: bool(kept(world)), "what it kept is told", 30)
        told = kept(world)
        assert all(0 < each.age_ms < 1000 * (time.monotonic() - alone_s + 15) for each in told)
        assert {replica.incarnation for each in told for replica in each.report.replicas} == {load}
        await until(lambda: calls(world) == 4, "calls on the LAN were counted while it was alone", 30)
        assert loads(world) == {load}, "no second load"
        assert agent.returncode is None, "the same process"
        assert status(state_dir)["process"] == agent.pid
        again = [state for report in world.control.reports for state in report.nodes if state.attached]
        assert again[-1].hello.epoch == again[0].hello.epoch, "the same boot"
        assert again[-1].hello.held_revision == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            agent.kill()
        await agent.wait()


def status(state_dir: Path) -> dict[str, object]:
    path = state_dir / "status.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def kept(world: World) -> list[link_pb2.KeptReport]:
    """But for what was so before its first replica."""
    told = [each for report in world.control.reports for state in report.nodes for each in state.report.kept]
    return [each for each in told if each.report.replicas]


def calls(world: World) -> int:
    state = world.control.state("n1")
    return sum(each.calls for each in state.report.demand) if state else 0
