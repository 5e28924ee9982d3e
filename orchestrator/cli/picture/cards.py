"""The boxes of a picture: how high each one has to be, and what stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cli.picture.graph import Alarm, SiteNode, ZoneNode
from orchestrator.cli.picture.scene import Box, Ink, Look
from orchestrator.cli.picture.sheet import Sheet

PAD = 8.0
TITLE, ROW, SMALL = 9.5, 7.5, 7.0  # font sizes
TITLE_LINE, ROW_LINE, SMALL_LINE = 14.0, 14.0, 10.0
SITE_WIDTH, ZONE_WIDTH, POINT = 188.0, 118.0, 8.0  # POINT: of a zone's tip
LANE_HEAD = 13.0
BODY = 34.0  # of a zone, at least


@dataclass(frozen=True, slots=True)
class Lane:
    """Of a region: how high the band of the relayed calls is. None pass: 0."""

    height: float = 0.0

    @property
    def total(self) -> float:
        return self.height + LANE_HEAD + 4 if self.height else 0.0


def refused(node: SiteNode, lane: Lane) -> bool:
    """Nothing of the services that are drawn is here."""
    return not node.rows and not lane.height


def site_height(node: SiteNode) -> float:
    """Without a lane."""
    notes = len(node.notes) * SMALL_LINE
    return 2 * PAD + TITLE_LINE + len(node.rows) * ROW_LINE + notes + (2 if node.rows and node.notes else 0)


def draw_site(sheet: Sheet, node: SiteNode, box: Box, lane: Lane, several: bool, headed: bool) -> None:
    """`several`: services are told apart by colour. `headed`: its failure domain stands above it."""
    grey = refused(node, lane)
    region = node.kind == "region"
    if node.stands_for > 1:
        look = Look.MORE
    elif region:
        look = Look.REFUSED_REGION if grey else Look.REGION
    else:
        look = Look.REFUSED_EDGE if grey else Look.EDGE
    sheet.shape(look, box)
    y, left, right = box.y + PAD + TITLE_LINE / 2 - 1, box.x + PAD + 2, box.right - PAD - 2
    domain = "" if headed or node.failure_domain == node.title else node.failure_domain
    told = "refused" if grey else domain
    beside = sheet.measure(told, SMALL, False) + 8 if told else 0.0
    if told:
        sheet.text(told, right - beside + 8, y, SMALL, Ink.QUIET)
    sheet.text(node.title, left, y, TITLE, Ink.QUIET if grey else Ink.STRONG, True, most=right - left - beside)
    y += TITLE_LINE / 2
    for row in node.rows:
        y += ROW_LINE / 2
        start = left + sheet.swatch(row.service, left, y)
        end = sheet.chips(right, y, row.stays, row.starts, row.stops)
        sheet.text(row.text, start, y, ROW, Ink.PLAIN, most=end - start)
        y += ROW_LINE / 2
    y += 2 if node.rows and node.notes else 0
    for note in node.notes:
        y += SMALL_LINE / 2
        start = left
        for service in note.services if several else ():
            start += sheet.swatch(service, start, y) - (0 if service == note.services[-1] else 2)
        sheet.text(note.text, start, y, SMALL, Ink.QUIET, most=right - start)
        y += SMALL_LINE / 2
    if lane.height:
        band = Box(box.x + 1, box.bottom - lane.total, box.width - 2, lane.total - 1)
        sheet.shape(Look.LANE, band)
        sheet.text(node.relays, left, band.y + LANE_HEAD / 2 + 1, SMALL, Ink.QUIET, most=right - left)


def _alarm_lines(sheet: Sheet, alarm: Alarm) -> list[str]:
    return sheet.wrapped(alarm.nearest, SMALL, False, ZONE_WIDTH - 16 - POINT)


def _alarm_height(sheet: Sheet, alarm: Alarm) -> float:
    return 15.0 + len(_alarm_lines(sheet, alarm)) * 9.0 + 5


def zone_height(sheet: Sheet, node: ZoneNode) -> float:
    """With its alarms, which hang below it."""
    return BODY + sum(_alarm_height(sheet, alarm) + 4 for alarm in node.alarms)


def hung_height(sheet: Sheet, node: ZoneNode) -> float:
    """Of the alarms alone."""
    return zone_height(sheet, node) - BODY


def draw_zone(sheet: Sheet, node: ZoneNode, box: Box, services: Sequence[str]) -> None:
    """`services`: names, where there are several."""
    lan = node.home is not None
    hung = hung_height(sheet, node)
    sheet.shape(Look.LAN_ZONE if lan else Look.ZONE, Box(box.x, box.y, box.width, box.height - hung))
    middle, left = box.y + (box.height - hung) / 2, box.x + PAD + (POINT if lan else 2)
    most = box.width - 2 * PAD - POINT
    sheet.text(node.title, left, middle - 6, TITLE, Ink.STRONG, True, most=most)
    sheet.text(node.subtitle, left, middle + 7, SMALL, Ink.QUIET, most=most)
    y = box.bottom - hung + 4
    for alarm in node.alarms:
        height = _alarm_height(sheet, alarm)
        sheet.shape(Look.ALARM, Box(box.x, y, box.width, height))
        told = f"{services[alarm.service].rpartition('/')[2]}: {alarm.text}" if services else alarm.text
        sheet.text(told, box.x + 8, y + 9, ROW, Ink.INVERSE, True, most=box.width - 16)
        for at, line in enumerate(_alarm_lines(sheet, alarm)):
            sheet.text(line, box.x + 8, y + 19 + at * 9, SMALL, Ink.INVERSE, most=box.width - 16)
        y += height + 4
