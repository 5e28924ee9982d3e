"""Changes of what there is: quotas, machines, links."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal, Snapshot
from orchestrator.model.specs import NodeSpec, QuotaSpec, SiteKind, SiteSpec, VariantSpec
from orchestrator.placement.options.figures import up
from orchestrator.placement.options.lost import PER_KIND, Effort, Lost, Option, call_mbit

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Resource:
    field: str  # in the objects that operators write
    unit: str
    each: Resources  # one unit of it
    whole: bool

    def of(self, those: Resources) -> float:
        if self.each.memory_bytes:
            return those.memory_bytes / self.each.memory_bytes
        return those.compute_millis / self.each.compute_millis

    def amount(self, figure: float) -> Resources:
        return Resources(math.ceil(self.each.memory_bytes * figure), math.ceil(self.each.compute_millis * figure))

    def said(self, figure: float) -> str:
        if self.unit == "MiB":
            return f"{figure / 1024:.3g} GiB of memory" if figure >= 1024 else f"{figure:g} MiB of memory"
        return f"{figure:g} {'core' if figure == 1 else 'cores'}"


MEMORY = Resource("memory_mib", "MiB", Resources(MIB, 0), whole=True)
COMPUTE = Resource("cores", "cores", Resources(0, 1000), whole=False)


def of_places(lost: Lost) -> Iterator[Option]:
    yield from _quotas(lost)
    yield from _capacity(lost)
    yield from _links(lost)


def _quotas(lost: Lost) -> Iterator[Option]:
    for unit, resource in (("MiB", MEMORY), ("cores", COMPUTE)):
        those = [one for one in lost.of(Refusal.QUOTA) if one.unit == unit]
        if not those:
            continue
        lack = min(one.missed or 0.0 for one in those)
        need = max(resource.of(variant.need) for variant in lost.service.version.variants)
        wanted = [lack + count * need for count in range(lost.replicas(lost.service.version.variants))]
        for quota in sorted(lost.snapshot.quotas, key=lambda quota: quota.name):
            if quota.namespace == lost.service.ref.namespace:
                yield _added(
                    lost,
                    resource,
                    f"TenantQuota {quota.namespace}/{quota.name}",
                    resource.field,
                    resource.of(quota.limit),
                    wanted,
                    partial(_with_quota, lost, quota, resource),
                    Effort.QUOTA,
                    lost.estimate_of(those),
                )


def _with_quota(lost: Lost, quota: QuotaSpec, resource: Resource, figure: float) -> Snapshot:
    more = resource.amount(figure)
    quotas = tuple(replace(one, limit=one.limit + more) if one == quota else one for one in lost.snapshot.quotas)
    return replace(lost.snapshot, quotas=quotas)


def _added(
    lost: Lost,
    resource: Resource,
    object: str,
    field: str,
    before: float,
    wanted: Iterable[float],
    change: Callable[[float], Snapshot],
    effort: Effort,
    estimate_usd_per_hour: float,
) -> Option:
    """Memory or compute that is added to what there is."""
    return Option(
        field=field,
        object=object,
        unit=resource.unit,
        before=before,
        figures=tuple(sorted({up(value, resource.whole) for value in wanted if value > 0})),
        change=change,
        after=lambda figure: before + figure,
        said=lambda figure: f"+{resource.said(figure)} on {object}",
        effort=effort,
        estimate_usd_per_hour=estimate_usd_per_hour,
        least=0.0,
        whole=resource.whole,
    )


def _capacity(lost: Lost) -> Iterator[Option]:
    for reason, resource in ((Refusal.MEMORY, MEMORY), (Refusal.COMPUTE, COMPUTE)):
        for one in lost.cheapest(lost.of(reason)):
            site = lost.site(one.site)
            variants = lost.service.version.variants_on(site.hardware_class)
            same = [v for v in variants if resource.of(v.need) == one.actual] or variants
            wanted = [(one.missed or 0.0) + count * (one.actual or 0.0) for count in range(lost.replicas(same))]
            node = next((node for node in site.nodes if node.name == one.node), None)
            if node is not None or site.kind is SiteKind.REGION:
                yield _more(lost, site, node, resource, wanted)
            if len({variant.need for variant in variants}) > 1:
                yield from _elsewhere(lost, site, node, resource, variants)


def _elsewhere(
    lost: Lost, site: SiteSpec, node: NodeSpec | None, resource: Resource, variants: Sequence[VariantSpec]
) -> Iterator[Option]:
    """What was recorded is what the best variant lacks at one node: another may lack less, of the other resource."""
    places: list[NodeSpec | None] = [*sorted(site.nodes, key=lambda one: one.name)] or [None]
    for other, found in itertools.product(places[:PER_KIND], (MEMORY, COMPUTE)):
        if (other, found) != (node, resource):
            need = max(found.of(variant.need) for variant in variants)
            yield replace(_more(lost, site, other, found, [need, need * lost.replicas(variants)]), likely=False)


def _more(lost: Lost, site: SiteSpec, node: NodeSpec | None, resource: Resource, wanted: Iterable[float]) -> Option:
    """A site's own quota may offer less than its nodes do; else what a node offers more the site does."""
    offered = sum((node.capacity for node in site.nodes), Resources())
    if node is not None and resource.of(site.capacity) < resource.of(offered):
        node = None
    return _added(
        lost,
        resource,
        f"Site {site.name}" if node is None else f"node {node.name} of {site.name}",
        f"quota.{resource.field}" if node is None else resource.field,
        resource.of(site.capacity if node is None else node.capacity),
        wanted,
        partial(_grown, lost, site, node, resource),
        Effort.QUOTA if node is None else Effort.CAPACITY,
        lost.estimate_usd_per_hour(site.name),
    )


def _grown(lost: Lost, site: SiteSpec, node: NodeSpec | None, resource: Resource, figure: float) -> Snapshot:
    """`node` None: the site's own quota is raised; else what that node offers."""
    more = resource.amount(figure)
    nodes = tuple(replace(one, capacity=one.capacity + more) if one == node else one for one in site.nodes)
    return lost.with_site(replace(site, capacity=site.capacity + more, nodes=nodes))


def _links(lost: Lost) -> Iterator[Option]:
    """Which of the links was full is not recorded: each that somebody declared is tried."""
    those, demand = lost.of(Refusal.BANDWIDTH), lost.demand
    for one in lost.cheapest(those):
        site, part = lost.site(one.site), (one.missed or 0.0) / call_mbit(demand)
        for field, bps, size_bytes in (
            ("link_in_mbps", site.link_in_bps, demand.request_bytes),
            ("link_out_mbps", site.link_out_bps, demand.response_bytes),
        ):
            if bps and size_bytes:
                yield _link(lost, site, field, bps, part * 8 * size_bytes / 1e6)
    passed = {path.transit: one for one in those for path in lost.paths(one.site)}
    for region in sorted(lost.snapshot.sites, key=lambda site: site.name):
        if region.name in passed and region.front_bps:
            yield _link(lost, region, "front_mbps", region.front_bps, passed[region.name].missed or 0.0)


_BPS_FIELDS = {"link_in_mbps": "link_in_bps", "link_out_mbps": "link_out_bps", "front_mbps": "front_bps"}


def _link(lost: Lost, site: SiteSpec, field: str, bps: float, more_mbps: float) -> Option:
    before, object = bps / 1e6, f"Site {site.name}"
    return Option(
        field=field,
        object=object,
        unit="Mbit/s",
        before=before,
        figures=tuple(sorted({up(before + more_mbps), up(before + lost.all_mbps)})),
        change=lambda mbps: lost.with_site(replace(site, **{_BPS_FIELDS[field]: mbps * 1e6})),  # type: ignore[arg-type]
        after=lambda figure: figure,
        said=lambda figure: f"{field} {before:g} -> {figure:g} Mbit/s on {object}",
        effort=Effort.CAPACITY,
        estimate_usd_per_hour=lost.estimate_usd_per_hour(site.name),
        least=before,
    )
