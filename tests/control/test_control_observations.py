"""What reports say of legs: what is believed, what is merged, and what never reaches the planner."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.observations import MOST_LEGS, Observations
from orchestrator.control.parts import running_parts
from orchestrator.control.refusals import MOST_KEPT
from orchestrator.model.legs import Leg
from protos.link.v1 import link_pb2
from workers.probe.legs import LegWindow, RoundTrip, Transfer
from workers.probe.sketch import ACCURACY, MOST_MS, MOST_SAMPLES, RttSketch
from workers.probe.wire import leg_message

NOW_S = 100.0
WILD = [math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 1e-300, 1e300, 60_000.1, 5.0, 10.0]


def old_leg(source: str = "site/s1", target: str = "front/f", **said: object) -> link_pb2.LegEstimate:
    """As an agent sends it that knows nothing of sketches."""
    figures = {"rtt_p50_ms": 10.0, "rtt_p99_ms": 12.0, "up_bps": 1e7, "down_bps": 2e7, "samples": 60} | said
    return link_pb2.LegEstimate(source=source, target=target, method="grpc-echo-min3", newest_age_ms=500, **figures)  # type: ignore[arg-type]


def new_leg(*rtts_ms: float, bps: float = 1e7) -> link_pb2.LegEstimate:
    window = LegWindow("site/s1", "front/f")
    window.add(Transfer(round(bps / 8), 1.0, round(bps / 8), 1.0, "test"), 0.0)
    for rtt_ms in rtts_ms:
        window.add(RoundTrip(rtt_ms, "test"), 0.0)
    estimate = window.estimate(0.0)
    assert estimate is not None
    return leg_message(estimate)


def node(
    *legs: link_pb2.LegEstimate, name: str = "n1", attached: bool = True, silent_ms: int = 0
) -> link_pb2.NodeState:
    hello = link_pb2.NodeHello(node=name, site="s1", epoch=1)
    report = link_pb2.NodeReport(legs=legs)
    return link_pb2.NodeState(hello=hello, report=report, attached=attached, silent_ms=silent_ms)


def seeing(*nodes: link_pb2.NodeState, legs: tuple[link_pb2.LegEstimate, ...] = ()) -> Observations:
    seen = Observations()
    seen.front_attached(link_pb2.FrontHello(front="f", region="local"), NOW_S)
    report(seen, *nodes, legs=legs)
    return seen


def report(
    seen: Observations,
    *nodes: link_pb2.NodeState,
    legs: tuple[link_pb2.LegEstimate, ...] = (),
    now_s: float = NOW_S,
) -> None:
    seen.front_reported("f", link_pb2.FrontReport(nodes=nodes, legs=legs), now_s)  # type: ignore[arg-type]


def test_an_agent_that_knows_nothing_of_sketches_is_believed_as_far_as_it_goes() -> None:
    (leg,) = seeing(node(old_leg())).legs(NOW_S)
    assert (leg.rtt_p50_ms, leg.rtt_p99_ms, leg.up_bps, leg.down_bps, leg.samples) == (10.0, 12.0, 1e7, 2e7, 60)
    assert (leg.rtt_p95_ms, leg.rtt_p99_low_ms, leg.up_p10_bps, leg.down_p10_bps) == (None, None, None, None)
    assert leg.rtt_p05_ms is None
    assert leg.rtt_p99_high_ms == pytest.approx(12 * 1.547, rel=0.001)  # 60 samples: 55% lie beyond the worst
    assert leg.age_s == 0.5


def test_what_a_window_says_arrives() -> None:
    (leg,) = seeing(node(new_leg(*[10.0] * 30, 20.0))).legs(NOW_S)
    assert leg.rtt_p05_ms == leg.rtt_p95_ms == pytest.approx(10.0, rel=ACCURACY)
    assert leg.rtt_p99_ms == 20.0
    assert leg.rtt_p99_high_ms is not None
    assert leg.rtt_p99_high_ms > 20.0
    assert (leg.up_p10_bps, leg.down_p10_bps) == (1e7, 1e7)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"rtt_p50_ms": 0.0}, "rtt_p50_ms"),
        ({"rtt_p50_ms": -1.0}, "rtt_p50_ms"),
        ({"rtt_p50_ms": math.nan}, "rtt_p50_ms"),
        ({"rtt_p99_ms": math.inf}, "rtt_p99_ms"),
        ({"rtt_p99_ms": 9.0}, "rtt_p99_ms"),
        ({"rtt_p99_ms": MOST_MS + 1}, "rtt_p99_ms"),
        ({"rtt_p05_ms": 10.5}, "rtt_p05_ms"),
        ({"rtt_p05_ms": math.nan}, "rtt_p05_ms"),
        ({"rtt_p95_ms": 13.0}, "rtt_p95_ms"),
        ({"rtt_p95_ms": math.nan}, "rtt_p95_ms"),
        ({"rtt_p99_low_ms": 13.0}, "rtt_p99_low_ms"),
        ({"rtt_p99_high_ms": 11.0}, "rtt_p99_high_ms"),
        ({"rtt_p99_high_ms": math.inf}, "rtt_p99_high_ms"),
        ({"up_bps": -1.0}, "up_bps"),
        ({"down_bps": math.nan}, "down_bps"),
        ({"up_bps": 1e13}, "up_bps"),
        ({"up_p10_bps": 2e7}, "up_p10_bps"),
        ({"samples": 0}, "samples"),
        ({"samples": MOST_SAMPLES + 1}, "samples"),
        ({"source": "site/s2"}, "source"),
        ({"target": ""}, "target"),
    ],
)
def test_what_nobody_can_have_measured_is_refused_with_its_field_and_shown(
    said: dict[str, object], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = seeing(node(old_leg(**said)))
    assert seen.legs(NOW_S) == []
    (refused,) = seen.refused()
    assert (refused.kind, refused.count) == ("leg", 1)
    assert refused.reason.startswith(field) or f"{field} " in refused.reason
    assert [record.getMessage() for record in caplog.records] == ["measurement refused"]
    assert any(part.phase == "refused" and field in part.detail for part in running_parts(seen, "", NOW_S, {}))


@given(
    st.builds(
        old_leg,
        **{
            field: st.sampled_from(WILD)
            for field in ("rtt_p05_ms", "rtt_p50_ms", "rtt_p95_ms", "rtt_p99_ms", "rtt_p99_low_ms", "rtt_p99_high_ms")
        },
        **{field: st.sampled_from(WILD) for field in ("up_bps", "down_bps", "up_p10_bps", "down_p10_bps")},
        samples=st.sampled_from([0, 1, 9, 2**32 - 1]),
        source=st.sampled_from(["site/s1", "site/s1", "site/s1", "site/s2", "front/f", ""]),
    ),
    st.builds(
        link_pb2.Sketch,
        accuracy=st.sampled_from([ACCURACY, 0.5, math.nan]),
        keys=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        counts=st.lists(st.integers(0, 2**32 - 1), max_size=4),
        least_ms=st.sampled_from(WILD),
        worst_ms=st.sampled_from(WILD),
    ),
)
def test_whatever_a_hostile_agent_says_the_planner_sees_only_round_trips(
    leg: link_pb2.LegEstimate, sketch: link_pb2.Sketch
) -> None:
    """Beside it an honest node of the same site: the leg stays measured."""
    leg.round_trips.CopyFrom(sketch)
    seen = seeing(node(leg, name="n1"), node(new_leg(10.0, 11.0), name="n2"))
    legs = seen.legs(NOW_S)
    assert any(leg.samples == 2 for leg in legs) or len(legs) == 1
    for each in legs:
        _check(each)


def _check(leg: Leg) -> None:
    assert leg.source == "site/s1"
    assert leg.rtt_p99_high_ms is not None
    assert 0 < leg.rtt_p50_ms <= (leg.rtt_p95_ms or leg.rtt_p99_ms) <= leg.rtt_p99_ms <= leg.rtt_p99_high_ms < math.inf
    assert 0 < (leg.rtt_p99_low_ms or leg.rtt_p50_ms) <= leg.rtt_p99_ms
    assert all(bps is None or 0 < bps < math.inf for bps in (leg.up_bps, leg.down_bps, leg.up_p10_bps))


def test_a_broken_agent_is_counted_and_named_once() -> None:
    seen = seeing()
    for second in range(5):
        report(seen, node(old_leg(rtt_p50_ms=math.nan, samples=second + 1)), now_s=NOW_S + second)
    (refused,) = seen.refused()
    assert (refused.name, refused.count, refused.at_s) == ("site/s1 -> front/f", 5, NOW_S + 4)


def test_made_up_names_do_not_fill_the_memory() -> None:
    many = [old_leg(target=f"front/{number}", samples=0) for number in range(3 * MOST_KEPT)]
    seen = seeing(*[node(leg, name=f"n{number}") for number, leg in enumerate(many)])
    assert len(seen.refused()) == MOST_KEPT
    good = [old_leg(target=f"front/{number}") for number in range(10 * MOST_LEGS)]
    assert len(seeing(node(*good)).legs(NOW_S)) == MOST_LEGS


def test_two_nodes_of_a_site_measure_one_leg_together() -> None:
    seen = seeing(node(new_leg(*[10.0] * 20, bps=1e7), name="n1"), node(new_leg(*[30.0] * 20, bps=3e7), name="n2"))
    (leg,) = seen.legs(NOW_S)
    assert leg.samples == 40
    assert leg.rtt_p50_ms == pytest.approx(10.0, rel=ACCURACY)
    assert leg.rtt_p99_ms == 30.0
    assert (leg.up_bps, leg.up_p10_bps) == (1e7, 1e7)


def test_two_nodes_that_claim_every_sample_there_can_be_stop_nothing() -> None:
    full = new_leg(10.0)
    full.samples = full.round_trips.counts[0] = MOST_SAMPLES
    (leg,) = seeing(node(full, name="n1"), node(full, name="n2")).legs(NOW_S)
    assert (leg.samples, leg.rtt_p99_ms) == (MOST_SAMPLES, 10.0)


@given(st.permutations([10.0, 20.0, 30.0]))
def test_the_order_of_nodes_does_not_matter(order: list[float]) -> None:
    states = [node(new_leg(*[rtt_ms] * 5), name=f"n{rtt_ms:g}") for rtt_ms in order]
    (leg,) = seeing(*states).legs(NOW_S)
    whole = RttSketch(rtt_ms for rtt_ms in order for _ in range(5))
    assert (leg.rtt_p50_ms, leg.rtt_p99_ms) == (whole.quantile(0.5), 30.0)


def test_a_silent_node_says_nothing_beside_one_that_measures() -> None:
    silent = node(new_leg(*[500.0] * 20), name="n1", attached=False, silent_ms=3000)
    (leg,) = seeing(silent, node(new_leg(*[10.0] * 5), name="n2")).legs(NOW_S)
    assert (leg.samples, leg.rtt_p99_ms) == (5, 10.0)
    (alone,) = seeing(silent).legs(NOW_S + 50)
    assert (alone.rtt_p99_ms, alone.age_s) == (500.0, 0.0)  # it stopped ageing: its policy decides


def test_estimates_without_sketches_stay_apart_and_beside_a_sketch_do_not_count() -> None:
    old = [node(old_leg(rtt_p99_ms=20.0 + number), name=f"old-{number}") for number in range(2)]
    assert sorted(leg.rtt_p99_ms for leg in seeing(*old).legs(NOW_S)) == [20.0, 21.0]
    (leg,) = seeing(*old, node(new_leg(10.0, 10.0), name="new")).legs(NOW_S)
    assert leg.samples == 2


def test_a_report_that_a_front_repeats_grows_older() -> None:
    seen = seeing(node(old_leg()), legs=(old_leg("front/f", "region/local"),))
    report(seen, node(old_leg()), now_s=NOW_S + 20)
    ages = {leg.source: leg.age_s for leg in seen.legs(NOW_S + 20)}
    assert ages["site/s1"] == 20.5
    report(seen, node(old_leg(rtt_p99_ms=13.0)), now_s=NOW_S + 21)
    assert {leg.source: leg.age_s for leg in seen.legs(NOW_S + 21)}["site/s1"] == 0.5


def test_a_node_or_front_that_boots_has_what_was_measured_before_until_it_measures() -> None:
    seen = seeing(node(old_leg()))
    booted = node()
    booted.ClearField("report")  # the front was restarted, and has only heard the node's hello
    for silent in (booted, node()):
        report(seen, silent, now_s=NOW_S + 20)
        (leg,) = seen.legs(NOW_S + 30)
        assert leg.age_s == 30.5
    report(seen, node(old_leg(rtt_p99_ms=13.0)), now_s=NOW_S + 31)
    (leg,) = seen.legs(NOW_S + 31)
    assert (leg.age_s, leg.rtt_p99_ms) == (0.5, 13.0)


def test_a_front_measures_from_itself_only() -> None:
    seen = seeing(legs=(old_leg("front/f", "region/local"), old_leg("front/other", "region/local")))
    assert [leg.source for leg in seen.legs(NOW_S)] == ["front/f"]


def test_a_leg_that_stays_does_not_keep_the_report_that_brought_it() -> None:
    """A part keeps all of its message: a hundred legs of reports of 2,000 nodes kept 204 MiB, their copies keep 5."""
    seen = seeing(legs=(old_leg("front/f", "region/local"),))
    state = node(old_leg())
    brought = link_pb2.FrontReport(nodes=[state], legs=[old_leg("front/f", "region/local")])
    seen.front_reported("f", brought, NOW_S)  # type: ignore[arg-type]
    parts = [*brought.nodes[0].report.legs, *brought.legs]
    kept = [leg for held in seen._nodes.values() for leg in held.legs]
    kept += [leg for front in seen._fronts.values() for leg, _ in front.legs.values()]
    assert len(kept) == 2
    assert not [leg for leg in kept if any(leg is part for part in parts)]
    assert len(seen.legs(NOW_S)) == 2
