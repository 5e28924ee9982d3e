"""Counts from fronts and from nodes' LANs, as rates that are forecast from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.counting import CountedCalls
from orchestrator.control.observations import Observations
from orchestrator.control.snapshots import take_snapshot
from orchestrator.control.world import world_of
from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.placement.forecast import WINDOW_S, WINDOWS, forecast_rps
from protos.link.v1 import link_pb2
from tests.objects.documents_by_kind import document, stored

DIGITS = ServiceRef("default", "digits")
CITY = (DIGITS, ZoneName("city"))
HISTORY_S = WINDOW_S * WINDOWS


class Told:
    """Observations, and a front and a node that report twice a second what they counted."""

    def __init__(self, now_s: float = 1003.0) -> None:
        self.seen, self.now_s, self.total, self.epoch = Observations(), now_s, 0, 1
        self.attach()

    def attach(self) -> None:
        self.seen.front_attached(link_pb2.FrontHello(front="f", region="local"), self.now_s)

    def front(self, seconds: float, rps: float, step_s: float = 0.5) -> None:
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            calls = round(rps * step_s)
            demand = [demand_of(calls, round(step_s * 1000))] if calls else []
            self.seen.front_reported("f", link_pb2.FrontReport(demand=demand), self.now_s)  # type: ignore[arg-type]

    def node(self, seconds: float, rps: float, step_s: float = 2.0) -> None:
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.total += round(rps * step_s)
            self.node_says(self.total)

    def node_says(self, total: int) -> None:
        demand = [link_pb2.LanDemand(namespace="default", service="digits", calls=total)]
        report = link_pb2.NodeReport(held_revision=int(self.now_s), demand=demand)
        hello = link_pb2.NodeHello(node="n1", site="s1", epoch=self.epoch)
        states = [link_pb2.NodeState(hello=hello, report=report, attached=True)]
        self.seen.front_reported("f", link_pb2.FrontReport(nodes=states), self.now_s)  # type: ignore[arg-type]

    @property
    def city_rps(self) -> float:
        return self.seen.demand.by_zone_rps(self.now_s).get(CITY, 0.0)

    @property
    def lan_rps(self) -> float:
        return self.seen.demand.by_site_rps(self.now_s).get((DIGITS, SiteName("s1")), 0.0)


def demand_of(calls: int, window_ms: int, zone: str = "city", service: str = "digits") -> link_pb2.Demand:
    return link_pb2.Demand(namespace="default", service=service, zone=zone, calls=calls, window_ms=window_ms)


def test_a_steady_rate_is_forecast_as_its_p95() -> None:
    told = Told()
    told.front(60, 100)
    assert told.city_rps == pytest.approx(forecast_rps([1000.0] * 6), rel=0.01)
    assert 100 < told.city_rps < 110


def test_a_first_call_and_a_restarted_judge_see_little_and_never_too_much() -> None:
    told = Told()
    told.front(0.5, 2)
    assert 0 < told.city_rps < 0.5
    told = Told()
    told.front(3, 100)
    assert told.city_rps < 40  # 3 s of calls in a window of 10 s
    told.front(9, 100)
    assert 85 < told.city_rps < 115


def test_after_the_last_call_nothing_is_expected_within_the_stated_time() -> None:
    told = Told()
    told.front(60, 100)
    told.front(HISTORY_S, 0)
    assert told.city_rps == 0.0
    assert told.seen.demand.by_zone_rps(told.now_s) == {}


def test_a_time_without_reports_is_unknown_not_silent() -> None:
    told = Told()
    told.front(60, 100)
    before = told.city_rps
    told.now_s += 100
    assert told.city_rps == pytest.approx(before, rel=0.02)
    told.attach()
    told.front(20, 100)
    assert told.city_rps == pytest.approx(before, rel=0.02)


def test_what_a_front_counted_while_it_was_cut_off_came_over_all_that_time() -> None:
    told = Told()
    told.front(60, 100)
    before = told.city_rps
    told.now_s += 60
    told.attach()
    report = link_pb2.FrontReport(demand=[demand_of(6000, 60_000)])
    told.seen.front_reported("f", report, told.now_s)  # type: ignore[arg-type]
    assert told.city_rps == pytest.approx(before, rel=0.02)  # not 600 a second
    told.front(20, 0)
    assert told.city_rps == pytest.approx(100.0)  # the usual window


def test_calls_on_a_lan_are_differences_of_totals() -> None:
    told = Told()
    told.total = 1_000_000  # counted before anybody of us watched
    told.node(60, 50)
    expected = told.lan_rps
    assert 50 < expected < 60
    told.node_says(told.total)  # repeated
    told.node(20, 50)
    assert told.lan_rps == pytest.approx(expected, rel=0.05)
    assert told.city_rps == 0.0


def test_a_rebooted_node_counts_from_nothing_and_a_total_that_falls_is_refused() -> None:
    told = Told()
    told.node(60, 50)
    told.epoch, told.total = 2, 0
    told.node(60, 50)
    assert 50 < told.lan_rps < 60
    assert told.seen.refused() == []
    told.now_s += 1
    told.node_says(0)
    (refused,) = told.seen.refused()
    assert (refused.kind, refused.count) == ("demand", 1)
    assert "below 0" in refused.reason
    told.total = 0
    told.node(60, 50)
    assert 45 < told.lan_rps < 60


def test_what_a_lan_asks_for_is_the_demand_of_its_zone() -> None:
    told = Told()
    told.node(60, 50)
    documents = [
        document("Site", name="s1"),
        *(document("Zone", {"site": "s1"}, name=name) for name in ("hall-2", "hall-1")),
        document("ModelVersion", name="digits-1"),
        document("PlacementPolicy", name="line"),
        document("ModelService", name="digits"),
    ]
    world = world_of(map(stored, documents), ())
    taken = take_snapshot(world, told.seen, told.seen.observed(told.now_s), "local", told.now_s, told.now_s, 0.0)
    (service,) = taken.snapshot.services
    rates = {demand.zone: demand.rate_rps for demand in service.demands}
    assert rates == {"callers": 10, "hall-1": pytest.approx(told.lan_rps)}


@pytest.mark.parametrize(
    "demand",
    [demand_of(2**63, 500), demand_of(10, 500, service=""), demand_of(10, 500, zone="z" * 10_000)],
    ids=["absurd", "nameless", "endless"],
)
def test_counts_that_cannot_be_are_refused_and_the_others_stay(demand: link_pb2.Demand) -> None:
    told = Told()
    told.front(60, 100)
    before = told.city_rps
    told.seen.front_reported("f", link_pb2.FrontReport(demand=[demand]), told.now_s)  # type: ignore[arg-type]
    assert told.seen.demand.by_zone_rps(told.now_s) == {CITY: pytest.approx(before)}
    assert [refused.kind for refused in told.seen.refused()] == ["demand"]


def test_made_up_names_do_not_fill_the_memory() -> None:
    counted: CountedCalls[int] = CountedCalls(most_keys=5)
    for key in range(5):
        counted.count(key, "f", 1, 0.0, 1.0)
    counted.count(4, "f", 1, 1.0, 2.0)
    with pytest.raises(ValueError, match="5 pairs"):
        counted.count(5, "f", 1, 0.0, 1.0)
    assert counted.forecasts_rps(HISTORY_S + WINDOW_S) == {}
    counted.count(5, "f", 1, HISTORY_S, HISTORY_S + 1)


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 50), st.integers(0, 100)), max_size=40))
def test_however_reports_come_no_call_is_counted_twice(steps: list[tuple[float, float, int]]) -> None:
    counted: CountedCalls[str] = CountedCalls()
    now_s, most = 5000.0, 0
    for window_s, gap_s, calls in steps:
        now_s += gap_s
        counted.count("k", "f", calls, now_s - window_s, now_s)
        counted.heard("f", now_s - window_s, now_s)
        most += calls
    found = counted.forecasts_rps(now_s).get("k", 0.0)
    assert 0.0 <= found * WINDOW_S <= most + 2 * most**0.5 + 1
