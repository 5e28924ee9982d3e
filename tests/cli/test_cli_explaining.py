"""explain against a real server over a fake control plane: many refusals, what would help, margins."""

import json
from dataclasses import replace

import pytest
import yaml

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Refusal, RefusedSite, ResponseTerms
from tests.api.fake_control import REMEDY, RunningControl
from tests.cli.conftest import Skerry
from tests.cli.manifests import SERVICE

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test

ZONE = ZoneName("plant")
SLOW = tuple(
    RefusedSite(
        SiteName(f"slow-{number:02}"),
        ZONE,
        Refusal.TOO_SLOW,
        50.0 + number,
        40.0,
        "ms",
        f"raise latency.p99_ms to {50 + number}",
        terms=ResponseTerms(12.0, 30.0 + number, 8.0),
    )
    for number in range(30)
)
SMALL = tuple(
    RefusedSite(SiteName(f"small-{number}"), None, Refusal.MEMORY, 64.0, 60.0 - number, "MiB", f"offer {4 + number}")
    for number in range(2)
)
BANNED = RefusedSite(SiteName("reef"), None, Refusal.BANNED, None, None, "", "take it out of affinity.bans")


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def placed(skerry: Skerry, running: RunningControl) -> RunningControl:
    skerry("apply", "-f", "-", stdin=SERVICE.encode())
    running.control.refused = (*SLOW, *SMALL, BANNED)
    return running


def test_many_refusals_are_counted_by_reason_with_the_nearest(skerry: Skerry, placed: RunningControl) -> None:
    told = words(skerry("explain", "digits").out)
    for wanted in (
        "Refused: 33 sites (--all lists each) REASON SITES NEAREST ACTUAL LIMIT MISSED BY MOST OF IT",
        "too-slow 30 slow-00, slow-01, slow-02 50 ms 40 ms 10 ms transfer 30 ms",
        "memory 2 small-0, small-1 64 MiB 60 MiB 4 MiB -",
        "banned 1 reef - - - -",
        "too-slow, slow-00: raise latency.p99_ms to 50",
    ):
        assert wanted in told
    assert "slow-03" not in told


@pytest.mark.parametrize("asked", [("--all",), ("-o", "wide")])
def test_each_is_listed_for_who_asks(skerry: Skerry, placed: RunningControl, asked: tuple[str, ...]) -> None:
    told = words(skerry("explain", "digits", *asked).out)
    assert "Refused SITE ZONE REASON ACTUAL LIMIT slow-00 plant too-slow 50 ms 40 ms" in told
    assert "slow-29: raise latency.p99_ms to 79" in told
    assert "reef all banned - -" in told


def test_a_few_refusals_are_listed_anyway(skerry: Skerry, placed: RunningControl) -> None:
    placed.control.refused = SMALL
    told = words(skerry("explain", "digits").out)
    assert "small-1 all memory 64 MiB 59 MiB small-0: offer 4 small-1: offer 5" in told


def test_what_nothing_touched_says_when_it_was_planned(skerry: Skerry, placed: RunningControl) -> None:
    assert "nothing touched it" not in skerry("explain", "digits").out
    placed.control.kept_s = 250.0
    said = "Planned 4m10s ago, and nothing touched it since: refusals and next bests are of then"
    assert said in words(skerry("explain", "digits").out)
    assert json.loads(skerry("explain", "digits", "-o", "json").out)["kept_s"] == 250.0


def test_what_would_help_is_told_with_its_price(skerry: Skerry, placed: RunningControl) -> None:
    told = words(skerry("explain", "digits").out)
    for wanted in (
        "ZONE REASON SITES NEAREST ACTUAL LIMIT MISSED BY MOST OF IT plant too-slow 1 local 61 ms 40 ms 21 ms "
        "round trip 42 ms",
        "plant latency.p99_ms PlacementPolicy default/line 40 ms 61 ms 25% +0.41 +0.1 -900",
        "plant: latency.p99_ms 40 -> 61 ms would serve it at local for 0.41 USD/h more",
        "plant: bound by memory of harbour, harbour-a: 0.02 USD/h for one MiB more, 1.28 USD/h for all it needs",
    ):
        assert wanted in told


def test_where_nothing_was_found_it_says_so(skerry: Skerry, placed: RunningControl) -> None:
    placed.control.remedies = (
        replace(REMEDY, relaxation=None, binding=None),
        replace(REMEDY, zone=ZoneName("yard"), relaxation=None, binding=None, trials=0),
    )
    told = words(skerry("explain", "digits").out)
    assert "What would help plant: no single change was found that would serve more of it" in told
    assert "yard: no change was looked for: a plan of this fleet takes too long" in told


def test_margins_and_cost_terms_are_in_both_units(skerry: Skerry, placed: RunningControl) -> None:
    told = words(skerry("explain", "digits").out)
    assert "NEXT BEST MARGIN MARGIN $/H harbour edge 2 litert-int8 18.5 ms 10 local 42.5 ms 0.31" in told
    assert "(kept: moving gains too little); $/h: egress 0.002, latency 1.85, replicas 0.05" in told


def test_all_of_it_is_in_the_documents(skerry: Skerry, placed: RunningControl) -> None:
    found = json.loads(skerry("explain", "digits", "-o", "json").out)
    assert found["remedies"][0]["relaxation"]["after"] == 61.0
    assert found["remedies"][0]["binding"]["constraint"] == ["memory", "harbour", "harbour-a"]
    assert found["placement"]["unserved"][0]["refused"][0]["missed"] == 21.0
    assert found["placement"]["chosen"][0]["margin_usd_per_hour"] == 0.31
    assert len(found["placement"]["refused"]) == 33
    assert yaml.safe_load(skerry("explain", "digits", "-o", "yaml").out) == found


def test_what_would_help_is_not_looked_for_where_nobody_asks(skerry: Skerry, placed: RunningControl) -> None:
    assert json.loads(skerry("explain", "digits", "--site", "harbour", "-o", "json").out)["remedies"] == []
    assert "What would help" not in skerry("describe", "svc/digits").out
