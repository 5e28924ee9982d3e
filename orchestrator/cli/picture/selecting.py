"""From a view to what fits on a picture: the rest is merged where it serves, and counted where it does not."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from orchestrator.cli.picture.choosing import (
    SEEN,
    Shown,
    importance,
    jurisdiction_of,
    kind_of,
    rate_of,
    relay_of,
    shown_of,
)
from orchestrator.cli.picture.graph import Alarm, Flow, Graph, Note, Row, SiteNode, ZoneNode
from orchestrator.cli.rows import figure
from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Interval, RefusedSite
from orchestrator.model.view import FlowView, PlacementView, ReplicasView, ServiceView, SiteView, ZoneView

MOST_SERVICES = 6  # colours that are told apart
MOST_FLOWS = 30  # more are bundled
UNBROKEN = "\u00a0"  # a space at which no line ends
# Service, from where, to where, over which relay, and whether it ends there.
Ways: TypeAlias = defaultdict[tuple[int, str, str, str | None, bool], list[FlowView]]


def graph(view: PlacementView, title: str, facts: Sequence[str]) -> Graph:
    """`title` and `facts`: what the caller says of it; the rest is the view's."""
    services = sorted(view.services, key=importance)[:MOST_SERVICES]
    services.sort(key=lambda one: one.service)
    known = {site.name: site for site in view.sites}
    homes = {zone.name: zone for zone in view.zones}
    shown = shown_of(services, known, homes)
    alarms = [one for service in services for one in service.unserved]
    lost_rps = sum(one.rate_rps for one in alarms)
    lost = _calls(lost_rps) if lost_rps else "calls"
    zones = len({one.zone for one in alarms})
    return Graph(
        title=title,
        facts=tuple(facts),
        alarm=f"NOT SERVED: {lost} of {zones} zone{'s' * (zones > 1)}" if alarms else "",
        services=tuple(str(one.service) for one in services),
        sites=tuple(_site_nodes(services, known, homes, shown)),
        zones=tuple(_zone_nodes(services, homes, shown)),
        flows=tuple(_flows(services, known, homes, shown)),
        remarks=tuple(_remarks(view, services)),
        left_out=tuple(_left_out(view, services, known, shown)),
    )


def _remarks(view: PlacementView, services: Sequence[ServiceView]) -> Iterator[str]:
    for problem in view.problems:
        yield f"Cannot be judged: {problem.service}: {problem.reason}"
    for service in services:
        for one in service.shortfalls:
            yield f"Not kept: {service.service.name}: {one.rule} {figure(one.actual)} of {figure(one.wanted, one.unit)}"


def refusal_text(one: RefusedSite) -> str:
    """ "too-slow 122.9 > 40 ms" """
    if one.actual is None or one.limit is None:
        return str(one.reason)
    sign = ">" if one.actual > one.limit else "<" if one.actual < one.limit else "="
    limit = f"{_digits(one.limit)}{UNBROKEN}{one.unit}" if one.unit else _digits(one.limit)
    return f"{one.reason} {_digits(one.actual)}{UNBROKEN}{sign}{UNBROKEN}{limit}"


def _site_nodes(
    services: Sequence[ServiceView],
    known: Mapping[SiteName, SiteView],
    homes: Mapping[ZoneName, ZoneView],
    shown: Shown,
) -> Iterator[SiteNode]:
    members: defaultdict[str, list[SiteName]] = defaultdict(list)
    relayed_rps: defaultdict[str, float] = defaultdict(float)
    for service in services:
        for flow in service.flows:
            if relay := relay_of(flow, known, homes):
                relayed_rps[shown.sites[relay]] += flow.rate_rps
    for name, key in sorted(shown.sites.items()):
        members[key].append(name)
    for key, names in sorted(members.items()):
        first, alone = names[0], key.startswith("site/")
        site = known.get(first)
        yield SiteNode(
            key=key,
            kind=kind_of(first, known),
            title=first if alone else f"{len(names)} more sites",
            jurisdiction=jurisdiction_of(first, known),
            failure_domain=site.failure_domain if alone and site else "",
            rows=tuple(row for at, one in enumerate(services) for row in _rows(at, one, frozenset(names), alone)),
            notes=tuple(_notes(services, first)) if alone else (),
            relays=f"relays {_calls(relayed_rps[key])}" if key in relayed_rps else "",
            stands_for=len(names),
        )


def _rows(at: int, service: ServiceView, names: frozenset[SiteName], alone: bool) -> Iterator[Row]:
    """Of several sites one row for a service, whatever the versions."""
    here = [one for one in service.replicas if one.site in names]
    if alone:
        for one in here:
            yield Row(at, _what(service, one), one.stays, one.starts, one.stops)
    elif here:
        counts = (sum(one.stays for one in here), sum(one.starts for one in here), sum(one.stops for one in here))
        yield Row(at, service.service.name, *counts)


def _what(service: ServiceView, one: ReplicasView) -> str:
    """Versions are mostly named for their service: its name is said where they are not."""
    name = service.service.name
    version = one.version.name if one.version.name.startswith(name) else f"{name}: {one.version.name}"
    return f"{version} {one.variant.removeprefix('litert-')}"


def _notes(services: Sequence[ServiceView], name: SiteName) -> Iterator[Note]:
    """One for each reason."""
    told: defaultdict[str, list[int]] = defaultdict(list)
    for at, service in enumerate(services):
        for one in service.refused:
            if one.site == name:
                told[refusal_text(one)].append(at)
    for text, those in told.items():
        yield Note(tuple(those), text)


def _zone_nodes(
    services: Sequence[ServiceView], homes: Mapping[ZoneName, ZoneView], shown: Shown
) -> Iterator[ZoneNode]:
    members: defaultdict[str, list[ZoneName]] = defaultdict(list)
    for name, key in sorted(shown.zones.items()):
        members[key].append(name)
    for key, names in sorted(members.items()):
        flows = [one for service in services for one in service.flows if one.zone in names]
        lost = [one for service in services for one in service.unserved if one.zone in names]
        home, region = homes[names[0]].site, homes[names[0]].region
        yield ZoneNode(
            key=key,
            title=names[0] if len(names) == 1 else f"{len(names)} {'more ' * key.startswith('zones/')}zones",
            subtitle=_calls(rate_of(flows) + sum(one.rate_rps for one in lost)),
            home=shown.sites.get(home) if home and key.startswith("lan/") else None,
            region=shown.sites.get(region) if region else None,
            alarms=tuple(one for at, service in enumerate(services) for one in _alarms(at, service, set(names))),
        )


def _alarms(at: int, service: ServiceView, names: set[ZoneName]) -> Iterator[Alarm]:
    lost = [one for one in service.unserved if one.zone in names]
    if len(lost) == 1 and len(names) == 1:
        near = lost[0].nearest
        yield Alarm(at, f"{lost[0].share:.0%} not served", f"{near.site}: {refusal_text(near)}" if near else "")
    elif lost:
        yield Alarm(at, f"{_calls(sum(one.rate_rps for one in lost))} not served", f"of {len(lost)} zones")


def _flows(
    services: Sequence[ServiceView],
    known: Mapping[SiteName, SiteView],
    homes: Mapping[ZoneName, ZoneView],
    shown: Shown,
) -> Iterator[Flow]:
    whole: Ways = defaultdict(list)
    bundled: Ways = defaultdict(list)
    for at, service in enumerate(services):
        for one in service.flows:
            zone, site, relay = shown.zones[one.zone], shown.sites[one.site], relay_of(one, known, homes)
            over = shown.sites[relay] if relay else None
            whole[at, zone, site, over, False].append(one)
            if over is None:
                bundled[at, zone, site, None, False].append(one)
            else:
                bundled[at, zone, over, None, True].append(one)
                bundled[at, over, site, None, False].append(one)
    ways = whole if len(whole) <= MOST_FLOWS else bundled
    # Without any rate, as of a service that nobody called yet, shares say how much.
    rates = any(one.rate_rps for those in ways.values() for one in those)
    weights = {way: sum(one.rate_rps if rates else one.share for one in those) for way, those in ways.items()}
    most = max(weights.values(), default=0.0)
    for way, those in sorted(ways.items(), key=lambda found: (*found[0][:3], found[0][3] or "", found[0][4])):
        at, start, stop, over, into = way
        limit_ms, answers = services[at].limit_ms, [one.p99_ms for one in those if one.p99_ms is not None]
        yield Flow(
            service=at,
            start=start,
            stop=stop,
            relay=over,
            into=into,
            weight=weights[way] / most if most else 0.0,
            label="" if into else _label(those, answers),
            late=not into and limit_ms is not None and any(one.expected > limit_ms for one in answers),
            ends=not answers,
        )


def _label(flows: Sequence[FlowView], answers: Sequence[Interval]) -> str:
    """Share and expected p99; of several flows calls and the range of it."""
    if len(flows) > 1:
        share = _calls(rate_of(flows))
    else:
        one = flows[0]
        moved = abs(one.share - one.share_before) > SEEN
        share = f"{one.share_before * 100:.0f}→{one.share:.0%}" if moved else f"{one.share:.0%}"
    if not answers:
        return share
    low, high = (_digits(bound(one.expected for one in answers)) for bound in (min, max))
    return f"{share} · {low} ms" if low == high else f"{share} · {low}–{high} ms"  # noqa: RUF001


def _left_out(
    view: PlacementView, services: Sequence[ServiceView], known: Mapping[SiteName, SiteView], shown: Shown
) -> Iterator[str]:
    if hidden := len(view.services) - len(services):
        yield f"{hidden} more services are not drawn: these have more unserved calls, changes and calls"
    for service in services:
        counts = Counter({one.reason: one.sites for one in service.refused_more})
        counts.update(one.reason for one in service.refused if one.site not in shown.sites)
        if counts:
            told = ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
            sites = sum(counts.values())
            yield f"{service.service.name}: {sites} more refused site{'s' * (sites > 1)}: {told}"


def _calls(rate_rps: float) -> str:
    return f"{_digits(rate_rps)} calls/s"


def _digits(value: float) -> str:
    """One digit after the point at most below a thousand: 122.9, 40, 1840."""
    if abs(value) < 1 and value:
        return f"{value:.2g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}".removesuffix(".0")
