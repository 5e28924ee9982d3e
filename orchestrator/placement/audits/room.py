"""Memory and compute: of each site, and of its nodes, where some packing of the replicas must exist."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model.claims import ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import SiteKind, SiteSpec, VariantSpec
from orchestrator.placement.audits.case import Case, Scene, is_of, live

# Beyond these a packing is only looked for by rule of thumb.
MOST_EXACT_REPLICAS = 14
MOST_EXACT_NODES = 6


@dataclass(frozen=True, slots=True)
class Item:
    """A replica that wants a node, and what its service finds held on each of them."""

    need: Resources
    beside: tuple[Resources, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """A node, the replicas on it, and the most that one of them finds held there."""

    capacity: Resources
    used: Resources = field(default_factory=Resources)
    beside: Resources = field(default_factory=Resources)

    def with_one(self, item: Item, at: int) -> "Bin | None":
        """None: it does not fit beside what is held in its own eyes, or another one then would not."""
        memory = max(self.beside.memory_bytes, item.beside[at].memory_bytes)
        compute = max(self.beside.compute_millis, item.beside[at].compute_millis)
        used, beside = self.used + item.need, Resources(memory, compute)
        return Bin(self.capacity, used, beside) if (used + beside).fits_in(self.capacity) else None


def check_room(scene: Scene) -> None:
    """Each service beside what it may not drive out: all that is placed, and the claims that `_holding` names."""
    for site in scene.snapshot.sites:
        there = [case for case in scene.cases.values() if site.name in case.held]
        for case in there:
            if found := _too_little(scene, case, site, there):
                scene.say(found[0], f"site {site.name}", found[1], found[2], case.ref)
                break
        else:
            if there and site.kind is SiteKind.EDGE and not _nodes_bear(scene, site, there):
                count = sum(case.held[site.name].count for case in there)
                scene.say("nodes", f"site {site.name}", f"{count} replicas", "what some packing on its nodes holds")


def bears_more(scene: Scene, case: Case, site: SiteSpec, variant: VariantSpec) -> bool:
    """Whether the site has room for one more replica of a service beside all that is placed."""
    there = [other for other in scene.cases.values() if site.name in other.held]
    if _too_little(scene, case, site, there, variant):
        return False
    return site.kind is SiteKind.REGION or _nodes_bear(scene, site, there, (case, variant))


def _too_little(
    scene: Scene, case: Case, site: SiteSpec, there: Sequence[Case], more: VariantSpec | None = None
) -> tuple[str, int, int] | None:
    """The resource of which the site as a whole has too little."""
    placed = [one.held[site.name].variant.need * one.held[site.name].count for one in there]
    total = sum((*placed, *([more.need] if more else [])), Resources())
    total = sum((need for _, need in _holding(scene, case, site.name, more)), total)
    if total.memory_bytes > site.capacity.memory_bytes:
        return "memory", total.memory_bytes, site.capacity.memory_bytes
    if total.compute_millis > site.capacity.compute_millis:
        return "compute", total.compute_millis, site.capacity.compute_millis
    return None


def _holding(
    scene: Scene, case: Case, site: SiteName, more: VariantSpec | None
) -> Iterator[tuple[NodeName | None, Resources]]:
    """Claims that hold their resources whatever the service would like.

    Jobs, what drains, services that nobody wants any more, and its own predecessors, beside which a successor starts.
    Of others what stops with this decision, unless their priority is lower: those make way, but not in a freeze.
    """
    left = {other.ref: other.held[site].kept for other in scene.cases.values() if site in other.held}
    for claim in scene.claims.get(site, ()):
        owner = scene.cases.get(claim.hold.service) if isinstance(claim.hold, ReplicaHold) and live(claim) else None
        if owner is None:
            yield claim.node, claim.need
            continue
        mine = owner.held[site].variant if site in owner.held else (more if owner is case else None)
        stays = mine is not None and is_of(claim, owner.spec, mine)
        if stays and (owner is case or left.get(owner.ref, 0) > 0):
            left[owner.ref] = left.get(owner.ref, 0) - 1
            continue
        makes_way = owner.spec.policy.priority < case.spec.policy.priority and owner.spec.freeze is None
        if owner is case or not makes_way:
            yield claim.node, claim.need


def _nodes_bear(
    scene: Scene, site: SiteSpec, there: Sequence[Case], more: tuple[Case, VariantSpec] | None = None
) -> bool:
    """Whether the replicas can stand on the nodes, each beside what its own service may not drive out of that node."""
    bins = [Bin(node.capacity) for node in site.nodes]
    beside = {case.ref: _beside(scene, case, site, None) for case in there}
    items = [
        Item(case.held[site.name].variant.need, beside[case.ref])
        for case in there
        for _ in range(case.held[site.name].count)
    ]
    if more is not None:
        items.append(Item(more[1].need, _beside(scene, more[0], site, more[1])))
        return packs(items, bins)
    return packs(items, bins) or _packed_as_they_run(scene, site, there, bins, beside)


def _beside(scene: Scene, case: Case, site: SiteSpec, more: VariantSpec | None) -> tuple[Resources, ...]:
    """What a service finds held, node by node."""
    held = {node.name: Resources() for node in site.nodes}
    for node, need in _holding(scene, case, site.name, more):
        if node in held:
            held[node] += need
    return tuple(held[node.name] for node in site.nodes)


def packs(items: Sequence[Item], bins: Sequence[Bin]) -> bool:
    """First fit, largest first, by either resource; then, of a small case, every way there is."""
    by_memory = sorted(items, key=lambda one: (-one.need.memory_bytes, -one.need.compute_millis))
    by_compute = sorted(items, key=lambda one: (-one.need.compute_millis, -one.need.memory_bytes))
    if _first_fit(by_memory, list(bins)) or _first_fit(by_compute, list(bins)):
        return True
    return len(items) <= MOST_EXACT_REPLICAS and len(bins) <= MOST_EXACT_NODES and _any_fit(by_memory, list(bins))


def _first_fit(items: Sequence[Item], bins: list[Bin]) -> bool:
    for item in items:
        fits = ((at, after) for at, one in enumerate(bins) if (after := one.with_one(item, at)))
        at, after = next(fits, (None, None))
        if at is None or after is None:
            return False
        bins[at] = after
    return True


def _any_fit(items: Sequence[Item], bins: list[Bin]) -> bool:
    if not items:
        return True
    tried: set[tuple[object, ...]] = set()
    for at, one in enumerate(bins):
        # A node that is like another in all that the rest of the replicas see is the same try again.
        alike = (one, *(item.beside[at] for item in items))
        after = one.with_one(items[0], at)
        if after is not None and alike not in tried:
            tried.add(alike)
            if _any_fit(items[1:], [*bins[:at], after, *bins[at + 1 :]]):
                return True
    return False


def _packed_as_they_run(
    scene: Scene,
    site: SiteSpec,
    there: Sequence[Case],
    bins: list[Bin],
    beside: Mapping[ServiceRef, tuple[Resources, ...]],
) -> bool:
    """What runs where it runs, the rest by turn to the node with most memory left, as it will be at commit."""
    index = {node.name: at for at, node in enumerate(site.nodes)}
    fixed: list[tuple[Item, int]] = []
    fresh: list[Item] = []
    for case in sorted(there, key=lambda one: one.turn):
        held = case.held[site.name]
        item = Item(held.variant.need, beside[case.ref])
        kept = [c for c in scene.claims.get(site.name, ()) if is_of(c, case.spec, held.variant)][: held.kept]
        fixed += [(item, index.get(claim.node, -1) if claim.node else -1) for claim in kept]
        fresh += [item] * (held.count - held.kept)
    for item, at in fixed:
        after = bins[at].with_one(item, at) if at >= 0 else None
        if after is None:
            return False
        bins[at] = after
    for item in fresh:
        able = [(at, after) for at, one in enumerate(bins) if (after := one.with_one(item, at))]
        if not able:
            return False
        at, after = max(able, key=lambda one: bins[one[0]].capacity.memory_bytes - bins[one[0]].used.memory_bytes)
        bins[at] = after
    return True
