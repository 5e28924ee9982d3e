"""What is put on a scene while it is laid out: texts that keep to a width, small things that recur."""

from dataclasses import dataclass, field

from orchestrator.cli.picture.scene import Anchor, Box, Ink, Look, Measure, Ribbon, Scene, Shape, Text

CHIP_HEIGHT = 11.0
CHIP_GAP = 4.0
SWATCH = 6.0


@dataclass(slots=True)
class Sheet:
    """Texts are shortened in their middle, since names differ at both ends."""

    measure: Measure
    shapes: list[Shape] = field(default_factory=list)
    ribbons: list[Ribbon] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def scene(self, width: float, height: float) -> Scene:
        return Scene(width, height, tuple(self.shapes), tuple(self.ribbons), tuple(self.texts))

    def shape(self, look: Look, box: Box, service: int | None = None) -> None:
        self.shapes.append(Shape(look, box, service))

    def text(
        self,
        text: str,
        x: float,
        y: float,
        size: float,
        ink: Ink = Ink.PLAIN,
        bold: bool = False,
        anchor: Anchor = Anchor.LEFT,
        most: float | None = None,
    ) -> float:
        """`y`: its middle; `most`: the width that it has. Returns the width that it takes."""
        plain = text.replace("\u00a0", " ")  # lines are broken by now, and whoever searches types a space
        shown = plain if most is None else self._shortened(plain, size, bold, most)
        if not shown:
            return 0.0
        width = self.measure(shown, size, bold)
        self.texts.append(Text(shown, x, y, size, width, ink, bold, anchor))
        return width

    def _shortened(self, text: str, size: float, bold: bool, most: float) -> str:
        if self.measure(text, size, bold) <= most:
            return text
        for kept in range(len(text) - 1, 0, -1):
            tail = kept * 2 // 5
            shorter = f"{text[: kept - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"
            if self.measure(shorter, size, bold) <= most:
                return shorter
        return ""

    def wrapped(self, text: str, size: float, bold: bool, most: float) -> list[str]:
        """Broken at spaces; a word that is wider than `most` keeps a line of its own."""
        lines: list[str] = []
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.measure(longer, size, bold) <= most:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def swatch(self, service: int, x: float, y: float) -> float:
        self.shape(Look.SERVICE, Box(x, y - SWATCH / 2, SWATCH, SWATCH), service)
        return SWATCH + 4

    def chips(self, right: float, y: float, stays: int, starts: int, stops: int) -> float:
        """From the right edge leftwards; returns where they begin."""
        counts = ((Look.STOPS, stops, Ink.STOPS), (Look.STARTS, starts, Ink.STARTS), (Look.STAYS, stays, Ink.STRONG))
        for look, count, ink in counts:
            if count:
                right = self.chip(look, str(count), ink, right, y) - CHIP_GAP
        return right

    def chip(self, look: Look, told: str, ink: Ink, right: float, y: float) -> float:
        width = CHIP_HEIGHT + self.measure(told, 7.5, True) + 5
        self.shape(look, Box(right - width, y - CHIP_HEIGHT / 2, width, CHIP_HEIGHT))
        self.text(told, right - 4.5, y, 7.5, ink, True, Anchor.RIGHT)
        return right - width
