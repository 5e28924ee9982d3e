"""Tables as rich shows them, of the JSON forms that `explain` carries."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from orchestrator.cli.client import Json


def mapping(document: "Mapping[str, Json]", key: str) -> "dict[str, Json]":
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def word(value: "Json") -> str:
    return "-" if value in (None, "") else str(value)


def percent(value: "Json") -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "-"


def table(title: str, *heads: str) -> Table:
    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        # Words are folded, never cut: a reason that ends in dots explains nothing.
        found.add_column(head, overflow="fold", header_style="bold")
    return found


def add(into: Table, *cells: str, style: str = "") -> None:
    into.add_row(*(Text(cell, style=style) for cell in cells))  # Text: a name in brackets is no markup
