"""plan, replay, get decisions and explain --why-not against a real server over a fake control plane."""

import json

import pytest
import yaml

from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry
from tests.cli.manifests import SERVICE, ZONE

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test

POLICY = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: line}
spec: {latency: {p99_ms: 40}}
"""


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_plan_names_moves_bytes_answers_and_cost(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("plan", "-f", "-", stdin=ZONE.encode())
    assert (ran.code, ran.err) == (2, "")
    told = words(ran.out)
    for wanted in (
        "zone/plant created",
        "move default/digits 1 harbour (digits-v1 litert-int8) local (digits-v2 litert-int8)",
        "start default/digits 2 - harbour (digits-v1 litert-int8)",
        "stop default/digits 1 local (digits-v2 litert-int8) -",
        "site/harbour -> front/f 30.0 KiB 2",
        "default/digits plant harbour 100% -> 75% 18.5 ms (15..45) 40 ms likely",
        "default/digits 0.05 0.15 all 0.05 0.15",
        "Not served: 25% of the calls to default/digits from zone plant, 0% now",
        "local: too-slow: raise latency.p99_ms to 61",
        "default/digits: took local: it has room",
        "Cannot be judged: default/other: policy none does not exist",
        "Replicas: 2 to start, 1 to stop, 1 to move, 0 to update; 0.05 -> 0.15 $/h; at most 30.0 KiB over the WAN.",
        "Objective: 4.2 $/h with waiting and unserved calls; no placement is below 4 (branch and bound): gap 5.0%.",
    ):
        assert wanted in told, ran.out
    assert running.control.objects == {}
    found = json.loads(skerry("plan", "-f", "-", "-o", "json", stdin=ZONE.encode()).out)
    assert (found["changed"], found["objects"][0]["name"], found["steps"][0]["act"]) == (True, "plant", "move")


def test_a_plan_without_changes_is_code_0(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("plan")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "No changes: what runs is what is wanted.")
    assert yaml.safe_load(skerry("plan", "-o", "yaml").out)["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("-f", "-"), ZONE.replace("region", "regoin")),
        (("-f", "/nowhere.yaml"), ""),
        (("--nonsense",), ""),
        (("-f",), ""),
        (("surplus",), ""),
        (("--control", "10.0.0.1:7070"), ""),
        (("--control", "127.0.0.1:9"), ""),
    ],
    ids=["bad file", "no file", "unknown option", "no value", "surplus", "not loopback", "nobody there"],
)
def test_an_error_of_a_plan_is_never_taken_for_changes(
    skerry: Skerry, running: RunningControl, arguments: tuple[str, ...], stdin: str
) -> None:
    ran = skerry("plan", *arguments, stdin=stdin.encode())
    assert (ran.code, ran.out) == (1, "")
    assert ran.err


def test_an_equal_replay_says_so(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("replay", "d-2")
    assert (ran.code, ran.out) == (
        0,
        "Decision d-2, 65s old: equal; replayed from its stored inputs by planner 0.1.0+bb x\n",
    )


def test_a_replay_that_differs_shows_where_and_is_code_3(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("replay", "d-1")
    assert ran.code == 3
    assert "it differs:" in ran.out
    assert "It was decided by planner 0.1.0+aa x and replayed by 0.1.0+bb x." in ran.out
    assert "  services[0].usd_per_hour: stored 0.25, replayed 0.5" in ran.out
    found = json.loads(skerry("replay", "d-1", "-o", "json").out)
    assert (found["equal"], found["plan"]["decision"], len(found["differences"])) == (False, "d-1", 1)


def test_a_replay_under_a_policy_shows_what_it_would_have_done(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("replay", "d-2", "--policy", "-", stdin=POLICY.encode())
    assert ran.code == 0, ran.err
    assert ran.out.startswith("Decision d-2, 65s old, under policy line as given:")
    assert "move     default/digits" in ran.out
    assert "stored 0.25" not in ran.out
    wrong = skerry("replay", "d-2", "--policy", "-", stdin=SERVICE.encode())
    assert (wrong.code, "give one PlacementPolicy" in wrong.err) == (1, True)


def test_a_decision_that_is_not_kept(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("replay", "d-9")
    assert (ran.code, ran.err) == (1, "skerry: decision d-9: is not stored: the oldest kept: d-1\n")
    assert "give a decision's id" in skerry("replay", "no id").err


def test_decisions_are_listed(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("get", "decisions")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ID", "d-2", "d-1"]
    assert "2023-11-14T22:13:20Z" in ran.out
    assert "in force" in ran.out.splitlines()[1]
    assert "took local" in skerry("get", "decisions", "-o", "wide").out
    assert skerry("get", "decision", "-o", "name").out == "d-2\nd-1\n"
    listed = json.loads(skerry("get", "decisions", "-o", "json").out)
    assert listed["retention"] == "the newest 2 decisions of the last 30 days"
    assert [one["id"] for one in listed["items"]] == ["d-2", "d-1"]
    one = json.loads(skerry("get", "decisions/d-1", "-o", "json").out)
    assert (one["id"], one["inputs"], one["decision"]) == ("d-1", {"seed": 0}, {"services": []})
    assert skerry("get", "decisions", "-w").code == 2


def test_why_not_a_site_says_what_stands_against_it(skerry: Skerry, running: RunningControl) -> None:
    skerry("apply", "-f", "-", stdin=SERVICE.encode())
    ran = skerry("explain", "digits", "--why-not", "local")
    assert ran.code == 0, ran.err
    told = words(ran.out)
    for wanted in (
        "local does not serve default/digits (decision d-1, policy line):",
        "plant too-slow 61 ms 40 ms raise latency.p99_ms to 61",
        "Chosen instead: SITE REPLICAS EXPECTED P99 WEIGHT SERVES harbour 2 18.5 ms 10 75% of plant",
        "harbour: preferred, 18.5 ms",
    ):
        assert wanted in told, ran.out
    chosen = skerry("explain", "digits", "--why-not", "harbour").out
    assert chosen.startswith("harbour is chosen for default/digits (decision d-1, policy line): 75% of zone plant;")
    found = json.loads(skerry("explain", "digits", "--why-not", "local", "-o", "json").out)
    assert (found["refused"][0]["reason"], found["instead"][0]["site"]) == ("too-slow", "harbour")
    unknown = skerry("explain", "digits", "--why-not", "moon")
    assert (unknown.code, "known are harbour, local" in unknown.err) == (1, True)
    assert skerry("explain", "digits", "--why-not", "local", "--site", "local").code == 2
