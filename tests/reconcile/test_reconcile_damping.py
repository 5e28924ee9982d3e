"""Each change in its own time; what goes back and forth is held, unless it must move."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.model.ids import ServiceRef
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision
from orchestrator.model.specs import ServiceSpec, SiteSpec
from orchestrator.reconcile.damping import (
    GAIN_SETTLE_S,
    SETTLE_S,
    Admitted,
    Watches,
    admit,
    made,
    remembered,
    told,
    watched,
)
from orchestrator.reconcile.flapping import MOST_QUIET_S, QUIET_S, WINDOW_S, Swings
from orchestrator.reconcile.needs import Need, need_of
from orchestrator.reconcile.unloaded import unloaded
from tests.placement.worlds import (
    POLICY,
    SETTINGS,
    by_service,
    claim,
    counts,
    edge,
    relay_leg,
    service,
    shares,
    snapshot,
)
from tests.reconcile.simulated_fleet import cached_decision as decide

DIGITS = ServiceRef("default", "digits")
SITES = [edge("edge-a"), edge("edge-b"), edge("edge-c")]
CALM = service(replace(POLICY, latency_p99_ms=None))
LIMITED = service(replace(POLICY, latency_p99_ms=20.0))


def asked_of(
    *rtts_ms: float, wanted: Sequence[ServiceSpec] = (CALM,), at: str = "edge-a", sites: Sequence[SiteSpec] = SITES
) -> DecisionInputs:
    """Round trips of the sites in order; each service runs `at` one."""
    legs = [relay_leg(site.name, rtt_ms) for site, rtt_ms in zip(sites, rtts_ms, strict=True)]
    claims = [claim(at, one) for one in wanted if at]
    return DecisionInputs(snapshot(sites, legs, wanted, claims), SETTINGS, 0, "test")


class Loop:
    """The loop's part of the memory, without store and claims: one tick after the other."""

    def __init__(self, first: DecisionInputs) -> None:
        self.running: Decision = decide(first)
        self.watches: Watches = {}
        self.now_s = 0.0

    def tick(self, inputs: DecisionInputs, after_s: float = 0.5) -> Admitted | None:
        self.now_s += after_s
        proposed = decide(inputs)
        policies = {s.ref: s.policy for s in inputs.snapshot.services}
        self.watches = watched(self.watches, self.running, proposed, policies, (), self.now_s)
        self.watches, admitted = admit(self.watches, inputs, proposed, self.running, decide, self.now_s)
        if admitted is not None:
            self.watches = made(self.watches, self.running, admitted.decision, self.now_s)
            self.running = admitted.decision
        return admitted

    def run(self, inputs: DecisionInputs, until: str, limit_s: float) -> float:
        """Seconds until digits is there."""
        start_s = self.now_s
        while self.where() != until:
            self.tick(inputs)
            assert self.now_s - start_s <= limit_s, f"still at {self.where()} after {limit_s} s"
        return self.now_s - start_s

    def where(self) -> str:
        return "".join(counts(by_service(self.running)["digits"]))


NEAR_A, NEAR_B = asked_of(10, 14, 90), asked_of(30, 14, 90)


def test_a_gain_waits_for_a_minute_and_a_broken_limit_for_a_moment() -> None:
    assert GAIN_SETTLE_S <= Loop(NEAR_A).run(NEAR_B, "edge-b", 100) <= GAIN_SETTLE_S + 1
    slow = asked_of(30, 14, 90, wanted=[LIMITED])
    assert SETTLE_S <= Loop(asked_of(10, 14, 90, wanted=[LIMITED])).run(slow, "edge-b", 100) <= SETTLE_S + 1


def test_a_gain_that_was_gone_for_a_tick_waits_anew() -> None:
    loop = Loop(NEAR_A)
    assert loop.tick(NEAR_B, 1) is loop.tick(NEAR_B, 50) is None
    loop.tick(NEAR_A)
    assert loop.tick(NEAR_B, 20) is None
    assert loop.where() == "edge-a"


def test_a_gain_is_timed_whichever_site_is_the_better() -> None:
    loop = Loop(NEAR_A)
    for tick in range(200):
        loop.tick(NEAR_B if tick % 2 else asked_of(30, 90, 14))
    assert loop.where() != "edge-a"


def test_what_an_operator_asks_is_done_at_once() -> None:
    loop = Loop(NEAR_A)
    loop.tick(NEAR_A)
    banned = replace(CALM, policy=replace(CALM.policy, bans=frozenset({SITES[0].name})))
    assert loop.tick(asked_of(10, 14, 90, wanted=[banned])) is not None
    assert loop.where() == "edge-b"


def test_a_new_service_does_not_drag_along_what_waits() -> None:
    loop = Loop(NEAR_A)
    loop.tick(NEAR_B)
    ant = service(replace(POLICY, latency_p99_ms=None), name="ant")
    both = asked_of(30, 14, 90, wanted=[CALM, ant])
    both = replace(both, snapshot=replace(both.snapshot, claims=both.snapshot.claims[:1]))
    admitted = loop.tick(both)
    assert admitted is not None
    assert counts(by_service(loop.running)["ant"]) == {"edge-b": 1}
    assert loop.where() == "edge-a"
    assert decide(admitted.inputs) == admitted.decision, "what is stored replays equal"
    assert [one.service for one in admitted.inputs.carried] == [DIGITS]


def test_a_removed_service_goes_at_once() -> None:
    ant = service(name="ant")
    loop = Loop(asked_of(10, 14, 90, wanted=[CALM, ant]))
    loop.tick(NEAR_A)
    assert list(by_service(loop.running)) == ["digits"]


def flapping(inputs: DecisionInputs = NEAR_A) -> Loop:
    """After three reversals: it is at edge-a."""
    loop = Loop(inputs)
    for there in ("edge-b", "edge-a", "edge-b", "edge-a"):
        loop.run(NEAR_B if there == "edge-b" else asked_of(10, 30, 90, at="edge-b"), there, 100)
    return loop


def test_the_third_reversal_is_the_last_for_a_while() -> None:
    loop = flapping()
    assert loop.watches[DIGITS].swings.held
    assert QUIET_S <= loop.run(NEAR_B, "edge-b", 2_000) <= QUIET_S + 1
    there = asked_of(10, 30, 90, at="edge-b")
    assert 2 * QUIET_S <= loop.run(there, "edge-a", 4_000) <= 2 * QUIET_S + 1, "each hold asks for twice as much"


def test_a_held_service_leaves_what_breaks_a_limit() -> None:
    loop = flapping()
    slow = asked_of(30, 14, 90, wanted=[LIMITED])
    loop.watches = {DIGITS: replace(loop.watches[DIGITS], asked=LIMITED.policy)}
    assert loop.run(slow, "edge-b", 100) <= SETTLE_S + 1
    assert loop.watches[DIGITS].swings.held


def test_an_edited_policy_ends_a_hold() -> None:
    loop = flapping()
    edited = replace(CALM, policy=replace(CALM.policy, min_gain=0.09))
    loop.tick(asked_of(30, 14, 90, wanted=[edited]))
    assert loop.where() == "edge-b"
    assert not loop.watches[DIGITS].swings.held


def test_a_calm_while_ends_a_hold() -> None:
    loop = flapping()
    loop.tick(NEAR_A)
    loop.tick(NEAR_A, QUIET_S)
    assert not loop.watches[DIGITS].swings.held
    assert told(loop.watches[DIGITS]) == ""


def test_holds_are_bounded() -> None:
    assert Swings(holds=50).quiet_s == MOST_QUIET_S


def test_it_is_told_what_waits_and_what_would_help() -> None:
    loop = Loop(NEAR_A)
    loop.tick(NEAR_B)
    assert "60 s" in told(loop.watches[DIGITS])
    loop = flapping()
    loop.tick(NEAR_B)
    assert "stability.min_gain" in told(loop.watches[DIGITS])


def test_a_leg_that_our_calls_fill_counts_by_its_distance_and_no_other_does() -> None:
    busy = service(rate_rps=1_000, request_bytes=4_000, response_bytes=100)
    legs = [relay_leg(s, 30, rtt_p05_ms=9.0, rtt_p50_ms=12.0, up_bps=40e6, down_bps=40e6) for s in ("edge-a", "edge-b")]
    seen = snapshot(SITES, legs, [busy], [claim("edge-a", busy)])
    running = decide(DecisionInputs(seen, SETTINGS, 0, "test"))
    found = {path.site: path.legs[0] for path in unloaded(seen, running).paths}
    assert found["edge-a"].rtt_p99_ms == found["edge-a"].rtt_p50_ms == 9.0
    assert found["edge-b"] == legs[1], "it queues for somebody else's calls, or by itself"
    seldom = snapshot(SITES, legs, [replace(busy, demands=service(rate_rps=10).demands)], [claim("edge-a", busy)])
    assert unloaded(seldom, running) == seldom
    old = [replace(leg, rtt_p05_ms=None) for leg in legs]
    unknown = snapshot(SITES, old, [busy], [claim("edge-a", busy)])
    assert unloaded(unknown, running) == unknown


def test_a_restarted_loop_knows_what_flapped() -> None:
    a, b = decide(NEAR_A), decide(asked_of(30, 14, 90, at="edge-b"))
    decisions = [(100.0 * number, (a, b)[number % 2]) for number in range(5)]
    assert remembered(decisions)[DIGITS].swings.held
    assert not remembered(decisions[:4])[DIGITS].swings.held
    seldom = [(WINDOW_S * number, (a, b)[number % 2]) for number in range(5)]
    assert not remembered(seldom)[DIGITS].swings.held


def test_a_standby_that_became_too_slow_is_no_hurry_and_a_site_with_calls_is() -> None:
    two = replace(LIMITED, policy=replace(LIMITED.policy, replicas_min=2, min_failure_domains=2))
    before = by_service(decide(asked_of(10, 14, 16, wanted=[two])))["digits"]
    assert shares(before) == {"edge-a": 1.0, "edge-b": 0.0}
    slow = {name: by_service(decide(asked_of(*rtts, wanted=[two])))["digits"]
            for name, rtts in (("a", (30, 14, 16)), ("b", (10, 30, 16)))}  # fmt: skip
    assert need_of(before, slow["a"]) is Need.CALLS
    assert need_of(before, slow["b"]) is Need.GAIN
    assert need_of(before, before) is Need.NONE


def test_a_rule_that_could_be_kept_again_is_no_mere_gain() -> None:
    two = replace(LIMITED, policy=replace(LIMITED.policy, replicas_min=2, min_failure_domains=2))
    short, whole = (
        by_service(decide(asked_of(*rtts, wanted=[two])))["digits"] for rtts in ((10, 90, 90), (10, 14, 90))
    )
    assert counts(short) == {"edge-a": 2}
    assert need_of(short, whole) is Need.CALLS
