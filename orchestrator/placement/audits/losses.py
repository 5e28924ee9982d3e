"""N+1: with any one site gone the others bear its calls, all services at once, over links that bear them.

For each site that serves such a service a linear programme looks for the routing of that day; the calls of the other
sites stay where they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.placement.audits.case import TOLERANCE, Arc, Case, Scene
from orchestrator.placement.audits.formulas import carried_rps
from orchestrator.placement.audits.traffic import Link, loads, wan_bits

RULE = "replicas.survive_site_losses"


@dataclass(slots=True)
class _Day:
    """The programme of one loss: columns are arcs that may take lost calls, rows are what bears them."""

    moves: list[tuple[Case, Arc, Arc]] = field(default_factory=list)  # the lost arc, and one that takes its place
    limits: dict[tuple[object, ...], float] = field(default_factory=dict)
    parts: dict[tuple[object, ...], list[tuple[int, float]]] = field(default_factory=dict)

    def bear(self, row: tuple[object, ...], limit: float, column: int, amount: float) -> None:
        if amount > 0 and math.isfinite(limit):
            self.limits[row] = max(limit, 0.0)
            self.parts.setdefault(row, []).append((column, amount))


def check_losses(scene: Scene) -> None:
    """Services whose decision lists the shortfall are left out: they are known not to survive."""
    cases = [
        case
        for case in scene.cases.values()
        if case.spec.policy.survive_site_losses and not any(one.rule == RULE for one in case.decided.shortfalls)
    ]
    lost = sorted({arc.path.site for case in cases for arc in case.arcs if _serves(arc)})
    for site in lost:
        _check_loss(scene, cases, site)


def _serves(arc: Arc) -> bool:
    return arc.share > 0


def _check_loss(scene: Scene, cases: Sequence[Case], site: SiteName) -> None:
    day, needs = _Day(), list[tuple[Case, ZoneName, float]]()
    for case in cases:
        for lost in case.arcs:
            if lost.path.site != site or not _serves(lost):
                continue
            others = [arc for arc in case.arcs if arc.demand.zone == lost.demand.zone and arc.path.site != site]
            if not others:
                scene.say(RULE, f"loss of {site}", f"zone {lost.demand.zone} has no other site", "one more", case.ref)
            elif lost.rate_rps > 0:
                needs.append((case, lost.demand.zone, lost.rate_rps))
                for arc in others:
                    day.moves.append((case, lost, arc))
    if needs:
        _add_limits(scene, day, site)
        for (case, zone, rate_rps), lacking_rps in zip(needs, _lacking_rps(day, needs), strict=True):
            if lacking_rps > 10 * TOLERANCE * rate_rps:
                what = f"{lacking_rps:.5g} calls/s of zone {zone} find no place"
                scene.say(RULE, f"loss of {site}", what, f"{rate_rps:.5g} calls/s served", case.ref)


def _add_limits(scene: Scene, day: _Day, gone: SiteName) -> None:
    """What each move may add: replicas' room and links' room, less what stays there on that day."""
    stays, limits, busy, wan = _that_day(scene, gone)
    for column, (case, _, arc) in enumerate(day.moves):
        held = case.held[arc.path.site]
        room_rps = held.count * carried_rps(held.variant, scene.settings) - busy.get((case.ref, arc.path.site), 0.0)
        day.bear(("replicas", case.ref, arc.path.site), room_rps, column, 1.0)
        for load in loads(scene, arc.path, arc.demand):
            limit_bps = max(load.limit_bps, limits.get(load.link, 0.0))
            # A leg that was measured twice bears what the wider figure says.
            key = ("link", *load.link)
            limit_bps = max(limit_bps - stays.get(load.link, 0.0), day.limits.get(key, 0.0))
            day.bear(key, limit_bps, column, load.bits)
        zone, bits = arc.demand.zone, wan_bits(arc.path, arc.demand)
        for other in scene.cases.values():
            cap = other.spec.policy.wan_bps_per_zone
            if cap is None or other.turn < case.turn:
                continue
            own = wan.get((other.turn, zone), 0.0)
            # A cap binds the services planned before it only where its own calls pass too.
            if own > 0 or other is case:
                before = math.fsum(bps for (turn, at), bps in wan.items() if turn <= other.turn and at == zone)
                row = ("wan", zone, other.turn) if own > 0 else ("wan", zone, other.turn, "own")
                day.bear(row, cap - before, column, bits)


def _that_day(
    scene: Scene, gone: SiteName
) -> tuple[
    dict[Link, float], dict[Link, float], dict[tuple[ServiceRef, SiteName], float], dict[tuple[int, ZoneName], float]
]:
    """Bits per second by link with their limits, calls per second by replica site, bits by turn and zone."""
    stays: dict[Link, float] = {}
    limits: dict[Link, float] = {}
    busy: dict[tuple[ServiceRef, SiteName], float] = {}
    wan: dict[tuple[int, ZoneName], float] = {}
    for case in scene.cases.values():
        for arc in case.arcs:
            if arc.path.site == gone or arc.rate_rps <= 0:
                continue
            at = (case.ref, arc.path.site)
            busy[at] = busy.get(at, 0.0) + arc.rate_rps
            where = (case.turn, arc.demand.zone)
            wan[where] = wan.get(where, 0.0) + arc.rate_rps * wan_bits(arc.path, arc.demand)
            for load in loads(scene, arc.path, arc.demand):
                stays[load.link] = stays.get(load.link, 0.0) + arc.rate_rps * load.bits
                limits[load.link] = max(limits.get(load.link, 0.0), load.limit_bps)
    return stays, limits, busy, wan


def _lacking_rps(day: _Day, needs: Sequence[tuple[Case, ZoneName, float]]) -> list[float]:
    """Of each need what nobody takes, in all as little as can be. Rows are scaled to their limits."""
    index = {(case.ref, zone): at for at, (case, zone, _) in enumerate(needs)}
    columns = len(day.moves) + len(needs)
    rows, cols, values, most = list[int](), list[int](), list[float](), list[float]()
    for key, limit in day.limits.items():
        scale = max(limit, max(amount for _, amount in day.parts[key]), 1e-9)
        for column, amount in day.parts[key]:
            rows.append(len(most))
            cols.append(column)
            values.append(amount / scale)
        most.append(limit / scale * (1 + TOLERANCE))
    covers = coo_array(
        (
            np.ones(columns),
            (
                [*(index[case.ref, lost.demand.zone] for case, lost, _ in day.moves), *range(len(needs))],
                np.arange(columns),
            ),
        ),
        shape=(len(needs), columns),
    )
    price = np.concatenate((np.zeros(len(day.moves)), np.ones(len(needs))))
    solved = linprog(
        price,
        A_ub=coo_array((values, (rows, cols)), shape=(len(most), columns)).tocsr() if most else None,
        b_ub=most or None,
        A_eq=covers.tocsr(),
        b_eq=[rate for _, _, rate in needs],
        method="highs",
    )
    return [float(value) for value in solved.x[len(day.moves) :]]
