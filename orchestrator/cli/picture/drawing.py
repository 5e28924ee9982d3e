"""A scene as a PNG or SVG file, by matplotlib's own figure: no display, no global state, the same bytes each time."""

import io
from typing import IO

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from PIL import Image

from orchestrator.cli.picture.scene import Box, Ink, Look, Ribbon, Scene, Shape, Text

DOTS_PER_INCH = 144  # twice a point: sharp where a screen shows two pixels for one
FONT = "DejaVu Sans"  # comes with matplotlib: the same everywhere
INKS = {
    Ink.STRONG: "#1b2733",
    Ink.PLAIN: "#3b4956",
    Ink.QUIET: "#74828f",
    Ink.ALARM: "#b3261e",
    Ink.INVERSE: "#ffffff",
    Ink.STARTS: "#1f7a4d",
    Ink.STOPS: "#b3541e",
}
SERVICES = ("#2f6db5", "#c0822a", "#7c5aa6", "#3c9188", "#b0517a", "#6b7a3a")
OVER = frozenset({Look.ZONE, Look.LAN_ZONE, Look.ALARM, Look.LABEL})  # ribbons begin and end below these
PAPER, LINE, FAINT, GREY = "#ffffff", "#c3ccd5", "#f4f6f9", "#aab4be"


def measure(text: str, size: float, bold: bool) -> float:
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def draw(scene: Scene, file: IO[bytes], form: str) -> None:
    """`form`: png or svg. A PNG has two pixels for each point."""
    with rc_context():
        rcdefaults()  # whatever this person's own settings of matplotlib are
        rcParams["svg.fonttype"] = "none"  # text stays text
        rcParams["svg.hashsalt"] = "skerry"
        rcParams["font.family"], rcParams["font.sans-serif"] = "sans-serif", [FONT]
        figure = Figure(figsize=(scene.width / 72, scene.height / 72), dpi=DOTS_PER_INCH, facecolor=PAPER)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, scene.width)
        axes.set_ylim(scene.height, 0)
        artists = [patch for shape in scene.shapes if shape.look not in OVER for patch in _patches(shape)]
        artists += [_band(ribbon) for ribbon in scene.ribbons]
        artists += [patch for shape in scene.shapes if shape.look in OVER for patch in _patches(shape)]
        for artist in artists:
            axes.add_patch(artist)
        for text in scene.texts:
            _write(axes, text)
        if form == "svg":
            figure.savefig(file, format=form, metadata={"Creator": "skerry", "Date": None})
            return
        whole = io.BytesIO()
        figure.savefig(whole, format=form)
        # Few colours: a palette makes the file a third. By coverage: other ways drop the colour of a sign that is rare.
        image = Image.open(whole).convert("RGB")
        palette = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        palette.save(file, "PNG", optimize=True, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))


def _write(axes: Axes, text: Text) -> None:
    axes.text(
        text.x,
        text.y,
        text.text,
        fontsize=text.size,
        fontweight="bold" if text.bold else "normal",
        color=INKS[text.ink],
        ha=text.anchor.value,
        va="center_baseline",
        parse_math=False,
        zorder=3,
    )


def _band(ribbon: Ribbon) -> Patch:
    (x, y), codes, found = ribbon.points[0], [Path.MOVETO], [ribbon.points[0]]
    for at, (to_x, to_y) in enumerate(ribbon.points[1:]):
        if at % 2 == 0:
            middle = (x + to_x) / 2
            found += [(middle, y), (middle, to_y), (to_x, to_y)]
            codes += [Path.CURVE4] * 3
        else:
            found.append((to_x, to_y))
            codes.append(Path.LINETO)
        x, y = to_x, to_y
    return PathPatch(
        Path(found, codes),
        fill=False,
        edgecolor=SERVICES[ribbon.service % len(SERVICES)],
        linewidth=ribbon.width,
        alpha=0.9 if ribbon.ends else 0.42,
        linestyle=(0, (1.5, 2.5)) if ribbon.ends else "solid",
        capstyle="butt",
    )


def _patches(shape: Shape) -> list[Patch]:
    box = shape.box
    match shape.look:
        case Look.PANEL:
            return [_rounded(box, 8, FAINT, "none", 0)]
        case Look.EDGE:
            return [_rounded(box, 6, PAPER, LINE, 1)]
        case Look.REGION:
            bar = Rectangle((box.x, box.y), box.width, min(3.0, box.height / 3), facecolor=INKS[Ink.PLAIN], linewidth=0)
            return [_square(box, PAPER, LINE), bar]
        case Look.MORE:
            behind = [Box(box.x + by, box.y + by, box.width, box.height) for by in (4.0, 2.0)]
            return [_rounded(each, 6, PAPER, LINE, 1) for each in (*behind, box)]
        case Look.REFUSED_EDGE:
            return [_rounded(box, 6, FAINT, GREY, 0.9, broken=True)]
        case Look.REFUSED_REGION:
            bar = Rectangle((box.x - 0.5, box.y - 0.8), box.width + 1, 3.8, facecolor=GREY, linewidth=0)
            return [_square(box, FAINT, GREY, broken=True), bar]
        case Look.ZONE | Look.LAN_ZONE:
            return [_tag(box, shape.look is Look.LAN_ZONE)]
        case Look.ALARM:
            return [_rounded(box, 4, INKS[Ink.ALARM], "none", 0)]
        case Look.LANE:
            return [Rectangle((box.x, box.y), box.width, box.height, facecolor="#e9eef4", linewidth=0)]
        case Look.LABEL:
            return [_rounded(box, 3, PAPER, "none", 0, alpha=0.86)]
        case Look.SERVICE:
            colour = SERVICES[(shape.service or 0) % len(SERVICES)]
            return [_rounded(box, 1.5, colour, "none", 0)]
        case Look.STAYS | Look.STARTS | Look.STOPS:
            return _chip(box, shape.look)


def _rounded(
    box: Box, radius: float, face: str, edge: str, line: float, broken: bool = False, alpha: float = 1
) -> Patch:
    return FancyBboxPatch(
        (box.x, box.y),
        box.width,
        box.height,
        boxstyle=f"round,pad=0,rounding_size={min(radius, box.height / 2)}",
        facecolor=face,
        edgecolor=edge,
        linewidth=line,
        linestyle=(0, (3, 2.4)) if broken else "solid",
        alpha=alpha,
    )


def _square(box: Box, face: str, edge: str, broken: bool = False) -> Patch:
    style = (0, (3, 2.4)) if broken else "solid"
    return Rectangle(
        (box.x, box.y), box.width, box.height, facecolor=face, edgecolor=edge, linewidth=1, linestyle=style
    )


def _tag(box: Box, left: bool) -> Patch:
    tip = min(8.0, box.height / 2)
    outline = [
        (box.x, box.y),
        (box.right - tip, box.y),
        (box.right, box.middle),
        (box.right - tip, box.bottom),
        (box.x, box.bottom),
    ]
    if left:
        outline = [(box.x + box.right - x, y) for x, y in outline]
    return Polygon(outline, closed=True, facecolor="#eaf0f6", edgecolor="#9fb1c3", linewidth=1, joinstyle="round")


def _chip(box: Box, look: Look) -> list[Patch]:
    """A sign and a count; the count is a text."""
    ink = INKS[{Look.STAYS: Ink.PLAIN, Look.STARTS: Ink.STARTS, Look.STOPS: Ink.STOPS}[look]]
    face = {Look.STAYS: "#e6ebf0", Look.STARTS: "#e7f4ec", Look.STOPS: PAPER}[look]
    pill = _rounded(box, 5.5, face, "none" if look is Look.STAYS else ink, 0.8, broken=look is Look.STOPS)
    x, y, arm = box.x + box.height / 2 + 0.5, box.middle, 2.4
    if look is Look.STAYS:
        return [pill, Circle((x, y), 2.2, facecolor=ink, linewidth=0)]
    if look is Look.STARTS:
        strokes = [((x - arm, y), (x + arm, y)), ((x, y - arm), (x, y + arm))]
    else:
        strokes = [((x - 2, y - 2), (x + 2, y + 2)), ((x - 2, y + 2), (x + 2, y - 2))]
    signs = [PathPatch(Path(list(stroke)), edgecolor=ink, linewidth=1.2, fill=False) for stroke in strokes]
    return [pill, *signs]
