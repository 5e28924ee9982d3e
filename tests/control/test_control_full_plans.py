"""A fleet too large to be planned from nothing at every tick: ticks go on from the last plan of all."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from orchestrator.control import placing
from orchestrator.model.snapshot import Decision
from protos.control.v1 import control_pb2
from tests.control.fakes import FrontInHand, Running, control_plane, until, until_status
from tests.control.test_control_plane import PLACES, POLICY, SERVICE, address, front, place_digits, version

pytestmark = pytest.mark.real
__all__ = ["address", "front"]  # fixtures

FAR = (POLICY % 40).replace("name: near", "name: far").replace("site.kind == 'edge'", "site.name == 'edge-b'")


def far(name: str) -> str:
    """A service at edge-b, whatever is the matter with edge-a."""
    return SERVICE.replace("name: digits}", f"name: {name}}}").replace("policy: near", "policy: far")


async def place_three(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    await running.apply("---".join((FAR, far("second"), far("third"))))
    for name in ("digits", "second", "third"):
        await until_status(running, "ModelService", name, "Ready")


async def newest(running: Running) -> tuple[str, dict[str, object]]:
    """The decision in force and its inputs."""
    (listed, *_) = (await running.control.Decisions(control_pb2.DecisionsRequest())).decisions
    (whole,) = (await running.control.Decisions(control_pb2.DecisionsRequest(id=listed.id))).decisions
    return listed.id, json.loads(whole.inputs_json)


async def test_an_event_is_planned_from_the_last_plan_of_all_and_replayed_equal(
    tmp_path: Path, address: str, front: FrontInHand
) -> None:
    async with control_plane(tmp_path, address, plan_all_pairs=0) as running:
        await place_three(running, front)
        front.rtt_ms["edge-a"] = 120.0
        await until("all calls on edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
        decision, inputs = await newest(running)
        assert inputs["base"] is not None
        assert inputs["base"] != inputs["snapshot"]
        found = await running.control.Replay(control_pb2.ReplayRequest(decision=decision))
        assert (found.equal, list(found.differences)) == (True, [])


async def test_what_an_event_does_not_touch_keeps_its_decision(
    tmp_path: Path, address: str, front: FrontInHand
) -> None:
    async with control_plane(tmp_path, address, plan_all_pairs=0) as running:
        await place_three(running, front)
        request = control_pb2.ExplainRequest(namespace="default", service="digits")
        before = await running.control.Explain(request)
        await running.apply(far("fourth"))
        await until_status(running, "ModelService", "fourth", "Ready")
        after = await running.control.Explain(request)
        assert after.decision != before.decision
        then, since = (json.loads(reply.decision_json) for reply in (before, after))
        assert since["kept"]
        assert after.kept_s > 0.2
        assert [one["reason"] for one in since["chosen"]] == [one["reason"] for one in then["chosen"]]
        assert since["costs"]["changes"] == 0.0  # it runs
        _, inputs = await newest(running)
        assert inputs["base"] is not None


async def test_the_next_plan_of_all_is_made_beside_the_ticks(tmp_path: Path, address: str, front: FrontInHand) -> None:
    async with control_plane(tmp_path, address, plan_all_pairs=0, plan_all_every_s=4.0) as running:
        await place_three(running, front)
        front.rtt_ms["edge-a"] = 8.7  # within the tolerances, so that no tick looks at it
        changed_s = time.monotonic() + 1.0  # by then every snapshot has it
        request = control_pb2.ExplainRequest(namespace="default", service="digits")
        for _ in range(600):
            kept_s = (await running.control.Explain(request)).kept_s
            if 0 < kept_s < time.monotonic() - changed_s:  # planned since
                break
            await asyncio.sleep(0.05)
        front.rtt_ms["edge-a"] = 120.0
        await until("all calls on edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
        decision, inputs = await newest(running)
        legs = [leg for path in inputs["base"]["paths"] for leg in path["legs"]]  # type: ignore[index]
        assert 8.7 in {leg["rtt_p99_ms"] for leg in legs}
        found = await running.control.Replay(control_pb2.ReplayRequest(decision=decision))
        assert (found.equal, list(found.differences)) == (True, [])


async def test_a_plan_that_takes_longer_than_the_lease_keeps_the_epoch(
    tmp_path: Path, address: str, front: FrontInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = placing.decided

    def slowly(inputs, based: Decision | None = None):  # type: ignore[no-untyped-def]
        time.sleep(1.5)
        return decided(inputs, based)

    monkeypatch.setattr(placing, "decided", slowly)
    async with control_plane(tmp_path, address, lease_ttl_s=1.0) as running:
        await running.apply(PLACES + "---" + POLICY % 40 + "---" + version("digits-1") + "---" + SERVICE)
        epochs: set[int] = set()

        def placed() -> bool:
            epochs.add(front.epoch)
            return front.sites_in_use().get("edge-a") == 1.0

        await until("a route to edge-a", placed, 20.0)
        assert epochs - {0} == {1}
