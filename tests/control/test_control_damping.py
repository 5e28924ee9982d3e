"""Damping as operators see it: calls that move by steps, the brake, and what is told of both."""

import asyncio
import time
from itertools import pairwise

import pytest

from orchestrator.control.damper import Damper
from orchestrator.model.ids import ServiceRef
from orchestrator.reconcile.damping import Watch
from orchestrator.reconcile.flapping import Swings
from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, until, until_status
from tests.control.test_control_plane import PLACES, SERVICE, address, front, running, version

pytestmark = pytest.mark.real
__all__ = ["address", "front", "running"]  # fixtures

POLICY = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec: {cost: {burst_to_cloud: false}, disconnect: {lost_after_s: 1%s}, %s}
"""


async def place(running: Running, front: FrontInHand, disconnect: str = "") -> None:
    front.more_nodes["edge-a"] = 2
    await running.apply("---".join((PLACES, POLICY % (disconnect, ""), version("digits-1"), SERVICE)))
    await until("a route to edge-a", lambda: front.sites_in_use().get("edge-a") == 1.0)
    await until_status(running, "ModelService", "digits", "Ready")


def silence(front: FrontInHand, *nodes: str) -> None:
    front.silent_since_s |= dict.fromkeys(nodes, time.monotonic())


async def stable(running: Running) -> dict[str, str]:
    status = await running.status_of("ModelService", "digits")
    (found,) = (one for one in status["conditions"] if one["type"] == "Stable")  # type: ignore[attr-defined]
    return found  # type: ignore[no-any-return]


async def until_reason(running: Running, reason: str) -> dict[str, str]:
    for _ in range(500):
        found = await stable(running)
        if found["reason"] == reason:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"condition Stable is {found}, not {reason}")


def holder(front: FrontInHand) -> str:
    (found,) = (name for name, one in front.assignments.items() if any(not r.draining for r in one.replicas))
    return found


async def test_a_site_that_falls_silent_as_a_whole_is_waited_for_until_an_operator_says_otherwise(
    running: Running, front: FrontInHand
) -> None:
    await place(running, front)
    silence(front, "edge-a-1", "edge-a-2", "edge-a-3")
    told = await until_reason(running, "Braked")
    assert told["status"] == "False"
    assert "3 of 3 nodes of failure domain edge-a fell silent together" in told["message"]
    reply = await running.control.Explain(control_pb2.ExplainRequest(namespace="default", service="digits"))
    assert reply.held.startswith("in force is edge-a: 3 of 3 nodes")
    assert "edge-b-1" not in {name for name, one in front.assignments.items() if one.replicas}
    await running.apply(POLICY % (", brake_share: 1", ""))
    await until("replaced at edge-b", lambda: front.sites_in_use().get("edge-b") == 1.0)
    assert (await until_reason(running, "NothingHeld"))["status"] == "True"


async def test_nodes_that_return_release_the_brake_and_keep_their_replica(running: Running, front: FrontInHand) -> None:
    await place(running, front)
    before = holder(front)
    silence(front, "edge-a-1", "edge-a-2", "edge-a-3")
    await until_reason(running, "Braked")
    front.silent_since_s.clear()
    await until_reason(running, "NothingHeld")
    assert front.sites_in_use() == {"edge-a": 1.0}
    assert holder(front) == before


async def test_one_lost_node_of_three_is_replaced(running: Running, front: FrontInHand) -> None:
    await place(running, front)
    lost = holder(front)
    silence(front, lost)
    # What the silent node held is only taken from it once a front holds it again.
    await until("replaced", lambda: any(one.replicas for node, one in front.assignments.items() if node != lost))
    await until("routed", lambda: sum(front.sites_in_use().values()) > 0.99)
    assert (await stable(running))["reason"] == "NothingHeld"


async def test_preferred_calls_move_by_steps_and_the_predecessor_stays_until_they_left(
    running: Running, front: FrontInHand
) -> None:
    await place(running, front)
    before = holder(front)
    wish = "preferred: [{weight: 5, expression: \"site.name == 'edge-b'\"}]"
    await running.apply(POLICY % ("", wish))
    seen: list[float] = []

    def arrived() -> bool:
        shares, draining = front.sites_in_use(), [r.draining for r in front.assignments[before].replicas]
        seen.append(round(shares.get("edge-a", 0.0), 3))
        assert draining == [False] or seen[-1] == 0.0
        return shares.get("edge-b") == 1.0

    await until("all calls at edge-b", arrived, 20.0)
    steps = sorted(set(seen), reverse=True)
    assert len(steps) >= 8
    assert max(more - less for more, less in pairwise(steps)) <= 0.21


def test_a_held_service_is_told_as_flapping() -> None:
    service = ServiceRef("default", "digits")
    damper = Damper(watches={service: Watch(swings=Swings(held=True, holds=1))})
    held = damper.holds()[service]
    assert held.reason == "Flapping"
    assert "stability.min_gain" in held.message
