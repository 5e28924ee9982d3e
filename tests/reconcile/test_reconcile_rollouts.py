"""Waves of sites: never more at a time than the policy lets, and a site that fails is back at what it served before."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.model.ids import SiteName, VersionRef
from orchestrator.reconcile.rollouts import Rollout, RolloutPhase, SiteState, WaveRules, over, step, told, version_at

V1, V2, V3 = (VersionRef("default", f"digits-{number}") for number in (1, 2, 3))
NAMES = [SiteName(f"edge-{letter}") for letter in "abcdefgh"]
RULES = WaveRules(sites=2, pause_s=10, max_failures=1, ready_within_s=60, max_error_share=0.5)


@dataclass
class Site:
    """A site on paper: what it runs follows what it is told, unless it is silent."""

    runs: VersionRef
    attached: bool = True
    ready: bool = True
    started_s: float = 0.0
    failure: str = ""
    calls: tuple[int, int] = (0, 0)


@dataclass
class Fleet:
    sites: dict[SiteName, Site]
    rules: WaveRules = RULES
    decided: VersionRef = V1
    asked: str = "1"
    frozen: bool = False
    now_s: float = 0.0
    rollout: Rollout | None = None
    breaks: set[SiteName] = field(default_factory=set)  # where the new version does not load
    seen: set[VersionRef] = field(default_factory=set)

    def states(self) -> dict[SiteName, SiteState]:
        return {
            name: SiteState(
                attached=site.attached,
                wanted=True,
                runs=frozenset({site.runs}),
                serves=site.runs if site.ready else None,
                ready=site.ready and site.attached and site.runs == self.decided,
                starting_since_s=None if site.ready or site.runs != self.decided else site.started_s,
                failure=site.failure if site.attached and site.runs == self.decided else "",
                calls=site.calls[0],
                failed=site.calls[1],
                share=1 / len(self.sites),
            )
            for name, site in self.sites.items()
        }

    def tick(self, seconds: float = 1.0) -> None:
        self.now_s += seconds
        self.rollout = step(
            self.rollout,
            self.decided,
            self.states(),
            self.rules,
            asked=self.asked,
            frozen=self.frozen,
            now_s=self.now_s,
        )
        if self.rollout and self.rollout.phase is RolloutPhase.ABORTED and self.decided == self.rollout.version:
            self.decided = self.rollout.before  # as the planner does: an aborted version is given up
        for name, site in self.sites.items():
            wanted = version_at(self.rollout, self.decided, name, frozenset({site.runs}))
            if site.attached and site.runs != wanted:
                broken = wanted == V2 and name in self.breaks
                site.runs, site.ready, site.started_s = wanted, False, self.now_s
                site.failure = "the file is cut short" if broken else ""
                site.calls = (0, 0)

    def obey(self) -> None:
        """Whoever is attached and can has started what it was told."""
        for site in self.sites.values():
            site.ready = site.ready or (site.attached and not site.failure)

    def run(self, ticks: int = 60, seconds: float = 5.0) -> "Fleet":
        for _ in range(ticks):
            self.tick(seconds)
            self.obey()
        return self

    def at(self, version: VersionRef) -> list[SiteName]:
        return [name for name, site in self.sites.items() if site.runs == version]


def fleet(count: int = 5, **changed: object) -> Fleet:
    found = Fleet({name: Site(V1) for name in NAMES[:count]}, **changed)  # type: ignore[arg-type]
    found.tick()
    assert found.rollout is None  # the first version of a service goes everywhere at once
    found.decided = V2
    return found


def test_waves_follow_each_other_once_the_last_one_was_watched() -> None:
    going = fleet()
    going.tick()
    assert going.at(V2) == NAMES[:2]
    for _ in range(20):
        going.tick()
    assert going.at(V2) == NAMES[:2]  # nobody is ready yet
    going.obey()
    going.tick()
    going.tick(9)
    assert going.at(V2) == NAMES[:2]
    going.tick(1)
    assert going.at(V2) == NAMES[:4]
    assert told(going.rollout, going.states(), RULES, False).startswith(  # type: ignore[arg-type]
        "version digits-2 in place of digits-1: wave 2, 2 sites have it, edge-c, edge-d changing, 1 to come"
    )
    going.run()
    assert going.rollout is not None
    assert (going.at(V2), going.rollout.phase, going.rollout.wave) == (NAMES[:5], RolloutPhase.DONE, 3)
    assert over(going.rollout, V2, "1")


@pytest.mark.parametrize(("sites", "first"), [(None, 5), (0.2, 1), (0.5, 3), (1.0, 1), (9.0, 5)])
def test_a_wave_is_a_number_or_a_part_of_all_sites(sites: float | None, first: int) -> None:
    going = fleet(rules=replace(RULES, sites=sites))
    going.tick()
    assert len(going.at(V2)) == first


def test_a_site_that_fails_goes_back_and_one_more_takes_all_back() -> None:
    going = fleet(breaks={NAMES[0]}).run()
    assert going.rollout is not None
    assert (going.rollout.phase, going.at(V1)) == (RolloutPhase.DONE, [NAMES[0]])
    assert "edge-a went back to digits-1: the file is cut short" in told(going.rollout, going.states(), RULES, False)
    going = fleet(breaks={NAMES[0], NAMES[4]}).run()
    assert going.rollout is not None
    assert (going.rollout.phase, going.at(V2)) == (RolloutPhase.ABORTED, [])
    assert "edge-a: the file is cut short; edge-e: the file is cut short" in going.rollout.reason
    before = going.rollout
    assert going.run().rollout == before


def test_after_an_abort_it_is_tried_again_when_somebody_asks_for_something_else() -> None:
    going = fleet(breaks={NAMES[0], NAMES[1]}).run()
    assert going.at(V2) == []
    going.breaks.clear()
    going.asked, going.decided = "2", V2
    going.run()
    assert going.at(V2) == NAMES[:5]


def test_each_site_goes_back_to_what_it_served() -> None:
    going = fleet()
    going.tick()
    going.obey()
    going.decided = V3  # before the second version was everywhere
    going.rules = replace(RULES, max_failures=0)
    going.tick()
    assert going.rollout is not None
    assert (going.rollout.before, dict(going.rollout.others)) == (V1, dict.fromkeys(NAMES[:2], V2))
    going.sites[NAMES[0]].failure, going.sites[NAMES[0]].ready = "no", False
    going.run()
    assert (going.at(V2), going.at(V1)) == (NAMES[:2], NAMES[2:5])


def test_what_is_not_ready_in_time_or_fails_its_callers_has_failed() -> None:
    going = fleet(rules=replace(RULES, max_failures=0))
    going.tick()
    going.tick(61)
    assert going.rollout is not None
    assert "not ready within rollout.ready_within_s, 60 s" in going.rollout.reason
    going = fleet(rules=replace(RULES, max_failures=0))
    going.tick()
    going.obey()
    going.tick()
    going.sites[NAMES[0]].calls = (19, 19)  # too few to say anything
    going.tick()
    assert going.rollout is not None
    assert going.rollout.phase is RolloutPhase.PROGRESSING
    going.sites[NAMES[0]].calls = (100, 51)
    going.tick()
    assert "edge-a: 51 of 100 calls failed, more than rollout.max_error_share 0.5" in going.rollout.reason
    going.run()
    assert going.at(V1) == NAMES[:5]


def test_silent_sites_hold_nothing_up_and_join_when_they_return() -> None:
    going = fleet()
    going.tick()
    going.sites[NAMES[0]].attached = False  # within its wave
    going.sites[NAMES[4]].attached = False  # before it
    going.run()
    assert going.rollout is not None
    assert going.rollout.phase is RolloutPhase.PROGRESSING
    assert going.at(V1) == [NAMES[4]]
    assert "edge-a, edge-e silent: they join when they return" in told(going.rollout, going.states(), RULES, False)
    for name in (NAMES[0], NAMES[4]):
        going.sites[name].attached = True
    going.run()
    assert (going.rollout.phase, going.at(V2)) == (RolloutPhase.DONE, NAMES[:5])
    assert not going.rollout.failed  # it was away for longer than it may take to be ready


def test_in_a_freeze_no_wave_begins() -> None:
    going = fleet()
    going.tick()
    going.frozen = True
    going.run()
    assert going.at(V2) == NAMES[:2]
    assert "3 to come, once the freeze has ended" in told(going.rollout, going.states(), RULES, True)  # type: ignore[arg-type]
    going.frozen = False
    going.run()
    assert going.at(V2) == NAMES[:5]


def test_what_is_taken_back_goes_back_at_once() -> None:
    going = fleet()
    going.tick()
    going.obey()
    going.decided, going.asked = V1, "2"
    going.tick()
    going.tick()
    assert going.rollout is not None
    assert (going.rollout.phase, going.at(V1)) == (RolloutPhase.ABORTED, NAMES[:5])
    assert "digits-2 is not wanted any more" in going.rollout.reason


def test_a_version_without_any_place_begins_no_wave() -> None:
    states = {name: replace(state, wanted=False) for name, state in fleet().states().items()}
    found = step(None, V2, states, RULES, asked="1", frozen=False, now_s=1.0)
    assert found is not None
    assert (found.phase, found.wave) == (RolloutPhase.PROGRESSING, 0)


class Rollouts(RuleBasedStateMachine):
    """Whatever falls silent, fails, freezes or is asked for in between."""

    @initialize(count=st.integers(1, 8), size=st.sampled_from([None, 1.0, 2.0, 0.3]), most=st.integers(0, 2))
    def begin(self, count: int, size: float | None, most: int) -> None:
        self.fleet = fleet(count, rules=replace(RULES, sites=size, max_failures=most))
        self.newest = V2

    @rule(seconds=st.floats(0.5, 30), obey=st.booleans())
    def goes_on(self, seconds: float, obey: bool) -> None:
        if obey:
            self.fleet.obey()
        before = self.fleet.rollout
        self.fleet.tick(seconds)
        after = self.fleet.rollout
        if before is not None and after is not None and after.wave > before.wave:
            # Those that return join beside the wave that is under way then.
            begun = after.released.keys() - before.released.keys() - before.away
            assert 0 < len(begun) <= self.fleet.rules.size(len(self.fleet.sites))
            assert not self.fleet.frozen

    @rule(at=st.integers(0, 7), attached=st.booleans())
    def falls_silent_or_returns(self, at: int, attached: bool) -> None:
        list(self.fleet.sites.values())[at % len(self.fleet.sites)].attached = attached

    @rule(at=st.integers(0, 7))
    def breaks(self, at: int) -> None:
        self.fleet.breaks.add(NAMES[at % len(self.fleet.sites)])

    @rule(frozen=st.booleans())
    def freezes(self, frozen: bool) -> None:
        self.fleet.frozen = frozen

    @precondition(lambda self: self.newest != V3)
    @rule()
    def another_version(self) -> None:
        self.newest = self.fleet.decided = V3
        self.fleet.asked += "+"

    @invariant()
    def an_abort_leaves_nobody_in_between(self) -> None:
        rollout = self.fleet.rollout
        if rollout is not None and rollout.phase is RolloutPhase.ABORTED:
            assert not rollout.released
            assert not rollout.away

    @invariant()
    def too_many_failures_never_go_on(self) -> None:
        rollout = self.fleet.rollout
        if rollout is not None and len(rollout.failed) > self.fleet.rules.max_failures:
            assert rollout.phase is RolloutPhase.ABORTED

    def teardown(self) -> None:
        """Left alone with everybody back, it comes to rest, and nobody runs what failed."""
        if not hasattr(self, "fleet"):
            return
        self.fleet.frozen = False
        for site in self.fleet.sites.values():
            site.attached = True
        self.fleet.run(80, 20.0)
        before = self.fleet.rollout
        self.fleet.run(3, 20.0)
        assert self.fleet.rollout == before
        if before is None or before.phase is RolloutPhase.DONE:
            failed = before.failed if before else {}
            wanted = self.newest if self.fleet.decided == self.newest else self.fleet.decided
            assert all(site.runs == wanted for name, site in self.fleet.sites.items() if name not in failed)
        else:
            assert before.phase is RolloutPhase.ABORTED
            assert self.fleet.at(before.version) == []
        assert all(site.ready for site in self.fleet.sites.values())


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
