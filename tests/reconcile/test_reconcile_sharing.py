"""A step keeps the whole, moves no more than it may from sites that could keep their calls, and arrives."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.phases import ReplicaPhase
from orchestrator.model.snapshot import Interval, Refusal, RefusedSite, ServiceDecision, Share
from orchestrator.reconcile.observed import SeenReplica
from orchestrator.reconcile.routes import Serving
from orchestrator.reconcile.sharing import LONGEST_STEP_S, SHARE_PER_S, step_service, step_shares
from tests.placement.worlds import claim, service

SITES = [SiteName(name) for name in ("edge-a", "edge-b", "edge-c", "cloud")]


@st.composite
def shares(draw: st.DrawFn) -> dict[SiteName, float]:
    parts = draw(st.dictionaries(st.sampled_from(SITES), st.integers(1, 100), min_size=1))
    return {site: part / sum(parts.values()) for site, part in parts.items()}


able = st.sets(st.sampled_from(SITES))
bounds = st.floats(0.001, 1.0)


@given(held=shares(), goal=shares(), able=able, most=bounds)
def test_a_step_is_whole_and_bounded(
    held: dict[SiteName, float], goal: dict[SiteName, float], able: set[SiteName], most: float
) -> None:
    stepped = step_shares(held, goal, able, most)
    assert abs(sum(stepped.values()) - 1) < 1e-9
    assert stepped.keys() <= (held.keys() & able) | goal.keys()
    left = {site: held[site] - stepped.get(site, 0.0) for site in held.keys() & able}
    assert sum(max(part, 0.0) for part in left.values()) <= most + 1e-9
    for site, share in stepped.items():
        low, high = sorted((held.get(site, 0.0), goal.get(site, 0.0)))
        assert low - 1e-9 <= share <= high + 1e-9, "it neither overshoots nor turns back"


@given(held=shares(), goal=shares(), most=bounds)
def test_what_cannot_stay_goes_at_once(held: dict[SiteName, float], goal: dict[SiteName, float], most: float) -> None:
    assert step_shares(held, goal, (), most).keys() <= goal.keys()
    for site, share in step_shares(held, goal, (), most).items():
        assert abs(share - goal[site]) < 1e-9


@given(held=shares(), goal=shares(), able=able, most=st.floats(0.05, 1.0))
def test_steps_arrive_at_the_goal_to_the_bit(
    held: dict[SiteName, float], goal: dict[SiteName, float], able: set[SiteName], most: float
) -> None:
    for _ in range(int(1 / most) + 2):
        held = step_shares(held, goal, able, most)
    assert held == goal


def test_a_move_of_all_calls_takes_five_equal_steps() -> None:
    held, goal = {SITES[0]: 1.0}, {SITES[1]: 1.0}
    seen = []
    for _ in range(5):
        held = step_shares(held, goal, SITES, 0.2)
        seen.append(round(held.get(SITES[0], 0.0), 9))
    assert seen == [0.8, 0.6, 0.4, 0.2, 0.0]


def test_a_lost_sites_calls_go_at_once_while_others_still_step() -> None:
    held = {SITES[0]: 0.5, SITES[1]: 0.5}
    stepped = step_shares(held, {SITES[2]: 1.0}, [SITES[1], SITES[2]], 0.1)
    assert {site: round(share, 9) for site, share in stepped.items()} == {SITES[1]: 0.4, SITES[2]: 0.6}


ZONE = ZoneName("callers")
WANTED = service()


def decided_of(goal: dict[SiteName, float], refused: dict[SiteName, Refusal]) -> ServiceDecision:
    return ServiceDecision(
        service=WANTED.ref,
        version=WANTED.version.ref,
        policy="policy",
        chosen=(),
        shares=tuple(Share(ZONE, site, share, Interval(1, 2, 3), ()) for site, share in goal.items()),
        refused=tuple(RefusedSite(site, ZONE, reason, None, None, "", "") for site, reason in refused.items()),
        unserved=(),
        usd_per_hour=0.0,
    )


def ready_at(sites: set[SiteName], goal: dict[SiteName, float]) -> list[Serving]:
    claims = [claim(site, WANTED) for site in sorted(sites)]
    seen = [SeenReplica(one.id, "i", ReplicaPhase.READY) for one in claims]
    return [Serving(one, saw, "digits-2", one.site in goal) for one, saw in zip(claims, seen, strict=True)]


@given(
    held=shares(),
    goal=shares(),
    ready=able,
    refused=st.dictionaries(st.sampled_from(SITES), st.sampled_from([Refusal.TOO_SLOW, Refusal.OUTRANKED])),
    elapsed_s=st.floats(0.1, 60),
)
def test_calls_go_to_ready_replicas_only_and_leave_what_breaks_a_limit_at_once(
    held: dict[SiteName, float],
    goal: dict[SiteName, float],
    ready: set[SiteName],
    refused: dict[SiteName, Refusal],
    elapsed_s: float,
) -> None:
    refused = {site: reason for site, reason in refused.items() if site not in goal}
    decided = decided_of(goal, refused)
    step = step_service(decided, decided, ready_at(ready, goal), {ZONE: held}, elapsed_s)
    found = step.zones[ZONE]
    assert found.keys() <= ready
    assert not ready or abs(sum(found.values()) - 1) < 1e-9, "whole, or nobody is ready"
    slow = {site for site, reason in refused.items() if reason is Refusal.TOO_SLOW}
    if ready - slow:
        assert not found.keys() & slow
    if ready & goal.keys():
        asked = sum(max(held.get(site, 0.0) - found.get(site, 0.0), 0.0) for site in ready - slow)
        assert asked <= SHARE_PER_S * LONGEST_STEP_S + 1e-9 or not held.keys() & ready
        assert {site for site in found if site not in goal} <= step.leaving
