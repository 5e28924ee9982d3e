"""What policies do over time: freezes, pace, and what is said when one is not met."""

import asyncio
import time

import pytest

from orchestrator.objects.freezing import DAYS
from protos.control.v1 import control_pb2
from protos.link.v1 import link_pb2
from tests.control.fakes import FrontInHand, Running, until, until_status
from tests.control.test_control_plane import PLACES, SERVICE, address, front, running, version

pytestmark = pytest.mark.real
__all__ = ["address", "front", "running"]  # fixtures

POLICY = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec: %s
"""
QUOTA = """
apiVersion: skerry.dev/v1alpha1
kind: TenantQuota
metadata: {name: small}
spec: {memory_mib: 32}
"""


def this_window() -> str:
    """Yesterday to the day after tomorrow, in UTC: the test does not last longer."""
    today = time.gmtime().tm_wday
    return f"{DAYS[today - 1]} 00:00-{DAYS[(today + 2) % 7]} 00:00 UTC"


async def apply(running: Running, *documents: str) -> list[str]:
    """The warnings."""
    reply = await running.apply("---".join(documents))
    return [warning for result in reply.results for warning in result.warnings]


async def test_in_a_freeze_a_new_version_waits_and_a_better_site_is_not_taken(
    running: Running, front: FrontInHand
) -> None:
    spec = f"{{stability: {{freeze: ['{this_window()}']}}, cost: {{burst_to_cloud: false}}}}"
    await apply(running, PLACES, POLICY % spec, version("digits-1"), SERVICE)
    await until("a new service starts", lambda: front.sites_in_use().get("edge-a") == 1.0)
    await apply(running, version("digits-2"))
    front.rtt_ms["edge-a"] = 300.0
    await asyncio.sleep(2.5)  # longer than a plan takes to settle
    status = await until_status(running, "ModelService", "digits", "Ready")
    assert (status["version"], front.sites_in_use()) == ("digits-1", {"edge-a": 1.0})
    await apply(running, POLICY % "{cost: {burst_to_cloud: false}}")
    await until("thawed: the better site", lambda: front.sites_in_use().get("edge-b") == 1.0)
    assert "digits-2" in front.versions_assigned()


async def test_a_paced_rollout_starts_one_after_the_other(running: Running, front: FrontInHand) -> None:
    spec = "{replicas: {min: 4}, cost: {burst_to_cloud: false}, rollout: {max_concurrent_changes: 1}}"
    await apply(running, PLACES, POLICY % spec, version("digits-1"), SERVICE)
    await until_status(running, "ModelService", "digits", "Ready", 20.0)
    held = [len(assignment.replicas) for assignment in front.assignments.values()]
    assert sum(held) == 4
    assert len(front.revisions) >= 4  # each start was an assignment of its own


async def test_a_policy_that_cannot_be_kept_is_told_when_it_is_applied_and_in_the_status(
    running: Running, front: FrontInHand
) -> None:
    await apply(running, PLACES, POLICY % "{cost: {burst_to_cloud: false}}", version("digits-1"), SERVICE)
    await until_status(running, "ModelService", "digits", "Ready")
    (said,) = await apply(running, POLICY % "{affinity: {pins: [{site: edge-z}]}, cost: {burst_to_cloud: false}}")
    assert said.startswith("service digits: affinity.pins: edge-z cannot hold its pin: there is no Site of that name")
    await asyncio.sleep(2.5)  # longer than a plan takes to settle
    status = await until_status(running, "ModelService", "digits", "Ready")
    assert "PolicyNotMet" in str(status["conditions"])


async def test_a_quota_stops_a_service_and_says_so(running: Running, front: FrontInHand) -> None:
    policy = "{replicas: {min: 2}, cost: {burst_to_cloud: false}}"
    await apply(running, PLACES, QUOTA, POLICY % policy, version("digits-1"), SERVICE)
    status = await until_status(running, "ModelService", "digits", "Ready")
    assert len(status["replicas"]) == 1  # type: ignore[arg-type]
    assert "replicas.min: 1 of the policy's 2 replicas fit nowhere" in str(status["conditions"])


async def test_another_isolation_is_told_to_the_same_replicas_with_the_memory_that_it_takes(
    running: Running, front: FrontInHand
) -> None:
    def told() -> set[tuple[str, int, int]]:
        assigned = [each for assignment in front.assignments.values() for each in assignment.replicas]
        return {(each.replica, each.isolation, each.memory_bytes >> 20) for each in assigned if not each.draining}

    await apply(running, PLACES, POLICY % "{cost: {burst_to_cloud: false}}", version("digits-1"), SERVICE)
    await until_status(running, "ModelService", "digits", "Ready")
    ((name, isolation, shared_mib),) = told()
    assert isolation == link_pb2.ISOLATION_SHARED
    await apply(running, POLICY % "{cost: {burst_to_cloud: false}, isolation: process}")
    await until("the change", lambda: told() == {(name, link_pb2.ISOLATION_PROCESS, shared_mib + 64)})
    near = control_pb2.ObjectRef(kind="PlacementPolicy", namespace="default", name="near")
    await running.control.Delete(control_pb2.DeleteRequest(ref=near))
    await until("left as it runs", lambda: told() == {(name, link_pb2.ISOLATION_UNSPECIFIED, shared_mib + 64)})
