"""How another version goes out, over the real store and wire; the front and its nodes are played."""

import asyncio
import json
import time
from pathlib import Path

import pytest
import yaml

from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, control_plane, until, until_status
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


THREE = (
    PLACES
    + """
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: edge-c}
spec: {kind: edge, jurisdiction: EU}
"""
)
WITH_WAVES = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec:
  cost: {burst_to_cloud: false}
  affinity: {pins: [{site: edge-a}, {site: edge-b}, {site: edge-c}]}
  replicas: {min: 3, max: 3}
  rollout: {wave_sites: 1, pause_s: 0.3, max_failures: %d}
"""


def versions_at(front: FrontInHand) -> dict[str, set[str]]:
    return {
        node: {replica.version for replica in one.replicas if not replica.draining}
        for node, one in sorted(front.assignments.items())
    }


def everywhere(name: str) -> dict[str, set[str]]:
    return {f"edge-{letter}-1": {name} for letter in "abc"}


async def place_on_three(running: Running, front: FrontInHand, failures: int) -> None:
    front.rtt_ms["edge-c"] = 20.0
    await running.apply("---".join([THREE, WITH_WAVES % failures, version("digits-1"), SERVICE]))
    await until("all three", lambda: versions_at(front) == everywhere("digits-1"))
    await until_status(running, "ModelService", "digits", "Ready")


async def rollout(running: Running) -> dict[str, object]:
    found = (await running.status_of("ModelService", "digits")).get("rollout", {})
    assert isinstance(found, dict)
    return found


async def until_rollout(running: Running, phase: str, limit_s: float = 15.0) -> dict[str, object]:
    end_s = asyncio.get_running_loop().time() + limit_s
    while (found := await rollout(running)).get("phase") != phase:
        assert asyncio.get_running_loop().time() < end_s, found
        await asyncio.sleep(0.02)
    return found


async def test_a_version_goes_out_in_waves_and_every_answer_says_where_it_is(
    running: Running, front: FrontInHand
) -> None:
    await place_on_three(running, front, failures=0)
    served: list[bool] = []
    changing: list[int] = []

    async def watch() -> None:
        while True:
            served.append(sum(front.sites_in_use().values()) > 0.99)
            changing.append(sum(len(found) > 1 for found in versions_at(front).values()))
            await asyncio.sleep(0.01)

    document = json.dumps(yaml.safe_load(version("digits-2")))
    reply = await running.control.Plan(control_pb2.PlanRequest(owner="command", documents_json=[document]))
    said = "default/digits: version digits-2 goes out in 3 waves of 1, each watched for 0.3 s once ready"
    assert said in json.loads(reply.plan_json)["causes"]
    watching = asyncio.create_task(watch())
    await running.apply(version("digits-2"))
    await until("the first wave", lambda: "digits-2" in front.versions_assigned())
    await until_rollout(running, "Progressing")
    explained = await running.control.Explain(control_pb2.ExplainRequest(namespace="default", service="digits"))
    assert "version digits-2 in place of digits-1: wave 1" in explained.held
    parts = (await running.control.Status(control_pb2.StatusRequest())).parts
    assert [(part.name, part.phase) for part in parts if part.kind == "rollout"] == [("default/digits", "progressing")]
    found = await until_rollout(running, "Done")
    await until("the old ones gone", lambda: versions_at(front) == everywhere("digits-2"))
    watching.cancel()
    assert all(served)
    assert max(changing) == 1
    assert (found["wave"], found["message"]) == (3, "version digits-2 is out")
    conditions = (await running.status_of("ModelService", "digits"))["conditions"]
    assert {"type": "Updated", "status": "True", "reason": "EverySite", "message": found["message"]} in conditions  # type: ignore[operator]


async def test_a_wave_that_fails_takes_all_back_and_the_others_never_changed(
    running: Running, front: FrontInHand
) -> None:
    await place_on_three(running, front, failures=0)
    front.broken.add("digits-2")
    await running.apply(version("digits-2"))
    found = await until_rollout(running, "Aborted")
    assert "version digits-2 failed at edge-" in str(found["message"])
    assert "the file is cut short" in str(found["message"])
    await until("back", lambda: versions_at(front) == everywhere("digits-1"))
    await until_status(running, "ModelVersion", "digits-2", "Failed")
    assert found["wave"] == 1
    await until_status(running, "ModelService", "digits", "Ready")
    await running.apply(version("digits-3"))
    await until("the next one", lambda: versions_at(front) == everywhere("digits-3"), 20.0)


async def test_a_site_that_may_fail_goes_back_alone(running: Running, front: FrontInHand) -> None:
    await place_on_three(running, front, failures=1)
    front.broken.add("edge-b/digits-2")
    await running.apply(version("digits-2"))
    found = await until_rollout(running, "Done", 20.0)
    assert list(found["failed"]) == ["edge-b"]  # type: ignore[call-overload]
    wanted = everywhere("digits-2") | {"edge-b-1": {"digits-1"}}
    await until("settled", lambda: versions_at(front) == wanted)
    assert (await running.status_of("ModelVersion", "digits-2")).get("phase") != "Failed"
    await asyncio.sleep(1.0)
    assert versions_at(front) == wanted
    assert await planned(running) == []
    front.broken.clear()
    await running.apply(WITH_WAVES % 0)  # an edit: what failed is tried again
    await until("everywhere", lambda: versions_at(front) == everywhere("digits-2"), 20.0)


async def test_a_restarted_control_plane_goes_on_with_the_wave(
    tmp_path: Path, address: str, front: FrontInHand
) -> None:
    async with control_plane(tmp_path, address) as first:
        await place_on_three(first, front, failures=0)
        await first.apply((WITH_WAVES % 0).replace("pause_s: 0.3", "pause_s: 600"))
        await first.apply(version("digits-2"))
        await until("the first wave", lambda: "digits-2" in front.versions_assigned())
        before, epoch = await until_rollout(first, "Progressing"), front.epoch
    async with control_plane(tmp_path, address) as second:
        await until("orders of the next epoch", lambda: front.epoch > epoch)
        await asyncio.sleep(1.5)
        after = await rollout(second)
        assert (after["wave"], after["released"]) == (1, before["released"])
        assert sum("digits-2" in found for found in versions_at(front).values()) == 1
        await second.apply(WITH_WAVES % 0)
        await until("everywhere", lambda: versions_at(front) == everywhere("digits-2"), 20.0)


async def test_a_site_that_was_away_joins_when_it_returns(running: Running, front: FrontInHand) -> None:
    await place_on_three(running, front, failures=0)
    front.silent_since_s["edge-c-1"] = time.monotonic()
    await asyncio.sleep(0.3)
    await running.apply(version("digits-2"))
    await until("the others", lambda: [len(v & {"digits-2"}) for v in versions_at(front).values()] == [1, 1, 0], 20.0)
    await until("nothing old beside", lambda: versions_at(front)["edge-a-1"] == {"digits-2"})
    assert "edge-c silent: they join when they return" in str((await rollout(running))["message"])
    del front.silent_since_s["edge-c-1"]
    await until("everywhere", lambda: versions_at(front) == everywhere("digits-2"), 20.0)
    await until_rollout(running, "Done")


POLICY_DOCUMENT = {
    "apiVersion": "skerry.dev/v1alpha1",
    "kind": "PlacementPolicy",
    "metadata": {"name": "near"},
    "spec": {"cost": {"burst_to_cloud": False}, "affinity": {"bans": ["edge-b"]}},
}


SINGLE = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec:
  cost: {burst_to_cloud: false}
  replicas: {max: 1, single_writer: true}
  disconnect: {lost_after_s: 0.1, valid_offline_s: 2}
"""


async def test_a_single_writer_waits_until_the_silent_one_has_stopped_and_changes_by_stopping_first(
    running: Running, front: FrontInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOTICE_S", "STOP_S"):
        monkeypatch.setattr(f"orchestrator.reconcile.single_writer.{name}", 0.5)
    await running.apply("---".join([PLACES, SINGLE, version("digits-1"), SERVICE]))
    await until_status(running, "ModelService", "digits", "Ready")
    assert [one.single_writer for one in front.assignments["edge-a-1"].replicas] == [True]
    counts: list[int] = []

    async def watch() -> None:
        while True:
            counts.append(sum(len(one.replicas) for one in front.assignments.values()))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    await running.apply(version("digits-2"))
    await until("the second version alone", lambda: versions_at(front)["edge-a-1"] == {"digits-2"})
    await until_status(running, "ModelService", "digits", "Ready")
    watching.cancel()
    assert max(counts) == 1
    begun_s = front.silent_since_s["edge-a-1"] = time.monotonic()
    await until("a replacement", lambda: bool(front.assignments["edge-b-1"].replicas))
    assert time.monotonic() - begun_s > 3.0  # what it was promised, how late it may notice, and how long it may take
