"""Above a picture its title, below it what its signs mean and what it leaves out."""

from collections.abc import Callable
from functools import partial

from orchestrator.cli.picture.graph import Graph
from orchestrator.cli.picture.scene import Box, Ink, Look, Ribbon
from orchestrator.cli.picture.sheet import CHIP_HEIGHT, Sheet

TITLE_LINE, FACT_LINE, ALARM_HEIGHT = 24.0, 13.0, 24.0
SIZE, LINE = 7.5, 15.0
SAMPLE_WIDTH, SAMPLE_HEIGHT = 20.0, 11.0
LOOKS = (
    (Look.ZONE, "zone"),
    (Look.REGION, "region"),
    (Look.EDGE, "edge site"),
    (Look.REFUSED_EDGE, "refused, and why"),
    (Look.LANE, "relayed through a region"),
)
CHIPS = (
    (Look.STAYS, Ink.STRONG, "replicas that stay"),
    (Look.STARTS, Ink.STARTS, "that start"),
    (Look.STOPS, Ink.STOPS, "that stop"),
)
FLOWS = ((False, "calls: share, expected p99"), (True, "calls that go elsewhere"))


def _facts(sheet: Sheet, graph: Graph, width: float) -> list[str]:
    """Separated by dots, as many on a line as fit."""
    lines: list[str] = []
    for fact in graph.facts:
        longer = f"{lines[-1]}   ·   {fact}" if lines else fact
        if lines and sheet.measure(longer, 8.5, False) <= width:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def head_height(sheet: Sheet, graph: Graph, width: float) -> float:
    return TITLE_LINE + len(_facts(sheet, graph, width)) * FACT_LINE + (ALARM_HEIGHT + 10 if graph.alarm else 0) + 10


def draw_head(sheet: Sheet, graph: Graph, box: Box) -> None:
    sheet.text(graph.title, box.x, box.y + 9, 16, Ink.STRONG, True, most=box.width)
    y = box.y + TITLE_LINE
    for line in _facts(sheet, graph, box.width):
        sheet.text(line, box.x, y + FACT_LINE / 2, 8.5, Ink.QUIET, most=box.width)
        y += FACT_LINE
    if graph.alarm:
        width = min(box.width, sheet.measure(graph.alarm, 10, True) + 24)
        sheet.shape(Look.ALARM, Box(box.x, y + 8, width, ALARM_HEIGHT))
        sheet.text(graph.alarm, box.x + 12, y + 8 + ALARM_HEIGHT / 2, 10, Ink.INVERSE, True, most=width - 24)


def _notes(graph: Graph) -> list[tuple[str, Ink]]:
    return [*((one, Ink.ALARM) for one in graph.remarks), *((one, Ink.QUIET) for one in graph.left_out)]


def foot_height(sheet: Sheet, graph: Graph, width: float) -> float:
    return _legend(Sheet(sheet.measure), graph, Box(0, 0, width, 0)) + len(_notes(graph)) * LINE


def draw_foot(sheet: Sheet, graph: Graph, box: Box) -> None:
    y = box.y + _legend(sheet, graph, box)
    for told, ink in _notes(graph):
        sheet.text(told, box.x, y + LINE / 2, SIZE, ink, ink is Ink.ALARM, most=box.width)
        y += LINE


def _sample(sheet: Sheet, look: Look, x: float, y: float) -> None:
    sheet.shape(look, Box(x, y - SAMPLE_HEIGHT / 2, SAMPLE_WIDTH, SAMPLE_HEIGHT))


def _chip(sheet: Sheet, look: Look, ink: Ink, x: float, y: float) -> None:
    sheet.chip(look, "1", ink, x + SAMPLE_WIDTH + 1, y)


def _flow(sheet: Sheet, ends: bool, x: float, y: float) -> None:
    sheet.ribbons.append(Ribbon(0, 1.4 if ends else 5.0, ((x, y), (x + SAMPLE_WIDTH, y)), ends))


def _legend(sheet: Sheet, graph: Graph, box: Box) -> float:
    """Services, then signs, broken where a line is full; returns the height."""
    x, y = box.x, box.y + LINE / 2
    samples: list[tuple[Callable[[float, float], object], float, str]] = [
        (partial(sheet.swatch, at), 12.0, name) for at, name in enumerate(graph.services)
    ]
    wide = SAMPLE_WIDTH + 6
    samples += [(partial(_chip, sheet, look, ink), wide, told) for look, ink, told in CHIPS]
    samples += [(partial(_sample, sheet, look), wide, told) for look, told in LOOKS]
    samples += [(partial(_flow, sheet, ends), wide, told) for ends, told in FLOWS]
    for draw, beside, told in samples:
        told_width = sheet.measure(told, SIZE, False)
        if x > box.x and x + beside + told_width > box.right:
            x, y = box.x, y + LINE + 2
        draw(x, y)
        sheet.text(told, x + beside, y, SIZE, Ink.QUIET, most=box.width - beside)
        x += beside + told_width + 16
    return y - box.y + LINE / 2 + max(0.0, CHIP_HEIGHT - LINE) + 6
