"""Calls: each served once, by replicas that bear them, over links that bear them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.model.ids import ZoneName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.specs import DemandSpec
from orchestrator.placement.audits.case import TOLERANCE, Arc, Case, Scene, passes_residency
from orchestrator.placement.audits.formulas import carried_rps, is_backwards

Link: TypeAlias = tuple[str, ...]  # ("in", site), ("out", site), ("front", name), ("leg", source, target, "up")


@dataclass(frozen=True, slots=True)
class Load:
    """What one call puts on a link, and what the link bears; `limit_bps` infinite: nobody says."""

    link: Link
    bits: float
    limit_bps: float


def check_traffic(scene: Scene) -> None:
    for case in scene.cases.values():
        _check_coverage(scene, case)
        _check_replicas(scene, case)
        for arc in case.arcs:
            _check_path(scene, case, arc)
    _check_links(scene)
    for case in scene.cases.values():
        _check_wan(scene, case)


def _check_coverage(scene: Scene, case: Case) -> None:
    zones = [demand.zone for demand in case.spec.demands]
    served: dict[ZoneName, list[float]] = {zone: [] for zone in zones}
    for share in case.decided.shares:
        served.setdefault(share.zone, []).append(share.share)
    for left in case.decided.unserved:
        if left.zone not in zones or not 0 < left.share <= 1 + TOLERANCE:
            scene.say("unserved", f"zone {left.zone}", left.share, "a part of the calls of a zone that calls", case.ref)
        if left.nearest is None and scene.sites:
            scene.say("unserved", f"zone {left.zone}", "no nearest site", "the site that would need least", case.ref)
        served.setdefault(left.zone, []).append(left.share)
    for zone in zones:
        total = math.fsum(served[zone])
        if not abs(total - 1) <= TOLERANCE:
            scene.say("shares", f"zone {zone}", total, 1.0, case.ref)


def _check_replicas(scene: Scene, case: Case) -> None:
    """At the target utilisation."""
    for name, held in case.held.items():
        rps = math.fsum(arc.rate_rps for arc in case.arcs if arc.path.site == name)
        scene.over(
            "calls per replica", f"site {name}", rps, held.count * carried_rps(held.variant, scene.settings), case.ref
        )


def _check_path(scene: Scene, case: Case, arc: Arc) -> None:
    policy, where = case.spec.policy, f"{arc.demand.zone} to {arc.path.site}"
    if not passes_residency(scene, case, arc.path):
        allowed = ", ".join(sorted(policy.jurisdictions or ()))
        scene.say("residency.jurisdictions", where, f"through {arc.path.transit}", allowed, case.ref)
    if policy.latency_p99_ms is None or case.frozen_at(arc.path.site):
        return
    scene.over("latency.p99_ms", where, arc.response.expected, policy.latency_p99_ms, case.ref)
    age_s = max((leg.age_s for leg in arc.path.legs), default=0.0)
    scene.over("stability.max_sample_age_s", where, age_s, policy.max_sample_age_s, case.ref)


def loads(scene: Scene, path: Path, demand: DemandSpec) -> Iterator[Load]:
    """Of one call, without the WAN cap, which is a policy's."""
    request, answer = 8.0 * demand.request_bytes, 8.0 * demand.response_bytes
    if path.kind is not PathKind.LAN:
        site = scene.sites[path.site]
        yield Load(("in", path.site), request, math.inf if site.link_in_bps is None else site.link_in_bps)
        yield Load(("out", path.site), answer, math.inf if site.link_out_bps is None else site.link_out_bps)
    region = scene.sites.get(path.transit) if path.transit else None
    front_bps = region.front_bps if region and region.front_bps is not None else math.inf
    ends = {end for leg in path.legs for end in (leg.source, leg.target)}
    for front in sorted(end for end in ends if end.startswith("front/")):
        yield Load(("front", front.removeprefix("front/")), request + answer, front_bps)
    for leg in path.legs:
        up, down = (answer, request) if is_backwards(leg, path) else (request, answer)
        yield Load(("leg", leg.source, leg.target, "up"), up, leg.up_bps or math.inf)
        yield Load(("leg", leg.source, leg.target, "down"), down, leg.down_bps or math.inf)


def wan_bits(path: Path, demand: DemandSpec) -> float:
    """Of one call on its zone's WAN, both ways."""
    return 0.0 if path.kind is PathKind.LAN else 8.0 * (demand.request_bytes + demand.response_bytes)


def _check_links(scene: Scene) -> None:
    """All services together. Of a leg that was measured twice the wider figure counts."""
    used: dict[Link, list[float]] = {}
    limits: dict[Link, float] = {}
    for case in scene.cases.values():
        for arc in case.arcs:
            for load in loads(scene, arc.path, arc.demand):
                if arc.rate_rps * load.bits > 0:
                    used.setdefault(load.link, []).append(arc.rate_rps * load.bits)
                    limits[load.link] = max(limits.get(load.link, 0.0), load.limit_bps)
    for link, parts in used.items():
        scene.over("link", " ".join(link), math.fsum(parts), limits[link])


def _check_wan(scene: Scene, case: Case) -> None:
    """A service's cap binds it beside those that were planned before it."""
    cap = case.spec.policy.wan_bps_per_zone
    if cap is None:
        return
    before = [other for other in scene.cases.values() if other.turn <= case.turn]
    for zone in sorted({arc.demand.zone for arc in case.arcs if arc.rate_rps * wan_bits(arc.path, arc.demand) > 0}):
        bps = math.fsum(
            arc.rate_rps * wan_bits(arc.path, arc.demand)
            for other in before
            for arc in other.arcs
            if arc.demand.zone == zone
        )
        scene.over("bandwidth.wan_mbps_per_zone", f"zone {zone}", bps / 1e6, cap / 1e6, case.ref)
