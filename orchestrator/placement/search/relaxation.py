"""Prices by the linear relaxation: what one more call, replica's memory or megabit would be worth if replicas could be
split.

The relaxation has a million columns where a fleet has ten thousand sites; a simplex takes minutes for it. Prices need
two or three digits, and those a first-order method gives within seconds: primal-dual hybrid gradient with reflected
Halpern steps, restarts and a balanced primal weight (Chambolle and Pock, 2011; Applegate et al., "PDLP", 2021; Lu and
Yang, "Restarted Halpern PDHG for linear programming", 2024). Rows and columns are scaled to natural sizes first:
shares of demands, replicas in units of what a pair's arcs could fill, capacities as one.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from orchestrator.placement.search.jit import compiled
from orchestrator.placement.search.programme import Flags, Floats, Ints, Prices, Programme, most_replicas

# A pair whose demands fill more replicas than this has no use for the row "share <= replicas".
STRONG_UP_TO = 16.0
# Parts of each pass; a constant, so that sums do not depend on how many threads there are.
PARTS = 2


class Scaled(NamedTuple):
    """The relaxation in its scaled form. Shares [A] of demands and replicas [P] in units of `unit`."""

    share_usd: Floats  # [A]
    replica_usd: Floats  # [P]
    unit: Floats  # [P]
    strong: Flags  # [A] has a row "share <= replicas of the pair", which only small demands need
    load: Floats  # [A] replicas' units that the whole demand fills
    strong_share: Floats  # [P] factor of shares in strong rows
    memory: Floats  # [P] part of the site's
    compute: Floats  # [P]
    use: Floats  # [U] part of the link's
    most: Floats  # [P]
    most_demand_usd: Floats  # [D]
    share_step: Floats  # [A]
    replica_step: Floats  # [P]
    demand_step: Floats  # [D]
    load_step: Floats  # [P]
    strong_step: Floats  # [P]
    memory_step: Floats  # [S]
    compute_step: Floats  # [S]
    link_step: Floats  # [L]


class Point(NamedTuple):
    """A primal and dual point. Duals are in $/h: of a demand's whole rate, a pair's load row, a strong row, ..."""

    share: Floats  # [A]
    replicas: Floats  # [P]
    demand: Floats  # [D]
    load: Floats  # [P]
    strong: Floats  # [A]
    memory: Floats  # [S]
    compute: Floats  # [S]
    link: Floats  # [L]


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Prices, and the point to go on from."""

    prices: Prices
    point: Point


def relax(programme: Programme, iterations: int, threads: int = 1, start: Point | None = None) -> Relaxed:
    """Nearly optimal prices after so many iterations; the same to the bit for any number of threads."""
    scaled = _scale(programme)
    point = start or _first_point(programme, scaled)
    with ThreadPoolExecutor(threads) as pool:
        _Descent(programme, scaled, point, pool if threads > 1 else None).run(iterations)
    return Relaxed(_prices(programme, point), point)


def _scale(programme: Programme) -> Scaled:
    demand, pair, site = programme.arc_demand, programme.arc_pair, programme.pair_site
    pairs, sites, links = len(programme.pair_usd), len(programme.site_memory), len(programme.link_mbps)
    rps = programme.demand_rps[demand]
    filled = rps / programme.pair_rps[pair]
    most = np.minimum(most_replicas(programme, np.arange(pairs)), 1e9)
    unit = np.maximum(1.0, np.minimum(most, np.bincount(pair, filled, pairs)))
    strong = (filled < 1) & (unit[pair] <= STRONG_UP_TO)
    load, strong_share = filled / unit[pair], 1 / unit
    memory = programme.pair_memory * unit / np.maximum(programme.site_memory[site], 1)
    compute = programme.pair_compute * unit / np.maximum(programme.site_compute[site], 1)
    uses = np.diff(programme.arc_uses)
    use = programme.use_mbit * np.repeat(rps, uses) / programme.link_mbps[programme.use_link]
    used = np.bincount(np.repeat(np.arange(programme.arcs), uses), use, programme.arcs)
    return Scaled(
        share_usd=rps * programme.arc_usd,
        replica_usd=programme.pair_usd * unit,
        unit=unit,
        strong=strong,
        load=load,
        strong_share=strong_share,
        memory=memory,
        compute=compute,
        use=use,
        most=most / unit,
        most_demand_usd=programme.demand_rps * programme.demand_penalty_usd,
        # Steps are one over the sum of a column's or row's entries: Pock and Chambolle, 2011, with alpha 1.
        share_step=1 / (1 + load + strong * strong_share[pair] + used),
        replica_step=1 / (1 + np.bincount(pair, strong, pairs) + memory + compute),
        demand_step=1 / np.maximum(np.diff(programme.demand_arcs), 1),
        load_step=1 / (1 + np.bincount(pair, load, pairs)),
        strong_step=1 / (1 + strong_share),
        memory_step=1 / np.maximum(np.bincount(site, memory, sites), 1e-9),
        compute_step=1 / np.maximum(np.bincount(site, compute, sites), 1e-9),
        link_step=1 / np.maximum(np.bincount(programme.use_link, use, links), 1e-9),
    )


def _first_point(programme: Programme, scaled: Scaled) -> Point:
    """Nothing placed; demands priced at 0.7 of what they cost on a filled replica of a pool.

    Where no pool is in reach, on a replica for them alone. The penalty is a bad start: often it is far above any cost.
    """
    pair, demand, penalty_usd = programme.arc_pair, programme.arc_demand, programme.demand_penalty_usd
    pool = programme.site_pool[programme.pair_site[pair]]
    filled_usd = programme.arc_usd + (programme.pair_usd / programme.pair_rps)[pair]
    price_usd, alone_usd = np.full_like(penalty_usd, np.inf), penalty_usd.copy()
    np.minimum.at(price_usd, demand[pool], filled_usd[pool])
    rps = np.minimum(programme.pair_rps[pair], programme.demand_rps[demand])
    np.minimum.at(alone_usd, demand, programme.arc_usd + programme.pair_usd[pair] / rps)
    price_usd = np.minimum(np.where(np.isfinite(price_usd), price_usd, alone_usd), penalty_usd)
    sites = len(programme.site_memory)
    return Point(
        share=np.zeros(programme.arcs),
        replicas=np.zeros(len(programme.pair_usd)),
        demand=0.7 * price_usd * programme.demand_rps,
        load=0.5 * scaled.replica_usd,
        strong=np.zeros(programme.arcs),
        memory=np.zeros(sites),
        compute=np.zeros(sites),
        link=np.zeros(len(programme.link_mbps)),
    )


def _prices(programme: Programme, point: Point) -> Prices:
    reachable = np.diff(programme.demand_arcs) > 0
    return Prices(
        demand_usd=np.where(reachable, point.demand / programme.demand_rps, programme.demand_penalty_usd),
        link_usd=point.link / programme.link_mbps,
        memory_usd=point.memory / np.maximum(programme.site_memory, 1),
        compute_usd=point.compute / np.maximum(programme.site_compute, 1),
    )


@compiled
def _primal(
    programme: Programme, scaled: Scaled, point: Point, new: Point, weight: float, first: int, last: int
) -> None:
    """New shares and replicas of pairs `first` up to `last`."""
    for pair in range(first, last):
        site = programme.pair_site[pair]
        slope = (
            scaled.replica_usd[pair]
            - point.load[pair]
            + point.memory[site] * scaled.memory[pair]
            + point.compute[site] * scaled.compute[pair]
        )
        for arc in range(programme.pair_arcs[pair], programme.pair_arcs[pair + 1]):
            gradient = (
                scaled.share_usd[arc] - point.demand[programme.arc_demand[arc]] + point.load[pair] * scaled.load[arc]
            )
            if scaled.strong[arc]:
                gradient += point.strong[arc] * scaled.strong_share[pair]
                slope -= point.strong[arc]
            for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
                gradient += point.link[programme.use_link[k]] * scaled.use[k]
            share = point.share[arc] - scaled.share_step[arc] / weight * gradient
            new.share[arc] = min(max(share, 0.0), 1.0)
        replicas = point.replicas[pair] - scaled.replica_step[pair] / weight * slope
        new.replicas[pair] = min(max(replicas, 0.0), scaled.most[pair])


@compiled
def _dual_of_sites(
    programme: Programme,
    scaled: Scaled,
    point: Point,
    new: Point,
    weight: float,
    used: Floats,
    first: int,
    last: int,
) -> None:
    """New duals of the sites' rows, at twice the new point less the old one; `used` gathers what links carry there."""
    used[:] = 0.0
    for site in range(first, last):
        memory, compute = -1.0, -1.0
        for pair in range(programme.site_pairs[site], programme.site_pairs[site + 1]):
            replicas = 2 * new.replicas[pair] - point.replicas[pair]
            memory += scaled.memory[pair] * replicas
            compute += scaled.compute[pair] * replicas
            load = -replicas
            for arc in range(programme.pair_arcs[pair], programme.pair_arcs[pair + 1]):
                share = 2 * new.share[arc] - point.share[arc]
                load += scaled.load[arc] * share
                if scaled.strong[arc]:
                    over = share * scaled.strong_share[pair] - replicas
                    new.strong[arc] = max(point.strong[arc] + scaled.strong_step[pair] * weight * over, 0.0)
                for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
                    used[programme.use_link[k]] += scaled.use[k] * share
            new.load[pair] = max(point.load[pair] + scaled.load_step[pair] * weight * load, 0.0)
        new.memory[site] = max(point.memory[site] + scaled.memory_step[site] * weight * memory, 0.0)
        new.compute[site] = max(point.compute[site] + scaled.compute_step[site] * weight * compute, 0.0)


@compiled
def _dual_of_demands(
    programme: Programme, scaled: Scaled, point: Point, new: Point, weight: float, first: int, last: int
) -> None:
    for demand in range(first, last):
        unserved = 1.0
        for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
            arc = programme.demand_arc[k]
            unserved -= 2 * new.share[arc] - point.share[arc]
        price = point.demand[demand] + scaled.demand_step[demand] * weight * unserved
        new.demand[demand] = min(max(price, 0.0), scaled.most_demand_usd[demand])


@compiled
def _step(now: Floats, new: Floats, anchor: Floats, step: Floats, stay: float, first: int, last: int) -> float:
    """Halpern's step of one variable: from its anchor towards the reflection of `now` in `new`; answers how far `new`
    was, squared, in units of the steps."""
    moved = 0.0
    for i in range(first, last):
        change = new[i] - now[i]
        moved += change * change / step[i]
        now[i] = stay * (now[i] + 2 * change) + (1 - stay) * anchor[i]
    return moved


@compiled
def _step_strong(
    programme: Programme,
    scaled: Scaled,
    now: Floats,
    new: Floats,
    anchor: Floats,
    stay: float,
    first: int,
    last: int,
) -> float:
    moved = 0.0
    for arc in range(first, last):
        if scaled.strong[arc]:
            change = new[arc] - now[arc]
            moved += change * change / scaled.strong_step[programme.arc_pair[arc]]
            now[arc] = stay * (now[arc] + 2 * change) + (1 - stay) * anchor[arc]
    return moved


class _Descent:
    """One run: a point, its anchor, and when to restart from where it is."""

    def __init__(self, programme: Programme, scaled: Scaled, point: Point, pool: ThreadPoolExecutor | None) -> None:
        self._programme, self._scaled, self._pool = programme, scaled, pool
        self._point = point
        self._new = Point(*(np.zeros_like(values) for values in point))
        self._anchor = Point(*(values.copy() for values in point))
        self._weight = 1.0
        self._used = np.zeros((PARTS, len(point.link)))
        self._cuts = {
            "pair": _even(programme.pair_arcs),
            "site": _even(programme.pair_arcs[programme.site_pairs]),
            "demand": _even(programme.demand_arcs),
            "arc": [round(i * programme.arcs / PARTS) for i in range(PARTS + 1)],
        }

    def run(self, iterations: int) -> None:
        since, first_error, last_error = 0, math.inf, math.inf
        for iteration in range(1, iterations + 1):
            since += 1
            self._evaluate()
            primal, dual = self._advance(since / (since + 1.0))
            error = math.sqrt(self._weight * primal + dual / self._weight)
            if since == 1:
                first_error = error
            # Restart rules of PDLP and its Halpern successor: much progress, some that has stopped, or a long stretch.
            much = error <= 0.2 * first_error
            stopped = error <= 0.8 * first_error and error > last_error
            long = since >= 0.36 * iteration and iteration > 20
            last_error = error
            if iteration == iterations or (since > 1 and (much or stopped or long)):
                self._restart()
                since, last_error = 0, math.inf

    def _parts(self, work: Callable[[int], object]) -> Sequence[object]:
        if self._pool is None:
            return [work(part) for part in range(PARTS)]
        return list(self._pool.map(work, range(PARTS)))

    def _evaluate(self) -> None:
        """The plain step from the point, into `_new`."""
        programme, scaled, point, new, weight = self._programme, self._scaled, self._point, self._new, self._weight
        pairs, sites, demands = self._cuts["pair"], self._cuts["site"], self._cuts["demand"]
        self._parts(lambda i: _primal(programme, scaled, point, new, weight, pairs[i], pairs[i + 1]))

        def dual(part: int) -> None:
            used = self._used[part]
            _dual_of_sites(programme, scaled, point, new, weight, used, sites[part], sites[part + 1])
            _dual_of_demands(programme, scaled, point, new, weight, demands[part], demands[part + 1])

        self._parts(dual)
        over = self._used.sum(axis=0) - 1
        np.maximum(point.link + scaled.link_step * weight * over, 0.0, out=new.link)

    def _advance(self, stay: float) -> tuple[float, float]:
        """Halpern's step; answers how far the plain step was, primal and dual."""
        point, new, anchor, scaled = self._point, self._new, self._anchor, self._scaled
        steps = {
            "share": scaled.share_step,
            "replicas": scaled.replica_step,
            "demand": scaled.demand_step,
            "load": scaled.load_step,
            "memory": scaled.memory_step,
            "compute": scaled.compute_step,
            "link": scaled.link_step,
        }

        def moved(name: str, part: int) -> float:
            values = getattr(point, name)
            first, last = (round(i * len(values) / PARTS) for i in (part, part + 1))
            return _step(values, getattr(new, name), getattr(anchor, name), steps[name], stay, first, last)

        def advance(part: int) -> tuple[float, float]:
            arcs = self._cuts["arc"]
            strong = _step_strong(
                self._programme, scaled, point.strong, new.strong, anchor.strong, stay, arcs[part], arcs[part + 1]
            )
            primal = moved("share", part) + moved("replicas", part)
            dual = strong + sum(moved(name, part) for name in ("demand", "load", "memory", "compute", "link"))
            return primal, dual

        primal, dual = np.array(self._parts(advance)).sum(axis=0)
        return float(primal), float(dual)

    def _restart(self) -> None:
        """From the plain step's end; the primal weight moves half-way to the ratio of what duals and primals moved."""
        new, anchor, scaled = self._new, self._anchor, self._scaled
        strong_step = scaled.strong_step[self._programme.arc_pair]
        primal = _far(new.share, anchor.share, scaled.share_step)
        primal += _far(new.replicas, anchor.replicas, scaled.replica_step)
        dual = _far(new.strong, anchor.strong, strong_step) + _far(new.demand, anchor.demand, scaled.demand_step)
        dual += _far(new.load, anchor.load, scaled.load_step) + _far(new.link, anchor.link, scaled.link_step)
        dual += _far(new.memory, anchor.memory, scaled.memory_step)
        dual += _far(new.compute, anchor.compute, scaled.compute_step)
        if primal > 1e-20 and dual > 1e-20:
            ratio = math.sqrt(dual / primal) / self._weight
            self._weight = min(max(self._weight * math.sqrt(ratio), 0.05), 50.0)
        for now, end, start in zip(self._point, new, anchor, strict=True):
            now[:] = end
            start[:] = end


def _far(new: Floats, old: Floats, step: Floats) -> float:
    return float(((new - old) ** 2 / step).sum())


def _even(ranges: Ints) -> list[int]:
    """Cuts that give each part about as many arcs."""
    total = int(ranges[-1])
    inner = [int(np.searchsorted(ranges, i * total / PARTS)) for i in range(1, PARTS)]
    return [0, *inner, len(ranges) - 1]
