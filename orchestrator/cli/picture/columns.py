"""Sites and zones one below the other: sites in panels by jurisdiction, those of a failure domain together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.cli.picture.graph import SiteNode
from orchestrator.cli.picture.scene import Box, Ink, Look
from orchestrator.cli.picture.sheet import Sheet

GAP, PANEL_GAP, PANEL_PAD = 9.0, 14.0, 11.0
PANEL_HEAD, DOMAIN_HEAD = 20.0, 15.0


@dataclass(frozen=True, slots=True)
class Stacked:
    """A column whose top is 0: where each node is, and the panels and headings around. `headed`: below a heading."""

    boxes: Mapping[str, Box]
    panels: tuple[tuple[str, Box], ...]
    headings: tuple[tuple[str, Box], ...]
    height: float
    headed: frozenset[str] = frozenset()

    def at(self, y: float) -> "Stacked":
        def moved(box: Box) -> Box:
            return Box(box.x, box.y + y, box.width, box.height)

        return Stacked(
            {key: moved(box) for key, box in self.boxes.items()},
            tuple((title, moved(box)) for title, box in self.panels),
            tuple((title, moved(box)) for title, box in self.headings),
            self.height,
            self.headed,
        )

    def draw(self, sheet: Sheet) -> None:
        for title, box in self.panels:
            sheet.shape(Look.PANEL, box)
            sheet.text(title, box.x + PANEL_PAD, box.y + 11, 7.5, Ink.QUIET, True, most=box.width - 2 * PANEL_PAD)
        for title, box in self.headings:
            sheet.text(title, box.x + 2, box.y + 7, 7.0, Ink.QUIET, most=box.width)


def stacked_sites(
    nodes: Iterable[SiteNode],
    x: float,
    width: float,
    height: Callable[[SiteNode], float],
    grey: Callable[[SiteNode], bool],
) -> Stacked:
    """Within a panel taken sites come first, and what stands for several last; `x`, `width`: of the nodes."""
    boxes: dict[str, Box] = {}
    panels: list[tuple[str, Box]] = []
    headings: list[tuple[str, Box]] = []
    headed: set[str] = set()
    y = 0.0
    for jurisdiction, inside in groupby(_in_order(nodes, grey), key=lambda node: node.jurisdiction):
        top, y = y, y + PANEL_HEAD
        for domain, group in groupby(inside, key=lambda node: node.failure_domain):
            members = list(group)
            if domain and len(members) > 1:
                headings.append((domain, Box(x, y, width, DOMAIN_HEAD)))
                headed.update(node.key for node in members)
                y += DOMAIN_HEAD
            for node in members:
                boxes[node.key] = Box(x, y, width, height(node))
                y += height(node) + GAP
        panels.append((jurisdiction, Box(x - PANEL_PAD, top, width + 2 * PANEL_PAD, y - GAP + PANEL_PAD - top)))
        y += PANEL_PAD - GAP + PANEL_GAP
    return Stacked(boxes, tuple(panels), tuple(headings), max(0.0, y - PANEL_GAP), frozenset(headed))


def _in_order(nodes: Iterable[SiteNode], grey: Callable[[SiteNode], bool]) -> Sequence[SiteNode]:
    """Jurisdictions with taken sites first, then by name; the same for failure domains within."""
    known = list(nodes)
    taken = {node.jurisdiction for node in known if not grey(node)}
    domains = {(node.jurisdiction, node.failure_domain) for node in known if not grey(node)}
    return sorted(
        known,
        key=lambda node: (
            node.jurisdiction not in taken,
            node.jurisdiction,
            node.stands_for > 1,
            (node.jurisdiction, node.failure_domain) not in domains,
            node.failure_domain,
            grey(node),
            node.title,
        ),
    )


def stacked(keys: Iterable[str], x: float, width: float, height: Callable[[str], float]) -> Stacked:
    boxes: dict[str, Box] = {}
    y = 0.0
    for key in keys:
        boxes[key] = Box(x, y, width, height(key))
        y += height(key) + PANEL_GAP
    return Stacked(boxes, (), (), max(0.0, y - PANEL_GAP))
