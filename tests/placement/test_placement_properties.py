"""What holds of every decision, checked against formulas written out here, not against the planner's own rules."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from hypothesis import event, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import (
    Decision,
    PlacementSettings,
    Refusal,
    ServiceDecision,
    Share,
    Snapshot,
)
from orchestrator.model.specs import DemandSpec, ServiceSpec, SiteKind, Variant, VariantSpec
from orchestrator.placement import place
from tests.strategies import settings_of_planner, snapshots

# Few of many rules' worlds each; the tests together see some hundreds. No deadline: the machine is shared.
SOME = tried(max_examples=40, deadline=None)

SLACK = 1 + 1e-6


def _variant(service: ServiceSpec, wanted: Variant) -> VariantSpec:
    return next(v for v in service.version.variants if v.variant is wanted)


def _pairs(snapshot: Snapshot, decision: Decision) -> list[tuple[ServiceSpec, ServiceDecision]]:
    specs = {service.ref: service for service in snapshot.services}
    assert [d.service for d in decision.services] == sorted(specs)
    return [(specs[decided.service], decided) for decided in decision.services]


def _seconds(path: Path, demand: DemandSpec, share: float) -> float:
    """Transfer time: a relay leg is measured from the site, so requests travel it backwards."""
    relay = path.kind is PathKind.RELAY
    forth = [leg.down_bps if relay else leg.up_bps for leg in path.legs]
    back = [leg.up_bps if relay else leg.down_bps for leg in path.legs]
    forth_bps = min((bps for bps in forth if bps), default=math.inf)
    back_bps = min((bps for bps in back if bps), default=math.inf)
    return 8 * demand.request_bytes / (share * forth_bps) + 8 * demand.response_bytes / (share * back_bps)


def _p99_ms(path: Path, demand: DemandSpec, variant: VariantSpec, settings: PlacementSettings) -> float:
    rho = settings.target_utilisation
    service_ms = variant.service_p50_ms * (1 + math.log(100) * rho / (2 * (1 - rho)))
    transfer_ms = 1000 * _seconds(path, demand, settings.transfer_share)
    return sum(leg.rtt_p99_ms for leg in path.legs) + transfer_ms + max(service_ms, variant.service_p99_ms)


@SOME
@given(snapshots(), settings_of_planner)
def test_a_placed_replica_passes_its_policys_own_checks(snapshot: Snapshot, settings: PlacementSettings) -> None:
    check_placed(snapshot, settings, place(snapshot, settings, 0))


def check_placed(
    snapshot: Snapshot, settings: PlacementSettings, decision: Decision, kept: Collection[ServiceRef] = ()
) -> None:
    """`kept`: services whose decisions tell figures of another snapshot."""
    sites = {site.name: site for site in snapshot.sites}
    for service, decided in _pairs(snapshot, decision):
        policy, rules = service.policy, {rule.site: rule for rule in service.rules}
        event(f"placed on {len(decided.chosen)} sites, unserved {bool(decided.unserved)}")
        for chosen in decided.chosen:
            site, variant = sites[chosen.site], _variant(service, chosen.variant)
            assert site.reachable
            assert rules[site.name].failed_requirement is None
            assert policy.jurisdictions is None or site.jurisdiction in policy.jurisdictions
            assert site.kind is SiteKind.REGION or variant.variant is not Variant.SAVEDMODEL
            if policy.accuracy_min is not None:
                assert variant.accuracy is not None
                assert variant.accuracy >= policy.accuracy_min
            assert any(share.site == chosen.site for share in decided.shares)
        for share in decided.shares:
            if service.ref not in kept:
                p99_ms = _check_share(snapshot, settings, service, decided, share)
                assert math.isclose(share.response_ms.expected, p99_ms)
            elif share.share > 0:
                _check_share(snapshot, settings, service, decided, share)


def _check_share(
    snapshot: Snapshot, settings: PlacementSettings, service: ServiceSpec, decided: ServiceDecision, share: Share
) -> float:
    """Answers the p99 that calls are to expect, in ms."""
    policy = service.policy
    (path,) = (p for p in snapshot.paths if (p.zone, p.site) == (share.zone, share.site))
    demand = next(d for d in service.demands if d.zone == share.zone)
    variant = _variant(service, next(c.variant for c in decided.chosen if c.site == share.site))
    response, p99_ms = share.response_ms, _p99_ms(path, demand, variant, settings)
    assert response.low <= response.expected <= response.high
    runs = {c.site for c in snapshot.claims if isinstance(c.hold, ReplicaHold) and c.hold.service == service.ref}
    kept = service.freeze is not None and share.site in runs
    if policy.latency_p99_ms is not None and not kept:
        assert p99_ms <= policy.latency_p99_ms * SLACK
        assert path.age_s <= policy.max_sample_age_s
    if policy.jurisdictions is not None and path.transit is not None:
        transit = next(site for site in snapshot.sites if site.name == path.transit)
        assert transit.jurisdiction in policy.jurisdictions
    assert len(share.legs) == len(path.legs)
    return p99_ms


def _stays(claim: Claim, snapshot: Snapshot) -> bool:
    """Whether a claim holds its resources whatever the planner decides."""
    wanted = {(s.ref, s.version.ref, v.digest) for s in snapshot.services for v in s.version.variants}
    if claim.phase is ClaimPhase.RELEASED:
        return False
    if claim.phase is ClaimPhase.DRAINING or not isinstance(claim.hold, ReplicaHold):
        return True
    services = {service.ref for service in snapshot.services}
    return claim.hold.service not in services and (claim.hold.service, claim.hold.version) not in wanted


@SOME
@given(snapshots(), settings_of_planner)
def test_no_site_and_no_node_is_overcommitted(snapshot: Snapshot, settings: PlacementSettings) -> None:
    check_room(snapshot, place(snapshot, settings, 0))


def check_room(snapshot: Snapshot, decision: Decision) -> None:
    for site in snapshot.sites:
        placed = [
            _variant(service, chosen.variant).need
            for service, decided in _pairs(snapshot, decision)
            for chosen in decided.chosen
            if chosen.site == site.name
            for _ in range(chosen.replicas)
        ]
        fixed = [c.need for c in snapshot.claims if c.site == site.name and _stays(c, snapshot)]
        if placed:
            assert sum((*placed, *fixed), Resources()).fits_in(site.capacity)
        if site.kind is SiteKind.EDGE:
            assert all(any(need.fits_in(node.capacity) for node in site.nodes) for need in placed)


@SOME
@given(snapshots(), settings_of_planner)
def test_replicas_carry_the_calls_that_they_are_given(snapshot: Snapshot, settings: PlacementSettings) -> None:
    check_carried(snapshot, settings, place(snapshot, settings, 0))


def check_carried(
    snapshot: Snapshot, settings: PlacementSettings, decision: Decision, kept: Mapping[ServiceRef, float] | None = None
) -> None:
    """`kept`: how many times as many calls some services' replicas may be given."""
    for service, decided in _pairs(snapshot, decision):
        rates = {demand.zone: demand.rate_rps for demand in service.demands}
        for chosen in decided.chosen:
            given_rps = sum(share.share * rates[share.zone] for share in decided.shares if share.site == chosen.site)
            one_rps = settings.target_utilisation * 1000 / _variant(service, chosen.variant).service_p50_ms
            assert given_rps <= chosen.replicas * one_rps * SLACK * (kept or {}).get(service.ref, 1.0)
        for zone in rates:
            served = sum(share.share for share in decided.shares if share.zone == zone)
            unserved = sum(left.share for left in decided.unserved if left.zone == zone)
            assert math.isclose(served + unserved, 1.0, abs_tol=1e-6)


@SOME
@given(snapshots(), settings_of_planner)
def test_links_are_not_overcommitted(snapshot: Snapshot, settings: PlacementSettings) -> None:
    check_links(snapshot, place(snapshot, settings, 0))


def check_links(snapshot: Snapshot, decision: Decision) -> None:
    legs: Counter[tuple[str, str]] = Counter()
    wan: Counter[str] = Counter()
    capacity = {}
    paths = {(path.zone, path.site): path for path in snapshot.paths}
    pairs = _pairs(snapshot, decision)
    for service, decided in pairs:
        demands = {demand.zone: demand for demand in service.demands}
        for share in (share for share in decided.shares if share.share > 0):
            path, demand = paths[share.zone, share.site], demands[share.zone]
            calls = share.share * demand.rate_rps
            if path.kind is not PathKind.LAN:
                wan[share.zone] += 8 * calls * (demand.request_bytes + demand.response_bytes)
            for leg in path.legs:
                up, down = demand.response_bytes, demand.request_bytes
                if path.kind is not PathKind.RELAY:
                    up, down = down, up
                capacity |= {(leg.source, leg.target, "up"): leg.up_bps, (leg.source, leg.target, "down"): leg.down_bps}
                legs[leg.source, leg.target, "up"] += 8 * calls * up
                legs[leg.source, leg.target, "down"] += 8 * calls * down
    if len(pairs) == 1 and (cap := pairs[0][0].policy.wan_bps_per_zone) is not None:
        assert all(used <= cap * SLACK for used in wan.values())
    # The made-up world measures a leg once for each zone, so only legs with one measurement can be compared.
    once = Counter((leg.source, leg.target) for path in snapshot.paths for leg in path.legs)
    for (source, target, way), used in legs.items():
        bps = capacity[source, target, way]
        assert not bps or once[source, target] > 1 or used <= bps * SLACK


@SOME
@given(snapshots(), settings_of_planner)
def test_every_refused_site_has_exactly_one_reason(snapshot: Snapshot, settings: PlacementSettings) -> None:
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        zones = {demand.zone for demand in service.demands}
        chosen = {one.site for one in decided.chosen}
        for site in snapshot.sites:
            said = [refused.zone for refused in decided.refused if refused.site == site.name]
            if site.name in chosen:
                assert said == []
            else:
                # One for each zone, or for all that have none of their own.
                assert len(said) == len(set(said))
                assert None in said or zones == set(said)
        for refused in decided.refused:
            event(f"refused: {refused.reason}")
            assert refused.detail
            assert refused.reason not in (Refusal.TOO_SLOW, Refusal.MEMORY) or None not in (
                refused.actual,
                refused.limit,
            )
        for left in decided.unserved:
            assert left.nearest is not None


@SOME
@given(snapshots(), settings_of_planner)
def test_counts_domains_and_costs_keep_the_policy(snapshot: Snapshot, settings: PlacementSettings) -> None:
    check_counts(snapshot, place(snapshot, settings, 0))


def check_counts(snapshot: Snapshot, decision: Decision) -> None:
    sites = {site.name: site for site in snapshot.sites}
    for service, decided in _pairs(snapshot, decision):
        policy = service.policy
        total = sum(chosen.replicas for chosen in decided.chosen)
        usd = sum(
            chosen.replicas
            * sites[chosen.site].price_usd_per_hour
            * _variant(service, chosen.variant).need.compute_millis
            / 1000
            for chosen in decided.chosen
        )
        assert math.isclose(usd, decided.usd_per_hour, abs_tol=1e-9)
        if service.freeze is not None:
            continue  # it keeps what runs, whatever was written since
        assert total <= policy.replicas_max
        assert policy.max_usd_per_hour is None or usd <= policy.max_usd_per_hour * SLACK
        fit = {r.reason for r in decided.refused} & {Refusal.OUTRANKED}
        if fit and decided.chosen:
            # A site that fits was left over although it was free to take: then the policy lacked nothing.
            assert total >= policy.replicas_min
    assert math.isclose(decision.usd_per_hour, sum(d.usd_per_hour for d in decision.services), abs_tol=1e-9)
    assert decision.lower_bound_usd_per_hour <= decision.objective_usd_per_hour * SLACK


@SOME
@given(snapshots(), settings_of_planner, st.randoms(use_true_random=False), st.integers(0, 9))
def test_order_and_seed_do_not_matter(snapshot: Snapshot, settings: PlacementSettings, random, seed: int) -> None:  # type: ignore[no-untyped-def]
    def shuffled(values):  # type: ignore[no-untyped-def]
        return tuple(random.sample(values, len(values)))

    mixed = Snapshot(
        sites=shuffled([replace(site, nodes=shuffled(site.nodes)) for site in snapshot.sites]),
        services=shuffled(
            [
                replace(
                    service,
                    demands=shuffled(service.demands),
                    rules=shuffled(service.rules),
                    version=replace(service.version, variants=shuffled(service.version.variants)),
                )
                for service in snapshot.services
            ]
        ),
        paths=shuffled(snapshot.paths),
        claims=shuffled(snapshot.claims),
        quotas=shuffled(snapshot.quotas),
    )
    assert place(mixed, settings, seed) == place(snapshot, settings, 0)


def variants_and_shares(decision: Decision) -> list[tuple[Variant, Share]]:
    return [
        (chosen.variant, share)
        for service in decision.services
        for share in service.shares
        for chosen in service.chosen
        if chosen.site == share.site
    ]


@SOME
@given(snapshots(most_services=1), settings_of_planner, st.sampled_from([2.0, 100.0]))
def test_more_bandwidth_never_raises_cost(snapshot: Snapshot, settings: PlacementSettings, factor: float) -> None:
    def faster(path: Path) -> Path:
        return replace(
            path,
            legs=tuple(
                replace(
                    leg,
                    up_bps=leg.up_bps * factor if leg.up_bps else None,
                    down_bps=leg.down_bps * factor if leg.down_bps else None,
                )
                for leg in path.legs
            ),
        )

    wider = replace(snapshot, paths=tuple(faster(path) for path in snapshot.paths))
    # Of one variant: where time is won, a more precise and slower one may be taken that was too slow before.
    before = {(s.zone, s.site, v): s for v, s in variants_and_shares(place(snapshot, settings, 0))}
    after = {(s.zone, s.site, v): s for v, s in variants_and_shares(place(wider, settings, 0))}
    for ends in before.keys() & after.keys():
        assert after[ends].response_ms.expected <= before[ends].response_ms.expected


@SOME
@given(snapshots(), settings_of_planner)
def test_a_decision_is_stable_once_it_is_carried_out(snapshot: Snapshot, settings: PlacementSettings) -> None:
    """With the chosen replicas running and nothing else changed, planning again moves nothing."""
    free = replace(snapshot, claims=())
    first = place(free, settings, 0)
    running = tuple(
        Claim(
            id=f"{service.ref.name}-{chosen.site}-{number}",  # type: ignore[arg-type]
            site=chosen.site,
            node=None,
            need=_variant(service, chosen.variant).need,
            phase=ClaimPhase.BOUND,
            hold=ReplicaHold(
                service.ref, service.version.ref, chosen.variant, _variant(service, chosen.variant).digest
            ),
            decision=None,
            epoch=1,
            since_s=0.0,
        )
        for service, decided in _pairs(snapshot, first)
        for chosen in decided.chosen
        for number in range(chosen.replicas)
    )
    again = place(replace(free, claims=running), settings, 0)
    if len(snapshot.services) == 1:
        assert _plan(again) == _plan(first)


def _plan(decision: Decision) -> object:
    return [{(c.site, c.replicas, c.variant) for c in decided.chosen} for decided in decision.services]
