"""Stored inputs give the decision back, in this process and in another; policies are judged over stored sites."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.codec import decision_from, inputs_from, planner_version, stored_decision, to_json
from orchestrator.control.history import differences, replayed
from orchestrator.control.housekeeping import PRUNE_AT_ONCE, Housekeeping
from orchestrator.control.replaying import inputs_under, replay
from orchestrator.control.snapshots import SILENT
from orchestrator.errors import Damaged, InvalidRequest, NotFound
from orchestrator.model.ids import DecisionId
from orchestrator.model.inputs import FIRST_PLANNER, DecisionInputs
from orchestrator.model.snapshot import Snapshot
from orchestrator.model.specs import NodeSpec, SiteRule
from orchestrator.model.stored import Batch, Json, Lease, Owner, Retention, StoredDecision, StoredObject
from orchestrator.objects import key_of, labels_of, spec_of, validate
from orchestrator.objects.expressions import facts_of
from orchestrator.objects.translate import site_spec
from orchestrator.placement.deciding import decide
from orchestrator.store import SqlStore, open_store
from tests.placement.worlds import SETTINGS, claim, cloud, cloud_leg, edge, relay_leg, service, snapshot
from tests.store_urls import sqlite_url
from tests.strategies import settings_of_planner, snapshots

RETENTION = Retention(100, 30.0)
WANTED = service()
WORLD = snapshot(
    [cloud(), edge("a", labels=(("tier", "gold"),)), edge("b")],
    [cloud_leg(30), relay_leg("a", 12), relay_leg("b", 8)],
    [WANTED],
)
INPUTS = DecisionInputs(WORLD, SETTINGS, 0, planner_version())


def policy(name: str = "policy", **spec: Json) -> dict[str, Json]:
    metadata: dict[str, Json] = {"name": name, "namespace": "default"}
    return {"apiVersion": "skerry.dev/v1alpha1", "kind": "PlacementPolicy", "metadata": metadata, "spec": spec}


def stored(inputs: DecisionInputs, made_wall_s: float = 100.0) -> StoredDecision:
    return stored_decision(inputs, decide(inputs), ["default/digits: took b"], 3, made_wall_s)


@pytest.fixture
def store(tmp_path: object) -> SqlStore:
    return open_store(sqlite_url(tmp_path), wall_s=lambda: 100.0)  # type: ignore[arg-type]


@given(snapshots(), settings_of_planner, st.booleans())
def test_inputs_come_back_whole_and_decide_the_same(world: Snapshot, settings: object, carry: bool) -> None:
    inputs = DecisionInputs(world, settings, 3, "p")  # type: ignore[arg-type]
    if carry:
        inputs = replace(inputs, carried=decide(inputs).services[:1])
    again = inputs_from(to_json(inputs))
    assert (again, inputs_from(to_json(again))) == (inputs, inputs)
    decision = decide(again)
    assert decision == decide(inputs)
    assert decision_from(to_json(decision)) == decision
    assert list(differences(json.loads(to_json(decide(inputs))), json.loads(to_json(decision)))) == []


def test_what_this_release_cannot_read_says_so() -> None:
    document = json.loads(to_json(INPUTS))
    del document["snapshot"]["services"][0]["policy"]["priority"]
    with pytest.raises(Damaged, match=r"snapshot.services.0.policy.priority.*another release"):
        inputs_from(json.dumps(document))


SITES = [
    ({"kind": "region", "jurisdiction": "EU", "quota": {"memory_mib": 64, "cores": 1}}, {}),
    ({"kind": "edge", "jurisdiction": "US", "price_usd_per_hour": 0.5}, {"gpu": "true", "a": "b"}),
    ({"kind": "edge", "jurisdiction": "EU", "failure_domain": "hall", "hardware_class": "arm"}, {}),
]


@pytest.mark.parametrize(("spec", "labels"), SITES)
def test_expressions_see_the_same_facts_of_a_stored_site(spec: dict[str, Json], labels: dict[str, Json]) -> None:
    metadata: dict[str, Json] = {"name": "x", "labels": labels}
    form = validate({"apiVersion": "skerry.dev/v1alpha1", "kind": "Site", "metadata": metadata, "spec": spec})
    written = StoredObject(key_of(form), "", 1, 1, Owner.COMMAND, labels_of(form), spec_of(form), {}, 0.0)
    facts = facts_of(site_spec(written, (), True))
    assert facts == {
        "name": "x",
        "kind": spec["kind"],
        "region": "x" if spec["kind"] == "region" else "",
        "jurisdiction": spec["jurisdiction"],
        "failure_domain": spec.get("failure_domain", "x"),
        "hardware_class": spec.get("hardware_class", "any"),
        "price_usd_per_hour": spec.get("price_usd_per_hour", 0.0),
        "labels": labels,
    }


class TestUnderAPolicy:
    def test_its_limits_and_its_expressions_decide(self) -> None:
        given = policy(
            latency={"p99_ms": 300},
            required=["site.kind == 'edge'"],
            preferred=[{"weight": 5, "expression": "site.labels.tier == 'gold'"}],
            replicas={"min": 1, "max": 3},
        )
        (spec,) = inputs_under(INPUTS, given, 100.0).snapshot.services
        assert spec.policy.latency_p99_ms == 300
        assert spec.rules == (
            SiteRule("a", None, 5),  # type: ignore[arg-type]
            SiteRule("b", None, 0),  # type: ignore[arg-type]
            SiteRule("cloud", "site.kind == 'edge'", 0),  # type: ignore[arg-type]
        )
        assert [c.site for c in decide(INPUTS).services[0].chosen] == ["b"]
        assert [c.site for c in decide(inputs_under(INPUTS, given, 100.0)).services[0].chosen] == ["a"]

    @pytest.mark.parametrize(
        ("document", "says"),
        [
            (policy("other"), r"metadata.name: 'default/other': give a policy by which it was decided: default/policy"),
            (policy(required=["site.nonsense"]), "spec.required.0"),
            (policy() | {"kind": "Zone", "spec": {"region": "r"}, "metadata": {"name": "z"}}, "give a PlacementPolicy"),
            ({"kind": "PlacementPolicy"}, "apiVersion"),
        ],
    )
    def test_another_or_a_wrong_one_is_refused(self, document: dict[str, Json], says: str) -> None:
        with pytest.raises(InvalidRequest, match=says):
            inputs_under(INPUTS, document, 100.0)

    def test_labels_are_unknown_of_what_the_first_release_stored(self) -> None:
        old = replace(INPUTS, planner=FIRST_PLANNER)
        with pytest.raises(InvalidRequest, match="before labels were"):
            inputs_under(old, policy(required=["site.labels.tier == 'gold'"]), 100.0)
        inputs_under(old, policy(required=["site.kind == 'edge'"]), 100.0)

    @pytest.mark.parametrize(("wall_s", "window"), [(100.0, "Thu 00:00-Fri 00:00 UTC"), (90_000.0, None)])
    def test_it_freezes_by_the_clock_of_then(self, wall_s: float, window: str | None) -> None:
        given = policy(stability={"freeze": ["Thu 00:00-Fri 00:00 UTC"]})
        assert inputs_under(INPUTS, given, wall_s).snapshot.services[0].freeze == window

    @pytest.mark.parametrize(
        ("lost_after_s", "replace_", "waits"), [(60, True, True), (10, True, False), (10, False, True)]
    )
    def test_its_patience_with_silent_nodes_counts(self, lost_after_s: float, replace_: bool, waits: bool) -> None:
        silent = edge("b", nodes=1)
        silent = replace(silent, nodes=tuple(NodeSpec(n.name, n.capacity, 20.0) for n in silent.nodes))
        world = replace(WORLD, sites=(edge("a"), silent), claims=(claim("b", WANTED),))
        given = policy(disconnect={"lost_after_s": lost_after_s, "replace": replace_})
        (spec,) = inputs_under(replace(INPUTS, snapshot=world), given, 100.0).snapshot.services
        assert {r.site: r.failed_requirement for r in spec.rules} == {"a": None, "b": None if waits else SILENT}


@pytest.mark.real
class TestInAnotherProcess:
    async def test_a_stored_decision_is_equal(self, store: SqlStore) -> None:
        made = stored(INPUTS)
        store.commit(Batch(decision=made))
        found = await replayed(store, RETENTION, made.id, None, 160.0)
        assert (found.equal, found.differences, found.age_s) == (True, (), 60.0)
        assert found.decided_by == found.replayed_by == planner_version()
        assert found.decision_json == made.decision_json
        assert json.loads(found.plan_json)["changed"] is False
        store.close()

    async def test_the_stored_answer_is_not_believed(self, store: SqlStore) -> None:
        made = stored(INPUTS)
        forged = replace(made, decision_json=made.decision_json.replace('"replicas":1', '"replicas":2'))
        assert forged != made
        store.commit(Batch(decision=forged))
        found = await replayed(store, RETENTION, made.id, None, 160.0)
        assert (found.equal, found.decision_json) == (False, made.decision_json)
        assert found.differences == ("services[0].chosen[0].replicas: stored 2, replayed 1",)
        (step,) = json.loads(found.plan_json)["steps"]
        assert (step["act"], step["replicas"]) == ("stop", 1)
        store.close()

    async def test_what_another_policy_would_have_done(self, store: SqlStore) -> None:
        made = stored(INPUTS)
        store.commit(Batch(decision=made))
        given = policy(latency={"p99_ms": 60}, required=["site.name == 'cloud'"])
        found = await replayed(store, RETENTION, made.id, given, 160.0)
        plan = json.loads(found.plan_json)
        assert [(s["act"], s["before"]["site"], s["after"]["site"]) for s in plan["steps"]] == [("move", "b", "cloud")]
        assert plan["usd_per_hour"] > plan["usd_per_hour_before"] == 0
        (answer,) = [a for a in plan["answers"] if a["share"]]
        assert (answer["limit_ms"], answer["attainment"]) == (60, "kept")
        with pytest.raises(InvalidRequest, match="give a policy by which it was decided"):
            await replayed(store, RETENTION, made.id, policy("other"), 160.0)
        store.close()

    def test_inputs_that_cannot_be_read_are_told(self) -> None:
        with pytest.raises(Damaged, match="another release"):
            replay("{}", 100.0, None)

    async def test_one_that_is_not_kept_names_the_nearest(self, store: SqlStore) -> None:
        with pytest.raises(NotFound, match=r"kept are the newest 100 decisions of the last 30 days; none was made yet"):
            await replayed(store, RETENTION, DecisionId("d-x"), None, 160.0)
        made = stored(INPUTS)
        store.commit(Batch(decision=made))
        with pytest.raises(NotFound, match=f"the oldest kept: {made.id}; list them with `skerry get decisions`"):
            await replayed(store, RETENTION, DecisionId("d-x"), None, 160.0)
        misspelt = DecisionId(f"{made.id[:-1]}x")
        with pytest.raises(NotFound, match=f"nearest by name: {made.id}"):
            await replayed(store, RETENTION, misspelt, None, 160.0)
        store.close()


def test_differences_name_values_and_are_bounded() -> None:
    assert list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}], "c": None})) == ["a[1].b: stored 2, replayed 3"]
    assert list(differences({"a": [1]}, {"a": [1, 2]})) == ["a: stored [1], replayed [1, 2]"]
    many = list(differences([*range(100)], [*range(1, 101)]))
    assert (len(many), many[-1]) == (21, "and 80 more")


class ClockInHand:
    def __init__(self, wall_s: float) -> None:
        self.wall = wall_s

    def now_s(self) -> float:
        return self.wall

    def wall_s(self) -> float:
        return self.wall


async def test_housekeeping_keeps_to_the_retention_and_the_decision_in_force(store: SqlStore) -> None:
    day_s = 86_400.0
    for day in range(PRUNE_AT_ONCE + 20):
        inputs = replace(INPUTS, seed=day)
        store.commit(Batch(decision=replace(stored(INPUTS), record=replace(stored(inputs, day * day_s).record))))
    clock = ClockInHand((PRUNE_AT_ONCE + 20) * day_s)
    keeping = Housekeeping(store, clock, Retention(10, 5.5))
    lease = Lease("leader", "me", 1, 0.0)
    await keeping.tick(lease)
    kept = store.decisions()
    assert [one.made_wall_s / day_s for one in kept] == [PRUNE_AT_ONCE + 19 - back for back in range(5)]
    clock.wall *= 10
    await keeping.tick(lease)
    assert store.decisions() == kept[:1]
    store.close()
