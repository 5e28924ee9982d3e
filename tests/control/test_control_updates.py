"""How another version goes out, over the real store and wire; the front and its nodes are played."""

import asyncio
import json

import pytest

from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, until, until_status
from tests.control.test_control_plane import PLACES, SERVICE, address, front, running, version
from tests.control.test_control_policies import POLICY

pytestmark = pytest.mark.real
__all__ = ["address", "front", "running"]  # fixtures


def large(name: str) -> str:
    """A node of a GiB holds one of them."""
    return version(name).replace("memory_mib: 32", "memory_mib: 700")


async def planned(running: Running) -> list[dict[str, object]]:
    reply = await running.control.Plan(control_pb2.PlanRequest(owner="command"))
    steps: list[dict[str, object]] = json.loads(reply.plan_json)["steps"]
    return steps


async def test_a_version_without_room_beside_takes_the_place_and_the_plan_says_so(
    running: Running, front: FrontInHand
) -> None:
    frozen = "{cost: {burst_to_cloud: false}, affinity: {bans: [edge-b]}, rollout: {in_place: %s}}"
    await running.apply("---".join([PLACES, POLICY % frozen % "false", large("digits-1"), SERVICE]))
    await until_status(running, "ModelService", "digits", "Ready")
    await running.apply(large("digits-2"))
    await asyncio.sleep(2.0)  # longer than it takes to settle and to drain
    assert front.versions_assigned() == {"digits-1"}
    documents = [json.dumps(POLICY_DOCUMENT)]
    reply = await running.control.Plan(control_pb2.PlanRequest(owner="command", documents_json=documents))
    (step,) = json.loads(reply.plan_json)["steps"]
    assert (step["act"], step["after"]["version"]["name"]) == ("update", "digits-2")
    assert 3.0 <= step["gap_s"] < 4.0  # a drain, a round of the loop, and a kilobyte
    await running.apply(POLICY % frozen % "true")
    await until("the second version alone", lambda: front.versions_assigned() == {"digits-2"})
    await until("a route to it", lambda: front.sites_in_use() == {"edge-a": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")
    assert await planned(running) == []


POLICY_DOCUMENT = {
    "apiVersion": "skerry.dev/v1alpha1",
    "kind": "PlacementPolicy",
    "metadata": {"name": "near"},
    "spec": {"cost": {"burst_to_cloud": False}, "affinity": {"bans": ["edge-b"]}},
}
