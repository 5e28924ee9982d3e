"""What a front is told and when: changes that add up to the whole, one at a time, and what was kept while alone."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.front.merging import merged
from protos.link.v1 import link_pb2 as pb
from workers.edge.assignment import LanDemand, Phase, ReplicaState, Report
from workers.edge.reports import MOST_KEPT, MOST_KEPT_BYTES, Reports
from workers.edge.resources import Usage
from workers.edge.wire import MOST_REASON, report_to, usage_to
from workers.probe.legs import LegEstimate, LegWindow, RoundTrip

REST_S = 20.0


def leg(*rtts_ms: float, age_s: float = 0.0) -> LegEstimate:
    window = LegWindow("site/s", "front/f")
    for rtt_ms in rtts_ms:
        window.add(RoundTrip(rtt_ms, "test"), 0.0)
    found = window.estimate(0.0)
    assert found is not None
    return replace(found, newest_age_s=age_s)


def report(phase: Phase = Phase.READY, calls: int = 0, legs: tuple[LegEstimate, ...] = (), reason: str = "") -> Report:
    demand = (LanDemand("default", "digits", calls),) if calls else ()
    return Report(1, (ReplicaState("r", "r.1", phase, reason),), legs, demand)


def attached(deltas: bool = True, rest_s: float = REST_S) -> Reports:
    reports = Reports()
    reports.opened(deltas, rest_s)
    return reports


def told(reports: Reports, now_s: float = 0.0) -> pb.NodeReport:
    message = reports.next(now_s)
    assert message is not None
    reports.taken(pb.ReportTaken(number=message.number))
    return message


STATES = st.builds(
    ReplicaState,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(Phase),
    st.sampled_from(["", "no room"]),
    restarts=st.integers(0, 2),
)
USED = Usage(0.5, 1 << 30, 64 << 20, 0, 1 << 30, None, sample=1)
REPORTS = st.builds(
    Report,
    st.integers(1, 3),
    st.lists(STATES, max_size=3, unique_by=lambda each: each.replica).map(tuple),
    st.sampled_from([(), (leg(10.0),), (leg(10.0, 11.0),), (leg(50.0),)]),
    st.lists(
        st.builds(LanDemand, st.just("default"), st.sampled_from("xy"), st.integers(1, 9)),
        max_size=2,
        unique_by=lambda each: each.service,
    ).map(lambda each: tuple(sorted(each, key=lambda one: one.service))),
    usage=st.sampled_from([None, USED, replace(USED, cpu_share=0.9, sample=2)]),
)


@given(st.lists(st.tuples(REPORTS, st.sampled_from(["taken", "slow", "whole", "refused"])), max_size=12))
def test_what_is_sent_adds_up_to_what_was_told_and_one_is_on_its_way_at_a_time(story) -> None:
    """But for legs that hardly changed, and for demand and legs that a report leaves out: totals do not fall."""
    reports, held = attached(), None
    for now, answer in story:
        reports.made(now, 0.0)
        message = reports.next(0.0)
        assert reports.next(0.0) is None or message is None
        if message is None:
            continue
        if answer == "slow":
            assert reports.next(0.0) is None
            answer = "taken"
        if answer in ("whole", "refused"):
            reports.taken(pb.ReportTaken(number=message.number, refused="no", whole=answer == "whole"))
            if answer == "refused":
                return
            held = None
            continue
        held = merged(held, message)
        reports.taken(pb.ReportTaken(number=message.number))
        assert held.held_revision == now.held_revision
        whole = {each.replica: each for each in report_to(now).replicas}
        assert {each.replica: each for each in held.replicas} == whole
        counted = {each.service: each.calls for each in held.demand}
        assert counted | {each.service: each.calls for each in now.demand} == counted
        assert now.usage is None or held.usage == usage_to(now.usage)
    assert reports.next(0.0) is None or reports.next(0.0) is None


def test_usage_is_told_when_it_was_announced_anew_and_of_an_outage_only_the_last() -> None:
    reports = attached()
    reports.made(replace(report(), usage=USED), 0.0)
    assert told(reports).usage.sample == 1
    reports.made(replace(report(calls=1), usage=USED), 1.0)
    assert not told(reports).HasField("usage"), "it was told before"
    reports.made(replace(report(calls=1), usage=replace(USED, sample=2)), 2.0)
    alone = told(reports)
    assert (alone.delta, alone.usage.sample, len(alone.replicas)) == (True, 2, 0)
    reports.lost()
    reports.made(replace(report(Phase.FAILED), usage=replace(USED, sample=3)), 3.0)
    reports.opened(True, REST_S)
    whole = told(reports, 9.0)
    assert whole.usage.sample == 3
    assert [each.report.HasField("usage") for each in whole.kept] == [False]


def test_an_idle_node_says_nothing_and_a_leg_that_moved_is_told() -> None:
    reports = attached()
    reports.made(report(legs=(leg(10.0, 10.0),)), 0.0)
    first = told(reports)
    assert not first.delta
    assert first.legs_hold_ms == 1000 * REST_S
    reports.made(report(legs=(leg(10.0, 10.1, age_s=15.0),)), 0.0)
    assert reports.next(0.0) is None
    reports.made(report(legs=(leg(20.0, 20.0),)), 0.0)
    second = told(reports)
    assert second.delta
    assert (len(second.legs), len(second.replicas)) == (1, 0)


def test_a_leg_that_nobody_measures_any_more_grows_old() -> None:
    reports = attached()
    reports.made(report(legs=(leg(10.0),)), 0.0)
    told(reports)
    reports.made(report(legs=(leg(10.0, age_s=3 * REST_S),)), 0.0)
    late = told(reports)
    assert late.legs_hold_ms == 0
    assert late.legs[0].newest_age_ms == 3000 * REST_S
    reports.made(report(legs=(leg(10.0),)), 0.0)
    assert told(reports).legs_hold_ms == 1000 * REST_S


def test_many_small_steps_of_a_leg_are_told_in_the_end() -> None:
    reports, heard_ms = attached(), []
    for step in range(50):
        reports.made(report(legs=(leg(10.0 * 1.02**step),)), 0.0)
        if message := reports.next(0.0):
            heard_ms.append(message.legs[0].rtt_p50_ms)
            reports.taken(pb.ReportTaken(number=message.number))
    assert 8 <= len(heard_ms) <= 12
    assert heard_ms[-1] > 0.9 * 10.0 * 1.02**49


def test_a_front_that_knows_no_changes_is_sent_each_report_whole_and_asked_for_no_answer() -> None:
    reports = attached(deltas=False, rest_s=0.0)
    for calls in (1, 2):
        reports.made(report(calls=calls), 0.0)
        sent = reports.next(0.0)
        assert sent == report_to(report(calls=calls))
        assert (sent.number, sent.delta) == (0, False)
        assert reports.next(0.0) is None


def test_what_was_refused_is_not_sent_again_until_it_changes() -> None:
    reports = attached()
    reports.made(report(reason="x"), 0.0)
    first = reports.next(0.0)
    assert first is not None
    reports.taken(pb.ReportTaken(number=first.number + 7))
    assert reports.next(0.0) is None, "an answer to another report is none to this"
    reports.taken(pb.ReportTaken(number=first.number, refused="too large"))
    assert reports.next(0.0) is None
    reports.made(report(reason="y"), 0.0)
    assert reports.next(0.0) is not None


def test_what_happened_while_alone_is_sent_once_with_its_ages() -> None:
    reports = attached()
    reports.made(report(calls=1), 0.0)
    told(reports)
    reports.lost()
    for now_s, phase, calls in ((100.0, Phase.READY, 1), (200.0, Phase.READY, 5), (205.0, Phase.READY, 6)):
        reports.made(report(phase, calls), now_s)
    reports.made(report(Phase.FAILED, 7), 206.0)
    reports.opened(True, REST_S)
    whole = told(reports, 300.0)
    assert not whole.delta
    kept = [(each.age_ms, each.report.demand[0].calls, each.report.replicas[0].phase) for each in whole.kept]
    ready, failed = pb.REPLICA_PHASE_READY, pb.REPLICA_PHASE_FAILED
    assert kept == [(200_000, 1, ready), (100_000, 5, ready), (94_000, 7, failed)]
    reports.lost()
    reports.opened(True, REST_S)
    assert not told(reports, 400.0).kept


def test_what_was_kept_stays_until_a_front_has_taken_it() -> None:
    reports = Reports()
    reports.made(report(calls=1), 0.0)
    for now_s in (10.0, 20.0):
        reports.opened(True, REST_S)
        sent = reports.next(now_s)
        assert sent is not None
        assert [each.age_ms for each in sent.kept] == [1000 * now_s]
        reports.lost()


def test_an_endless_outage_fills_nothing_and_is_spanned_to_its_end() -> None:
    reports = Reports()
    for number in range(10_000):
        reports.made(report(calls=number + 1), 10.0 * number)
    reports.opened(True, REST_S)
    kept = told(reports, 100_000.0).kept
    assert MOST_KEPT // 4 < len(kept) <= MOST_KEPT
    assert kept[-1].report.demand[0].calls > 9_900
    assert kept[0].age_ms > 50_000_000


def test_endless_reasons_are_cut_and_kept_within_their_bytes() -> None:
    reports = Reports()
    for number in range(200):
        reports.made(report(reason=f"{number} " + "x" * 30_000), 10.0 * number)
    reports.opened(True, REST_S)
    sent = told(reports)
    assert len(sent.replicas[0].reason) == MOST_REASON
    assert sent.ByteSize() < MOST_KEPT_BYTES
