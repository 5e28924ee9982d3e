"""A picture as shapes, ribbons and texts with their places, in points from the top left; drawing decides nothing."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


class Look(StrEnum):
    """How a shape is drawn. What differs in colour differs in outline or sign as well."""

    PANEL = "panel"
    EDGE = "edge"  # rounded
    REGION = "region"  # square, a bar above
    MORE = "more"  # several sites: a stack
    REFUSED_EDGE = "refused-edge"  # grey, broken outline
    REFUSED_REGION = "refused-region"
    ZONE = "zone"  # points to the right, where its calls go
    LAN_ZONE = "lan-zone"  # points to the left, at its site
    ALARM = "alarm"
    LANE = "lane"  # of a region: relayed calls pass here
    STAYS = "stays"  # a disc
    STARTS = "starts"  # a plus
    STOPS = "stops"  # a cross, broken outline
    SERVICE = "service"  # its colour
    LABEL = "label"  # paper behind the words on a ribbon


class Ink(StrEnum):
    STRONG = "strong"
    PLAIN = "plain"
    QUIET = "quiet"
    ALARM = "alarm"
    INVERSE = "inverse"  # on an alarm
    STARTS = "starts"
    STOPS = "stops"


class Anchor(StrEnum):
    LEFT = "left"
    CENTRE = "center"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Shape:
    look: Look
    box: Box
    service: int | None = None  # whose colour


@dataclass(frozen=True, slots=True)
class Text:
    """One line; `y` is its middle. `width`: as measured."""

    text: str
    x: float
    y: float
    size: float
    width: float
    ink: Ink = Ink.PLAIN
    bold: bool = False
    anchor: Anchor = Anchor.LEFT

    @property
    def box(self) -> Box:
        left = {Anchor.LEFT: 0.0, Anchor.CENTRE: self.width / 2, Anchor.RIGHT: self.width}[self.anchor]
        return Box(self.x - left, self.y - self.size / 2, self.width, self.size)


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Calls, as a band through `points`: bent between the first two and every second pair after, else straight."""

    service: int
    width: float
    points: tuple[tuple[float, float], ...]
    ends: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Drawn in this order: shapes, ribbons, shapes that lie on ribbons, texts."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    ribbons: tuple[Ribbon, ...]
    texts: tuple[Text, ...]


class Measure(Protocol):
    """Width of a line in points."""

    def __call__(self, text: str, size: float, bold: bool) -> float: ...
