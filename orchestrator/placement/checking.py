"""An independent check of a plan: is it feasible, what does it cost, and what do its prices prove?

Written apart from the search: it shares nothing with it but the data types, works on whole arrays, and trusts no sum.
"""

from dataclasses import dataclass

import numpy as np

from orchestrator.placement.search.programme import Floats, Plan, Prices, Programme

# Relative: rates and sums of rates are floating-point numbers.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Verdict:
    """`violations` name each broken constraint with its place and both values; none: the plan is feasible."""

    violations: tuple[str, ...]
    usd_per_hour: float
    replica_usd: float
    change_usd: float
    routing_usd: float
    unserved_usd: float
    unserved_value: float  # of the value of all demand, the part that nobody serves


def check_plan(programme: Programme, plan: Plan) -> Verdict:
    """Constraints and objective from the plan's replicas and rates alone."""
    shape = (len(programme.pair_usd), programme.arcs)
    if (len(plan.replicas), len(plan.rps)) != shape:
        found = f"replicas, rps: {len(plan.replicas)} and {len(plan.rps)} values, the programme has {shape}"
        return Verdict((found,), float("nan"), float("nan"), float("nan"), float("nan"), float("nan"), float("nan"))
    served = np.bincount(programme.arc_demand, plan.rps, programme.demands).astype(np.float64)
    unserved = np.maximum(programme.demand_rps - served, 0.0)
    value = programme.demand_rps * programme.demand_penalty_usd
    replica_usd = float((plan.replicas * programme.pair_usd).sum())
    started = np.maximum(plan.replicas - programme.pair_running, 0)
    stopped = np.maximum(programme.pair_running - plan.replicas, 0)
    change_usd = float((started * programme.pair_start_usd + stopped * programme.pair_stop_usd).sum())
    routing_usd = float((plan.rps * programme.arc_usd).sum())
    unserved_usd = float((unserved * programme.demand_penalty_usd).sum())
    total = replica_usd + change_usd + routing_usd + unserved_usd
    violations = _violations(programme, plan, served)
    if not np.isclose(plan.usd_per_hour, total, rtol=TOLERANCE, atol=TOLERANCE):
        violations.append(f"usd_per_hour: the plan says {plan.usd_per_hour!r}, it is {total!r}")
    share = unserved_usd / float(value.sum()) if value.sum() > 0 else 0.0
    return Verdict(tuple(violations), total, replica_usd, change_usd, routing_usd, unserved_usd, share)


def _violations(programme: Programme, plan: Plan, served: Floats) -> list[str]:
    found: list[str] = []
    for name, values in (("replicas", plan.replicas), ("rps", plan.rps)):
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any():
            found.append(f"{name}[{int(np.argmax(bad))}]: {values[np.argmax(bad)]} is not a number of at least 0")
    if (plan.replicas != np.rint(plan.replicas)).any():
        at = int(np.argmax(plan.replicas != np.rint(plan.replicas)))
        found.append(f"replicas[{at}]: {plan.replicas[at]} is no whole number")
    load = np.bincount(programme.arc_pair, plan.rps, len(programme.pair_usd))
    site, sites = programme.pair_site, len(programme.site_memory)
    use = np.repeat(plan.rps, np.diff(programme.arc_uses)) * programme.use_mbit
    for name, used, limit in (
        ("demand", served, programme.demand_rps),
        ("pair", load, plan.replicas * programme.pair_rps),
        ("memory of site", np.bincount(site, plan.replicas * programme.pair_memory, sites), programme.site_memory),
        ("compute of site", np.bincount(site, plan.replicas * programme.pair_compute, sites), programme.site_compute),
        ("link", np.bincount(programme.use_link, use, len(programme.link_mbps)), programme.link_mbps),
    ):
        over = used > limit + TOLERANCE * np.maximum(limit, 1.0)
        found += [f"{name} {i}: {used[i]:g} of {limit[i]:g}" for i in np.nonzero(over)[0]]
    return found


def lower_bound_usd_per_hour(programme: Programme, prices: Prices) -> float:
    """What these prices prove of every plan, by the Lagrangian that relaxes demands, links, memory and compute.

    For each pair: its calls by falling gain fill one replica after the other; each replica that gains more than it
    costs counts. Replicas fill by falling gain, so that a later one never gains more. Raises ValueError for a negative
    price or one that is no number, which prove nothing.
    """
    for name, values in zip(Prices._fields, prices, strict=True):
        if (~np.isfinite(values) | (values < 0)).any():
            raise ValueError(
                f"{name}: holds {values[~np.isfinite(values) | (values < 0)][0]}: prices must be at least 0"
            )
    # An unserved call costs its penalty and no more, so that no higher price is honest.
    demand_usd = np.minimum(prices.demand_usd, programme.demand_penalty_usd)
    charged = np.zeros(programme.arcs)
    user = np.repeat(np.arange(programme.arcs), np.diff(programme.arc_uses))
    np.add.at(charged, user, prices.link_usd[programme.use_link] * programme.use_mbit)
    gain = demand_usd[programme.arc_demand] - programme.arc_usd - charged
    bound = float((programme.demand_rps * demand_usd).sum())
    bound -= float((prices.memory_usd * programme.site_memory).sum())
    bound -= float((prices.compute_usd * programme.site_compute).sum())
    bound -= float((prices.link_usd * programme.link_mbps).sum())
    bound += float((programme.pair_running * programme.pair_stop_usd).sum())
    return bound - _gained_usd(programme, prices, gain)


def _gained_usd(programme: Programme, prices: Prices, gain: Floats) -> float:
    """All pairs at once: the gain of the first k calls per second is a concave curve; a replica is a step along it."""
    arcs = np.nonzero(gain > 0)[0]
    arcs = arcs[np.lexsort((-gain[arcs], programme.arc_pair[arcs]))]
    pair, rate = programme.arc_pair[arcs], programme.demand_rps[programme.arc_demand[arcs]]
    ends, worth = np.cumsum(rate), np.cumsum(rate * gain[arcs])
    first = np.concatenate(([True], pair[1:] != pair[:-1])) if len(arcs) else np.zeros(0, dtype=np.bool_)
    starts = np.nonzero(first)[0]
    lengths = np.diff(np.concatenate((starts, [len(arcs)])))
    pairs = pair[starts]
    before_rps, before_usd = ends[starts] - rate[starts], worth[starts] - (rate * gain[arcs])[starts]
    total_rps = ends[starts + lengths - 1] - before_rps
    site = programme.pair_site[pairs]
    count = np.ceil(total_rps / programme.pair_rps[pairs])
    for has, need in ((programme.site_memory, programme.pair_memory), (programme.site_compute, programme.pair_compute)):
        borne = has[site] // np.maximum(need[pairs], 1)
        count = np.where(need[pairs] > 0, np.minimum(count, borne), count)
    count = count.astype(np.int64)
    of = np.repeat(np.arange(len(pairs)), count)
    number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    rps = programme.pair_rps[pairs][of]

    def curve(upto_rps: Floats) -> Floats:
        """Gain of the pair's best calls up to this rate."""
        limit = before_rps[of] + np.minimum(upto_rps, total_rps[of])
        at = np.minimum(np.searchsorted(ends, limit), starts[of] + lengths[of] - 1)
        at = np.maximum(at, starts[of])
        return np.asarray(worth[at] - (ends[at] - limit) * gain[arcs][at] - before_usd[of])

    filled = curve((number + 1) * rps) - curve(number * rps)
    running = programme.pair_running[pairs][of]
    change = np.where(number < running, -programme.pair_stop_usd[pairs][of], programme.pair_start_usd[pairs][of])
    charge = prices.memory_usd[site] * programme.pair_memory[pairs]
    charge = (charge + prices.compute_usd[site] * programme.pair_compute[pairs])[of]
    return float(np.maximum(filled - programme.pair_usd[pairs][of] - change - charge, 0.0).sum())
