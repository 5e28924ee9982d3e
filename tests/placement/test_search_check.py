"""The independent check: it passes what is right and names what is not. No search, no compiler here."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.placement.checking import check_plan, lower_bound_usd_per_hour
from orchestrator.placement.search.programme import InvalidProgramme, Plan, Prices, Programme, programme
from tests.placement.programmes import made_up


def served_by_hand(of: Programme) -> Plan:
    """Every arc's whole demand at the first pool that it reaches: feasible as long as links and quotas are wide."""
    replicas, rps = np.zeros(len(of.pair_usd), dtype=np.int64), np.zeros(of.arcs)
    for demand in range(of.demands):
        for arc in of.demand_arc[of.demand_arcs[demand] : of.demand_arcs[demand + 1]]:
            if of.site_pool[of.pair_site[of.arc_pair[arc]]]:
                rps[arc] = of.demand_rps[demand]
                break
    load = np.bincount(of.arc_pair, rps, len(of.pair_usd))
    replicas[:] = np.ceil(load / of.pair_rps)
    served = np.bincount(of.arc_demand, rps, of.demands)
    cost = (replicas * of.pair_usd).sum() + (rps * of.arc_usd).sum()
    cost += ((of.demand_rps - served) * of.demand_penalty_usd).sum()
    return Plan(replicas, rps, float(cost))


def roomy(seed: int) -> Programme:
    return made_up(seed)._replace(link_mbps=np.full_like(made_up(seed).link_mbps, 1e6))


OF = roomy(3)
GOOD = served_by_hand(OF)
ARC = int(np.argmax(GOOD.rps))
PAIR = int(np.argmax(GOOD.replicas))


def test_a_plan_by_hand_passes_and_its_cost_is_taken_apart() -> None:
    verdict = check_plan(OF, GOOD)
    assert verdict.violations == ()
    parts = verdict.replica_usd + verdict.change_usd + verdict.routing_usd + verdict.unserved_usd
    assert verdict.usd_per_hour == pytest.approx(parts) == pytest.approx(GOOD.usd_per_hour)


def with_at(values: np.ndarray, at: int, value: float) -> np.ndarray:
    changed = values.astype(np.float64) if isinstance(value, float) else values.copy()
    changed[at] = value
    return changed


@pytest.mark.parametrize(
    ("corrupted", "named"),
    [
        (replace(GOOD, rps=with_at(GOOD.rps, ARC, -1.0)), "rps["),
        (replace(GOOD, rps=with_at(GOOD.rps, ARC, float("nan"))), "rps["),
        (replace(GOOD, rps=with_at(GOOD.rps, ARC, 2 * float(GOOD.rps[ARC]))), "demand "),
        (replace(GOOD, replicas=with_at(GOOD.replicas, PAIR, 0)), "pair "),
        (replace(GOOD, replicas=with_at(GOOD.replicas, PAIR, 0.5)), "whole number"),
        (replace(GOOD, replicas=with_at(GOOD.replicas, PAIR, 10_000)), "of site "),
        (replace(GOOD, usd_per_hour=GOOD.usd_per_hour * 0.99), "usd_per_hour"),
        (replace(GOOD, rps=GOOD.rps[:-1]), "values"),
    ],
)
def test_a_corrupted_plan_is_refused_by_name(corrupted: Plan, named: str) -> None:
    assert any(named in violation for violation in check_plan(OF, corrupted).violations)


def test_a_narrow_link_is_seen() -> None:
    narrow = OF._replace(link_mbps=np.full_like(OF.link_mbps, 1e-3))
    assert any(found.startswith("link ") for found in check_plan(narrow, GOOD).violations)


@st.composite
def priced(draw: st.DrawFn) -> tuple[Programme, Prices]:
    of = made_up(draw(st.integers(0, 10_000)), running=draw(st.booleans()))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    scale = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return of, Prices(
        demand_usd=of.demand_penalty_usd * random.uniform(0, 1.5, of.demands),
        link_usd=scale * random.uniform(0, 0.2, len(of.link_mbps)),
        memory_usd=scale * random.uniform(0, 0.2, len(of.site_memory)),
        compute_usd=scale * random.uniform(0, 0.2, len(of.site_memory)),
    )


@given(priced())
def test_no_prices_prove_more_than_a_plan_costs(given_prices: tuple[Programme, Prices]) -> None:
    of, prices = given_prices
    nothing = Plan(of.pair_running * 0, np.zeros(of.arcs), 0.0)
    assert lower_bound_usd_per_hour(of, prices) <= check_plan(of, nothing).usd_per_hour + 1e-6
    wide = of._replace(link_mbps=np.full_like(of.link_mbps, 1e9))
    by_hand = served_by_hand(wide)
    if not [v for v in check_plan(wide, by_hand).violations if not v.startswith("usd_per_hour")]:
        assert lower_bound_usd_per_hour(wide, prices) <= check_plan(wide, by_hand).usd_per_hour + 1e-6


@given(priced(), st.sampled_from(["site_memory", "site_compute", "link_mbps"]))
def test_more_of_a_resource_never_raises_the_bound(given_prices: tuple[Programme, Prices], resource: str) -> None:
    of, prices = given_prices
    more = of._replace(**{resource: getattr(of, resource) * 2})
    assert lower_bound_usd_per_hour(more, prices) <= lower_bound_usd_per_hour(of, prices) + 1e-9


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_prices_that_prove_nothing_are_refused(wrong: float) -> None:
    zeros = np.zeros(len(OF.site_memory))
    prices = Prices(np.full(OF.demands, wrong), np.zeros(len(OF.link_mbps)), zeros, zeros)
    with pytest.raises(ValueError, match="demand_usd"):
        lower_bound_usd_per_hour(OF, prices)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("demand_rps", lambda v: with_at(v, 0, float("nan")), r"demand_rps\[0\]"),
        ("pair_rps", lambda v: with_at(v, 1, 0.0), r"pair_rps\[1\]"),
        ("pair_usd", lambda v: with_at(v, 0, -1.0), r"pair_usd\[0\]"),
        ("arc_demand", lambda v: with_at(v, 0, 10_000), "out of range"),
        ("pair_site", lambda v: v[::-1].copy(), "ascending"),
        ("site_pool", lambda v: v[:-1], "site_pool"),
        ("arc_uses", lambda v: v[:-1], "arc_uses"),
    ],
)
def test_arrays_that_no_programme_can_hold_are_refused_by_name(name: str, change: object, says: str) -> None:
    made = {"site_memory_step", "site_compute_step", "site_pairs", "pair_arcs", "demand_arcs", "demand_arc"}
    arrays = {field: getattr(OF, field) for field in Programme._fields if field not in made}
    assert callable(change)
    with pytest.raises(InvalidProgramme, match=says):
        programme(**arrays | {name: change(arrays[name])})
