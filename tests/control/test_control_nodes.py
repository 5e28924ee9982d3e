"""Nodes that operators take out of use, over the real store and wire; the front and its nodes are played."""

import asyncio
import json
import time
from pathlib import Path

import grpc
import pytest

from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, control_plane, until, until_status
from tests.control.test_control_plane import PLACES, POLICY, SERVICE, address, front, place_digits, running, version

pytestmark = pytest.mark.real
__all__ = ["address", "front", "running"]  # fixtures

EDGE_ONLY = (POLICY % 40).replace("replicas:", "cost: {burst_to_cloud: false}\n  replicas:")


async def schedule(running: Running, node: str, action: str) -> dict[str, object]:
    request = control_pb2.ScheduleNodeRequest(node=node, action=action)
    spec: dict[str, object] = json.loads((await running.control.ScheduleNode(request)).document_json)["spec"]
    return spec


async def node(running: Running, name: str) -> dict[str, object]:
    found = await running.control.Get(control_pb2.ObjectRef(kind="Node", name=name))
    document: dict[str, object] = json.loads(found.document_json)
    return document


async def drained(running: Running, name: str) -> tuple[str, str, str]:
    (condition,) = (await node(running, name))["status"]["conditions"]  # type: ignore[index]
    return condition["status"], condition["reason"], condition["message"]


async def until_drained(running: Running, name: str, status: str, reason: str) -> str:
    end_s = asyncio.get_running_loop().time() + 10
    while (found := await drained(running, name))[:2] != (status, reason):
        assert asyncio.get_running_loop().time() < end_s, found
        await asyncio.sleep(0.05)
    return found[2]


def holding(front: FrontInHand, name: str) -> bool:
    return bool(name in front.assignments and front.assignments[name].replicas)


async def test_a_drained_node_is_empty_and_no_call_is_without_a_route(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    served: list[bool] = []

    async def watch() -> None:
        while True:
            served.append(sum(front.sites_in_use().values()) > 0.99)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    assert await schedule(running, "edge-a-1", "drain") == {"site": "edge-a", "unschedulable": True, "draining": True}
    await until("edge-a-1 emptied", lambda: not holding(front, "edge-a-1"))
    assert await until_drained(running, "edge-a-1", "True", "Empty") == "it holds no replica"
    watching.cancel()
    assert all(served)
    assert front.sites_in_use() == {"edge-b": 1.0}
    await until_status(running, "ModelService", "digits", "Ready")
    assert "conditions" not in (await node(running, "edge-b-1"))["status"]  # type: ignore[operator]
    await schedule(running, "edge-a-1", "uncordon")
    end_s = asyncio.get_running_loop().time() + 10
    while "conditions" in (await node(running, "edge-a-1"))["status"]:  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.05)


async def test_what_nothing_else_can_take_stays_and_every_answer_says_why(running: Running, front: FrontInHand) -> None:
    del front.rtt_ms["edge-b"]
    await running.apply(PLACES + "---" + EDGE_ONLY + "---" + version("digits-1") + "---" + SERVICE)
    await until_status(running, "ModelService", "digits", "Ready")
    await schedule(running, "edge-a-1", "drain")
    message = await until_drained(running, "edge-a-1", "False", "NothingElseFits")
    assert message.startswith("1 left, and nothing else can take what stays: default/digits: ")
    explained = await running.control.Explain(control_pb2.ExplainRequest(namespace="default", service="digits"))
    assert "replicas on a draining node, and nothing else can take them" in explained.held
    parts = (await running.control.Status(control_pb2.StatusRequest())).parts
    assert any("draining: 1 left, and nothing else" in part.detail for part in parts if part.name == "edge-a-1")
    await asyncio.sleep(2.0)  # longer than a drain takes
    assert front.sites_in_use() == {"edge-a": 1.0}
    front.rtt_ms["edge-b"] = 14.0
    await until("handed over once there is another", lambda: front.sites_in_use() == {"edge-b": 1.0})
    await until_drained(running, "edge-a-1", "True", "Empty")


async def test_a_cordoned_node_gets_nothing_and_plan_and_explain_say_so(running: Running, front: FrontInHand) -> None:
    await running.apply(PLACES)
    await until("nodes known", lambda: front.epoch > 0)
    await schedule(running, "edge-a-1", "cordon")
    await place_on_b(running, front)
    assert not holding(front, "edge-a-1")
    explained = await running.control.Explain(control_pb2.ExplainRequest(namespace="default", service="digits"))
    assert "it is cordoned: `skerry uncordon edge-a-1`" in explained.decision_json
    await schedule(running, "edge-a-1", "uncordon")
    plan = json.loads((await running.control.Plan(control_pb2.PlanRequest(owner="command"))).plan_json)
    assert plan["problems"] == []


async def place_on_b(running: Running, front: FrontInHand) -> None:
    await running.apply(EDGE_ONLY + "---" + version("digits-1") + "---" + SERVICE)
    await until("a route to edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")


async def test_a_cordon_outlives_the_control_plane(tmp_path: Path, address: str, front: FrontInHand) -> None:
    async with control_plane(tmp_path, address) as first:
        await first.apply(PLACES)
        await until("nodes known", lambda: front.epoch > 0)
        await schedule(first, "edge-a-1", "cordon")
    async with control_plane(tmp_path, address) as second:
        await place_on_b(second, front)


async def test_nodes_are_listed_watched_and_forgotten(running: Running, front: FrontInHand) -> None:
    await running.apply(PLACES)
    await until("nodes known", lambda: front.epoch > 0)
    listed = await running.control.List(control_pb2.ListRequest(kind="Node"))
    assert [one.ref.name for one in listed.objects] == ["edge-a-1", "edge-b-1"]
    assert {one.ref.kind for one in (await running.control.List(control_pb2.ListRequest())).objects} == {"Site", "Zone"}
    watching = running.control.Watch(control_pb2.WatchRequest(from_sequence=listed.sequence, kind="Node"))
    await schedule(running, "edge-a-1", "cordon")
    async for change in watching:
        assert (change.type, change.object.ref.name, change.object.owner) == ("put", "edge-a-1", "control")
        break
    watching.cancel()
    seen = await node(running, "edge-a-1")
    assert seen["status"]["phase"] == "attached"  # type: ignore[index]
    await running.control.Delete(control_pb2.DeleteRequest(ref=control_pb2.ObjectRef(kind="Node", name="edge-a-1")))
    assert (await node(running, "edge-a-1"))["spec"] == {"site": "edge-a"}
    for refused, wanted in (
        (schedule(running, "nobody", "drain"), "node nobody: is neither enrolled nor was it ever seen"),
        (schedule(running, "edge-a-1", "melt"), "action: 'melt': give one of cordon, uncordon, drain"),
        (node(running, "nobody"), "node nobody: is neither enrolled"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await refused
        assert wanted in str(err.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await running.control.Delete(control_pb2.DeleteRequest(ref=control_pb2.ObjectRef(kind="Node", name="edge-b-1")))
    assert "it attached by itself: stop its agent" in str(err.value.details())


@pytest.mark.parametrize(("on_return", "goes"), [("keep_replacement", "edge-b"), ("prefer_original", "edge-a")])
async def test_a_lost_node_that_returns_is_reconciled_by_the_policy(
    running: Running, front: FrontInHand, on_return: str, goes: str
) -> None:
    disconnect = f"disconnect: {{lost_after_s: 0.5, on_return: {on_return}}}\n  replicas:"
    policy = EDGE_ONLY.replace("replicas:", disconnect)
    await running.apply("---".join([PLACES, policy, version("digits-1"), SERVICE]))
    await until("a route to edge-a", lambda: front.sites_in_use() == {"edge-a": 1.0})
    front.silent_since_s["edge-a-1"] = time.monotonic()
    await until("a replacement", lambda: front.sites_in_use() == {"edge-b": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")
    del front.silent_since_s["edge-a-1"]
    await asyncio.sleep(0.5 if goes == "edge-a" else 2.5)  # longer than it takes to settle
    await until("where the policy wants it", lambda: front.sites_in_use() == {goes: 1.0})
    await until("nowhere else", lambda: sum(bool(one.replicas) for one in front.assignments.values()) == 1)
