"""What every decision owes its policies' newer rules, checked by formulas of their own."""

from collections import Counter
from itertools import combinations

from hypothesis import event, given
from hypothesis import settings as tried

from orchestrator.model.ids import SiteName
from orchestrator.model.legs import PathKind
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Snapshot
from orchestrator.model.specs import ServiceSpec, SiteKind, VariantSpec, Within
from orchestrator.placement import place
from tests.strategies import settings_of_planner, snapshots

SOME = tried(max_examples=60, deadline=None)
SLACK = 1 + 1e-6


def _pairs(snapshot: Snapshot, decision: Decision) -> list[tuple[ServiceSpec, ServiceDecision]]:
    specs = {service.ref: service for service in snapshot.services}
    return [(specs[decided.service], decided) for decided in decision.services]


def _variant(service: ServiceSpec, decided: ServiceDecision, site: SiteName) -> VariantSpec:
    (name,) = (chosen.variant for chosen in decided.chosen if chosen.site == site)
    return next(v for v in service.version.variants if v.variant is name)


@SOME
@given(snapshots(), settings_of_planner)
def test_bans_pins_and_bursts_are_kept_or_said(snapshot: Snapshot, settings: PlacementSettings) -> None:
    kinds = {site.name: site.kind for site in snapshot.sites}
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        policy, held = service.policy, {chosen.site: chosen.replicas for chosen in decided.chosen}
        assert not policy.bans & held.keys()
        assert policy.burst_to_cloud or SiteKind.REGION not in {kinds[site] for site in held}
        unmet = sum(held.get(pin.site, 0) < pin.replicas for pin in policy.pins)
        assert unmet == sum(shortfall.rule == "affinity.pins" for shortfall in decided.shortfalls)
        if sum(held.values()) < policy.replicas_min:
            assert "replicas.min" in {shortfall.rule for shortfall in decided.shortfalls}
        assert all(shortfall.detail for shortfall in decided.shortfalls)


@SOME
@given(snapshots(), settings_of_planner)
def test_services_that_are_kept_apart_share_nothing(snapshot: Snapshot, settings: PlacementSettings) -> None:
    domains = {site.name: site.failure_domain for site in snapshot.sites}
    decided = {one.service: {chosen.site for chosen in one.chosen} for one in place(snapshot, settings, 0).services}
    for service in snapshot.services:
        for rule in service.policy.anti_affinity:
            if rule.service == service.ref or rule.service not in decided:
                continue
            mine, theirs = decided[service.ref], decided[rule.service]
            event(f"kept apart: {bool(mine and theirs)}")
            assert not mine & theirs
            if rule.within is Within.FAILURE_DOMAIN:
                assert not {domains[site] for site in mine} & {domains[site] for site in theirs}


@SOME
@given(snapshots(), settings_of_planner)
def test_no_domain_carries_more_than_its_share(snapshot: Snapshot, settings: PlacementSettings) -> None:
    domains = {site.name: site.failure_domain for site in snapshot.sites}
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        rates = {demand.zone: demand.rate_rps for demand in service.demands}
        total = sum(rates.values())
        carried: Counter[str] = Counter()
        for share in decided.shares:
            part = rates[share.zone] / total if total else 1 / len(rates)
            carried[domains[share.site]] += share.share * part  # type: ignore[assignment]
        assert all(part <= service.policy.max_share_per_domain * SLACK for part in carried.values())


@SOME
@given(snapshots(), settings_of_planner)
def test_what_survives_a_loss_survives_it(snapshot: Snapshot, settings: PlacementSettings) -> None:
    """By Hall's condition: any set of zones finds room at the other sites that any of them can reach."""
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        if not service.policy.survive_site_losses:
            continue
        if any(shortfall.rule == "replicas.survive_site_losses" for shortfall in decided.shortfalls):
            event("not survived, and said")
            continue
        rates = {demand.zone: demand.rate_rps for demand in service.demands}
        served = Counter(dict.fromkeys(rates, 0.0))  # type: ignore[type-var]
        reach = {zone: {share.site for share in decided.shares if share.zone == zone} for zone in rates}
        for share in decided.shares:
            served[share.zone] += share.share * rates[share.zone]  # type: ignore[assignment]
        room = {
            chosen.site: chosen.replicas
            * settings.target_utilisation
            * 1000
            / _variant(service, decided, chosen.site).service_p50_ms
            for chosen in decided.chosen
        }
        event(f"survived by {len(room)} sites")
        for lost in room:
            for size in range(1, len(rates) + 1):
                for zones in combinations(sorted(rates), size):
                    left = set().union(*(reach[zone] for zone in zones)) - {lost}
                    assert sum(served[zone] for zone in zones) <= sum(room[site] for site in left) * SLACK


@SOME
@given(snapshots(), settings_of_planner)
def test_quotas_hold_for_what_is_placed(snapshot: Snapshot, settings: PlacementSettings) -> None:
    if any(service.freeze for service in snapshot.services):
        return  # they keep what runs, whatever was written since
    needs = [
        _variant(service, decided, chosen.site).need * chosen.replicas
        for service, decided in _pairs(snapshot, place(snapshot, settings, 0))
        for chosen in decided.chosen
    ]
    for quota in snapshot.quotas:
        if quota.namespace == "default":
            assert sum(needs, Resources()).fits_in(quota.limit)


@SOME
@given(snapshots(), settings_of_planner)
def test_links_of_sites_and_fronts_bear_what_is_sent(snapshot: Snapshot, settings: PlacementSettings) -> None:
    sites = {site.name: site for site in snapshot.sites}
    paths = {(path.zone, path.site): path for path in snapshot.paths}
    used: Counter[tuple[str, str]] = Counter()
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        demands = {demand.zone: demand for demand in service.demands}
        for share in decided.shares:
            path, demand = paths[share.zone, share.site], demands[share.zone]
            if path.kind is not PathKind.LAN:
                request, response = (
                    8 * share.share * demand.rate_rps * size for size in (demand.request_bytes, demand.response_bytes)
                )
                used["in", share.site] += request  # type: ignore[assignment]
                used["out", share.site] += response  # type: ignore[assignment]
                used["front", "f"] += request + response  # type: ignore[assignment]
    for site in snapshot.sites:
        for way, limit in (("in", site.link_in_bps), ("out", site.link_out_bps)):
            assert limit is None or used[way, site.name] <= limit * SLACK
    front_bps = sites[SiteName("region-x")].front_bps
    assert front_bps is None or used["front", "f"] <= front_bps * SLACK


@SOME
@given(snapshots(), settings_of_planner)
def test_the_terms_of_the_cost_add_up(snapshot: Snapshot, settings: PlacementSettings) -> None:
    for service, decided in _pairs(snapshot, place(snapshot, settings, 0)):
        costs, rates = decided.costs, {demand.zone: demand.rate_rps for demand in service.demands}
        assert abs(costs.replicas - decided.usd_per_hour) < 1e-9
        lost = sum(left.share * rates[left.zone] for left in decided.unserved)
        assert abs(costs.unserved - lost * 3600 * service.policy.usd_per_unserved_call) <= 1e-6 * (1 + costs.unserved)
        waited = sum(share.share * rates[share.zone] * share.response_ms.expected / 1000 for share in decided.shares)
        assert abs(costs.latency - waited * service.policy.usd_per_hour_waited) <= 1e-6 * (1 + costs.latency)
        assert min(costs.egress, costs.changes) >= 0
