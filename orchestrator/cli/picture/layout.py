"""Where everything goes: zones at the left, regions, edge sites, and beside these the zones on their LANs.

No object says where on Earth a site is, so the columns follow the calls. The same graph gives the same picture.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cli.picture.cards import (
    BODY,
    POINT,
    SITE_WIDTH,
    SMALL,
    ZONE_WIDTH,
    Lane,
    draw_site,
    draw_zone,
    hung_height,
    refused,
    site_height,
    zone_height,
)
from orchestrator.cli.picture.columns import PANEL_PAD, Stacked, stacked, stacked_sites
from orchestrator.cli.picture.graph import Flow, Graph, Kind, SiteNode
from orchestrator.cli.picture.margins import draw_foot, draw_head, foot_height, head_height
from orchestrator.cli.picture.scene import Anchor, Box, Ink, Look, Measure, Ribbon, Scene
from orchestrator.cli.picture.sheet import Sheet

MARGIN = 24.0
BEND = 62.0  # over which a ribbon goes up or down
LABEL = 7.5
WIDEST, THINNEST = 13.0, 1.4
SLOT, SLOT_GAP = 11.0, 2.5  # where a labelled ribbon arrives
COLUMN_HEAD = 22.0


def width_of(flow: Flow) -> float:
    return THINNEST if flow.ends else max(THINNEST, flow.weight * WIDEST)


@dataclass(frozen=True, slots=True)
class Ports:
    """A place for each flow on one side of a node, and how high they are together."""

    heights: dict[int, float]
    gap: float

    @property
    def total(self) -> float:
        return sum(self.heights.values()) + self.gap * max(0, len(self.heights) - 1)

    def spread(self, box: Box, order: Sequence[int]) -> dict[int, float]:
        """The middle of each, all of them in the middle of the box's side."""
        y, found = box.middle - self.total / 2, {}
        for number in order:
            found[number] = y + self.heights[number] / 2
            y += self.heights[number] + self.gap
        return found


def scene(graph: Graph, measure: Measure) -> Scene:
    return _Layout(graph, Sheet(measure)).scene()


class _Layout:
    def __init__(self, graph: Graph, sheet: Sheet) -> None:
        self._graph, self._sheet = graph, sheet
        self._sites = {node.key: node for node in graph.sites}
        self._zones = {node.key: node for node in graph.zones}
        self._flows = dict(enumerate(graph.flows))
        self._lanes = {key: self._lane(key) for key in self._sites}

    def scene(self) -> Scene:
        sheet, graph = self._sheet, self._graph
        columns, right = self._columns()
        width = max(right + MARGIN, 660.0)
        top = MARGIN + head_height(sheet, graph, width - 2 * MARGIN) + COLUMN_HEAD
        tallest = max((column.height for _, column in columns), default=0.0)
        bottom = top + tallest + 20
        height = bottom + foot_height(sheet, graph, width - 2 * MARGIN) + MARGIN
        placed = [(title, column.at(top + (tallest - column.height) / 2)) for title, column in columns]
        boxes = {key: box for _, column in placed for key, box in column.boxes.items()}
        draw_head(sheet, graph, Box(MARGIN, MARGIN, width - 2 * MARGIN, top - MARGIN))
        for title, column in placed:
            x = min(box.x for box in column.boxes.values())
            sheet.text(title, x, top - COLUMN_HEAD / 2, SMALL, Ink.QUIET, True)
            column.draw(sheet)
        several = len(graph.services) > 1
        headed = {key for _, column in placed for key in column.headed}
        for key, node in self._sites.items():
            draw_site(sheet, node, boxes[key], self._lanes[key], several, key in headed)
        for zone in graph.zones:
            draw_zone(sheet, zone, boxes[zone.key], graph.services if several else ())
        self._draw_flows(boxes)
        draw_foot(sheet, graph, Box(MARGIN, bottom, width - 2 * MARGIN, height - bottom - MARGIN))
        return sheet.scene(width, height)

    def _columns(self) -> tuple[list[tuple[str, Stacked]], float]:
        """Those that hold anything, from left to right; and where the last one ends."""
        found: list[tuple[str, Stacked]] = []
        x = MARGIN
        outside = [zone.key for zone in self._graph.zones if zone.home is None]
        lans = [zone.key for zone in self._graph.zones if zone.home is not None]
        by_kind = {kind: [n for n in self._graph.sites if n.kind is kind] for kind in (Kind.REGION, Kind.EDGE)}
        if outside:
            order = sorted(outside, key=lambda key: (self._zones[key].region or "~", key))
            found.append(("ZONES", stacked(order, x, ZONE_WIDTH, self._zone_height)))
            x += ZONE_WIDTH
        for kind, title in ((Kind.REGION, "REGIONS"), (Kind.EDGE, "EDGE SITES")):
            if not by_kind[kind]:
                continue
            arriving = [f for f in self._graph.flows if self._sites[f.stop].kind is kind and not self._at_home(f)]
            x += (BEND + self._widest(arriving) if found else 0.0) + PANEL_PAD
            found.append((title, stacked_sites(by_kind[kind], x, SITE_WIDTH, self._site_height, self._grey)))
            x += SITE_WIDTH + PANEL_PAD
        if lans:
            x += 20 + self._widest(flow for flow in self._graph.flows if self._at_home(flow))
            edges = found[-1][1]
            boxes = {
                key: Box(x, edges.boxes[home].middle - self._body(key) / 2, ZONE_WIDTH, self._zone_height(key))
                for key in lans
                if (home := self._zones[key].home) is not None
            }
            found.append(("ON THE SITES' LANS", Stacked(boxes, (), (), edges.height)))
            x += ZONE_WIDTH
        return found, x

    def _widest(self, arriving: Iterable[Flow]) -> float:
        labels = [self._sheet.measure(flow.label, LABEL, flow.late) for flow in arriving if flow.label]
        return max(labels) + 14 if labels else 0.0

    def _at_home(self, flow: Flow) -> bool:
        return flow.start in self._zones and self._zones[flow.start].home == flow.stop

    def _grey(self, node: SiteNode) -> bool:
        return refused(node, self._lanes[node.key])

    def _lane(self, key: str) -> Lane:
        sides = [self._ports(numbers, False).total for numbers in self._passing(key)]
        return Lane(max(sides) + SLOT_GAP if max(sides) else 0.0)

    def _passing(self, key: str) -> tuple[list[int], list[int]]:
        """Into the relay of a region, and out of it."""
        into = [n for n, flow in self._flows.items() if flow.relay == key or (flow.into and flow.stop == key)]
        return into, [n for n, flow in self._flows.items() if key in (flow.relay, flow.start)]

    def _ports(self, numbers: Iterable[int], labelled: bool) -> Ports:
        least = SLOT if labelled else 0.0
        return Ports({n: max(least, width_of(self._flows[n])) for n in numbers}, SLOT_GAP)

    def _leaving(self, zone: str) -> list[int]:
        return [n for n, flow in self._flows.items() if flow.start == zone]

    def _arriving(self, site: str, at_home: bool) -> list[int]:
        return [n for n, f in self._flows.items() if f.stop == site and not f.into and self._at_home(f) is at_home]

    def _site_height(self, node: SiteNode) -> float:
        ports = max(self._ports(self._arriving(node.key, side), True).total + 8 for side in (False, True))
        # Bodies stand beside the middle of their site, so that the ribbon is straight, and alarms hang below.
        lans = [2 * self._zone_height(z.key) - self._body(z.key) for z in self._graph.zones if z.home == node.key]
        return max(site_height(node), ports, *lans) + self._lanes[node.key].total

    def _zone_height(self, key: str) -> float:
        node = self._zones[key]
        ports = self._ports(self._leaving(key), node.home is not None)
        return zone_height(self._sheet, node) + max(0.0, ports.total + 8 - BODY)

    def _body(self, zone: str) -> float:
        return self._zone_height(zone) - hung_height(self._sheet, self._zones[zone])

    def _draw_flows(self, boxes: Mapping[str, Box]) -> None:
        """Ports are in the order of the other ends, so that ribbons of one side do not cross."""
        starts: dict[int, float] = {}
        stops: dict[int, float] = {}
        relayed: dict[int, float] = {}

        def by(numbers: Iterable[int], far: Callable[[Flow], tuple[str, str]]) -> list[int]:
            return sorted(numbers, key=lambda n: (*(boxes[key].middle for key in far(self._flows[n])), n))

        for key, node in self._zones.items():
            box = boxes[key]
            body = Box(box.x, box.y, box.width, box.height - hung_height(self._sheet, node))
            order = by(self._leaving(key), lambda flow: (flow.relay or flow.stop, flow.stop))
            starts |= self._ports(order, node.home is not None).spread(body, order)
        for key, lane in self._lanes.items():
            box = boxes[key]
            body = Box(box.x, box.y, box.width, box.height - lane.total)
            for at_home in (False, True):
                order = by(self._arriving(key, at_home), lambda flow: (flow.relay or flow.start, flow.start))
                stops |= self._ports(order, True).spread(body, order)
            band = Box(box.x, box.bottom - lane.height - 3, box.width, lane.height)
            into, out = self._passing(key)
            order = by(into, lambda flow: (flow.stop, flow.start) if flow.relay else (flow.start, flow.stop))
            placed = self._ports(order, False).spread(band, order)
            relayed |= {n: y for n, y in placed.items() if self._flows[n].relay}
            stops |= {n: y for n, y in placed.items() if not self._flows[n].relay}
            order = by((n for n in out if not self._flows[n].relay), lambda flow: (flow.stop, flow.start))
            starts |= self._ports(order, False).spread(band, order)
        for number, flow in sorted(self._flows.items(), key=lambda one: (-width_of(one[1]), one[0])):
            self._draw_flow(flow, boxes, starts[number], stops[number], relayed.get(number))

    def _draw_flow(
        self, flow: Flow, boxes: Mapping[str, Box], start: float, stop: float, relayed: float | None
    ) -> None:
        begin, end = boxes[flow.start], boxes[flow.stop]
        if self._at_home(flow):
            points = [(begin.x + POINT, start), (end.right, stop)]
            self._label(flow, end.right + PANEL_PAD + 5, stop, Anchor.LEFT)
        else:
            left = begin.right - (POINT if flow.start in self._zones else 0.0)
            points = [(left, start)]
            if flow.relay is not None and relayed is not None:
                relay = boxes[flow.relay]
                points += [(begin.right + BEND, relayed), (relay.right, relayed), (relay.right + BEND, stop)]
            else:
                points.append((begin.right + BEND, stop))
            points.append((end.x, stop))
            self._label(flow, end.x - PANEL_PAD - 5, stop, Anchor.RIGHT)
        self._sheet.ribbons.append(Ribbon(flow.service, width_of(flow), tuple(points), flow.ends))

    def _label(self, flow: Flow, x: float, y: float, anchor: Anchor) -> None:
        if not flow.label:
            return
        width = self._sheet.measure(flow.label, LABEL, flow.late)
        left = x - width if anchor is Anchor.RIGHT else x
        self._sheet.shape(Look.LABEL, Box(left - 3, y - SLOT / 2, width + 6, SLOT))
        self._sheet.text(flow.label, x, y, LABEL, Ink.ALARM if flow.late else Ink.PLAIN, flow.late, anchor)
