"""plan, then apply: the same moves. The loops and the API over the real store and the real wire; the rest is played."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from pydantic import TypeAdapter

from orchestrator.model.view import PlacementView
from orchestrator.store import open_store
from protos.control.v1 import control_pb2
from tests.control.draw_example import draw
from tests.control.fakes import FrontInHand, Running, control_plane, until, until_status
from tests.control.test_control_plane import (
    PLACES,
    POLICY,
    SERVICE,
    address,
    front,
    place_digits,
    running,
    version,
)

__all__ = ["address", "front", "running"]
pytestmark = pytest.mark.real

VIEW = TypeAdapter(PlacementView)
FAR = (POLICY % 40).replace("site.kind == 'edge'", "site.name == 'edge-b'")
CLOUD = (POLICY % 40).replace("  preferred:", "  required: [\"site.kind == 'region'\"]\n  preferred:")


async def planned(running: Running, text: str = "") -> dict[str, Any]:
    documents = [json.dumps(d) for d in yaml.safe_load_all(text)] if text else []
    reply = await running.control.Plan(control_pb2.PlanRequest(documents_json=documents, owner="command"))
    plan: dict[str, Any] = json.loads(reply.plan_json)
    assert reply.changed == plan["changed"]
    return plan


async def runs(running: Running) -> list[tuple[str, str]]:
    """Site and version of each live replica, once all is settled."""
    status = await until_status(running, "ModelService", "digits", "Ready")
    found: list[dict[str, str]] = status["replicas"]  # type: ignore[assignment]
    return sorted((r["site"], r["version"]) for r in found if r["claim"] in ("reserved", "bound"))


async def until_runs(running: Running, wanted: list[tuple[str, str]], limit_s: float = 10.0) -> None:
    """A bounded poll, as `fakes.until`: a policy's change is damped, and there is no event for what runs then."""
    end_s = asyncio.get_running_loop().time() + limit_s
    while (found := await runs(running)) != wanted:
        assert asyncio.get_running_loop().time() < end_s, f"{found} runs, not {wanted}"
        await asyncio.sleep(0.05)


def after(plan: dict[str, Any], before: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What runs once the plan's steps are taken."""
    left = list(before)
    for step in plan["steps"]:
        for _ in range(step["replicas"]):
            if step["before"]:
                left.remove((step["before"]["site"], step["before"]["version"]["name"]))
            if step["after"]:
                left.append((step["after"]["site"], step["after"]["version"]["name"]))
    return sorted(left)


@pytest.mark.parametrize(
    ("text", "acts", "objects"),
    [
        (FAR, ["move"], ["configured"]),
        (CLOUD, ["move"], ["configured"]),
        (version("digits-2"), ["update"], ["created"]),
        ((POLICY % 40).replace("min: 1", "min: 2"), ["start"], ["configured"]),
        (POLICY % 40, [], ["unchanged"]),
        ((POLICY % 40).replace("name: near", "name: unused"), [], ["created"]),
    ],
    ids=["another site", "the cloud", "a new version", "a second replica", "nothing new", "nobody asks for it"],
)
async def test_plan_then_apply_is_the_same_moves(
    running: Running, front: FrontInHand, text: str, acts: list[str], objects: list[str]
) -> None:
    await place_digits(running, front)
    before = await runs(running)
    sequence = (await running.control.Status(control_pb2.StatusRequest())).sequence
    plan = await planned(running, text)
    assert [one["action"] for one in plan["objects"]] == objects
    assert [step["act"] for step in plan["steps"]] == acts
    assert plan["changed"] == (bool(acts) or objects != ["unchanged"])
    assert (await running.control.Status(control_pb2.StatusRequest())).sequence == sequence, "a plan writes nothing"
    await running.apply(text)
    await until_runs(running, after(plan, before))
    assert (await planned(running))["steps"] == []


async def test_a_plan_names_link_bytes_limit_and_cost(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    plan = await planned(running, FAR)
    (transfer,) = plan["transfers"]
    assert (transfer["leg"], transfer["node"], transfer["size_bytes"]) == ("site/edge-b -> front/f", "edge-b-1", 1000)
    came = {a["site"]: a for a in plan["answers"]}
    assert (came["edge-b"]["share"], came["edge-b"]["limit_ms"], came["edge-b"]["attainment"]) == (1.0, 40.0, "kept")
    assert came["edge-a"]["share_before"] == 1.0
    interval = came["edge-b"]["p99_ms"]
    assert interval["low"] <= interval["expected"] <= interval["high"] <= 40
    assert any("took edge-b" in cause for cause in plan["causes"])
    assert [c["service"]["name"] for c in plan["costs"]] == ["digits"]


async def test_a_view_comes_with_a_plan_or_an_explanation_that_asks_for_it(
    running: Running, front: FrontInHand
) -> None:
    await place_digits(running, front)
    documents = [json.dumps(d) for d in yaml.safe_load_all(FAR)]
    plan = await running.control.Plan(control_pb2.PlanRequest(documents_json=documents, owner="command", view=True))
    view = VIEW.validate_json(plan.view_json)
    (service,) = view.services
    assert [(r.site, r.stays, r.starts, r.stops) for r in service.replicas] == [
        ("edge-a", 0, 0, 1),
        ("edge-b", 0, 1, 0),
    ]
    assert [(f.site, f.relay, f.share_before, f.share) for f in service.flows] == [
        ("edge-a", "local", 1.0, 0.0),
        ("edge-b", "local", 0.0, 1.0),
    ]
    assert ([one.site for one in service.refused], service.limit_ms) == (["edge-a", "local"], 40.0)
    asked = control_pb2.ExplainRequest(namespace="default", service="digits", view=True)
    (service,) = VIEW.validate_json((await running.control.Explain(asked)).view_json).services
    assert [(r.site, r.stays, r.starts, r.stops) for r in service.replicas] == [("edge-a", 1, 0, 0)]
    plan = await running.control.Plan(control_pb2.PlanRequest(owner="command"))
    assert plan.view_json == ""


async def test_the_picture_of_the_docs_is_drawn_by_the_real_command(tmp_path: Path) -> None:
    assert await draw(str(tmp_path / "placement.svg")) == 2
    told = (tmp_path / "placement.svg").read_text()
    for wanted in ("harbour", "lighthouse", "too-slow", "residency", "relays ", "gap "):
        assert wanted in told
    shown = (Path(__file__).parents[2] / "docs" / "images" / "placement.png").read_bytes()
    assert shown.startswith(b"\x89PNG")
    assert len(shown) < 200_000


async def test_a_plan_that_nobody_can_serve_names_the_refused_sites(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    plan = await planned(running, POLICY % 0.001)
    (lost,) = plan["not_served"]
    assert (lost["zone"], lost["share"]) == ("city", 1.0)
    assert {one["site"] for one in lost["refused"]} == {"edge-a", "edge-b", "local"}
    # Callers would rather be answered late: what is only too slow runs on.
    assert plan["steps"] == []


async def test_a_plan_refuses_what_apply_refuses(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    stale = (POLICY % 40).replace("{name: near}", "{name: near, revision: 1}")
    theirs = control_pb2.PlanRequest(documents_json=[json.dumps(yaml.safe_load(POLICY % 40))], owner="operator")
    for request, code in (
        (theirs, grpc.StatusCode.FAILED_PRECONDITION),
        (
            control_pb2.PlanRequest(documents_json=[json.dumps(yaml.safe_load(stale))], owner="command"),
            grpc.StatusCode.ABORTED,
        ),
        (
            control_pb2.PlanRequest(documents_json=['{"kind": "Zome"}'], owner="command"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.control.Plan(request)
        assert refused.value.code() is code, refused.value.details()


async def test_a_plan_waits_until_the_links_have_reported(tmp_path: Path, address: str, front: FrontInHand) -> None:
    async with control_plane(tmp_path, address) as first:
        await place_digits(first, front)
    front.rtt_ms = {}  # its nodes are not there yet when the next one starts
    async with control_plane(tmp_path, address) as second:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await planned(second, FAR)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "ask again in a few seconds" in str(refused.value.details())


async def test_what_was_decided_is_listed_and_replayed_equal(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    await running.apply(FAR)
    await until("a route to edge-b", lambda: front.sites_in_use().get("edge-b") == 1.0)
    listed = await running.control.Decisions(control_pb2.DecisionsRequest())
    assert len(listed.decisions) >= 2
    assert [one.in_force for one in listed.decisions][:2] == [True, False]
    assert any("took edge-b" in change for change in listed.decisions[0].changes)
    assert listed.retention == "the newest 2000 decisions of the last 30 days"
    for one in listed.decisions:
        found = await running.control.Replay(control_pb2.ReplayRequest(decision=one.id))
        assert (found.equal, list(found.differences)) == (True, []), one.id
    (whole,) = (await running.control.Decisions(control_pb2.DecisionsRequest(id=listed.decisions[0].id))).decisions
    assert json.loads(whole.inputs_json)["seed"] == 0
    under = json.dumps(yaml.safe_load(POLICY % 40) | {"metadata": {"name": "near", "namespace": "default"}})
    request = control_pb2.ReplayRequest(decision=whole.id, policy_json=under)
    found = await running.control.Replay(request)
    (step,) = json.loads(found.plan_json)["steps"]
    assert (step["act"], step["before"]["site"], step["after"]["site"]) == ("move", "edge-b", "edge-a")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.control.Replay(control_pb2.ReplayRequest(decision="d-0"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "the newest 2000 decisions" in str(refused.value.details())


async def test_a_service_that_cannot_be_judged_is_carried_and_replayed(running: Running, front: FrontInHand) -> None:
    """Its policy is gone, and another service is decided beside it: the replay has what was carried."""
    await place_digits(running, front)
    ref = control_pb2.ObjectRef(kind="PlacementPolicy", namespace="default", name="near")
    await running.control.Delete(control_pb2.DeleteRequest(ref=ref))
    other = (
        (POLICY % 40).replace("near", "other")
        + "---"
        + SERVICE.replace("name: digits}", "name: more}").replace("policy: near", "policy: other")
    )
    plan = await planned(running, other)
    assert [(p["service"]["name"], "does not exist" in p["reason"]) for p in plan["problems"]] == [("digits", True)]
    await running.apply(other)
    await until_status(running, "ModelService", "more", "Ready")
    (newest, *_) = (await running.control.Decisions(control_pb2.DecisionsRequest())).decisions
    assert newest.services == 2
    found = await running.control.Replay(control_pb2.ReplayRequest(decision=newest.id))
    assert (found.equal, list(found.differences)) == (True, [])


async def test_a_control_plane_goes_on_over_a_damaged_decision(
    tmp_path: Path, address: str, front: FrontInHand
) -> None:
    async with control_plane(tmp_path, address) as first:
        await place_digits(first, front)
    store = open_store(first.settings.store)
    (newest, *_) = store.decisions()
    store.close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("DELETE FROM parts WHERE digest IN (SELECT decided FROM decisions)")
    connection.close()
    async with control_plane(tmp_path, address) as second:
        await until_status(second, "ModelService", "digits", "Ready")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await second.control.Decisions(control_pb2.DecisionsRequest(id=newest.id))
        assert refused.value.code() is grpc.StatusCode.DATA_LOSS
        assert "skerry restore" in str(refused.value.details())


async def test_a_first_plan_places_what_does_not_exist_yet(running: Running, front: FrontInHand) -> None:
    await running.apply(PLACES)
    await until("orders", lambda: bool(front.epoch))
    plan = await planned(running, POLICY % 40 + "---" + version("digits-1") + "---" + SERVICE)
    assert [one["action"] for one in plan["objects"]] == ["created"] * 3
    assert [(s["act"], s["after"]["site"]) for s in plan["steps"]] == [("start", "edge-a")]
    assert [t["node"] for t in plan["transfers"]] == ["edge-a-1"]
