"""What the command prints: documents as JSON, YAML, columns or names; and the terminal's ways."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.client import Document, Json

API_VERSION = "skerry.dev/v1alpha1"
PLAIN_WIDTH = 160  # of pictures that go to a file or a pipe, where no terminal says its own


class Output(StrEnum):
    """kubectl's words for the same."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


def lively(stream: TextIO) -> bool:
    """Whether bars, spinners and colour are wanted: a person looks, and did not say NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(stream: TextIO | None = None) -> "Console":
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    return Console(file=stream, no_color=not lively(stream), width=None if stream.isatty() else PLAIN_WIDTH)


def say(text: str) -> None:
    """A remark for the person, beside the output."""
    print(text, file=sys.stderr, flush=True)


def as_json(value: "Json") -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_yaml(value: "Json") -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120).rstrip("\n")


def structured(value: "Json", output: Output) -> str:
    return as_yaml(value) if output is Output.YAML else as_json(value)


def listed(documents: "Sequence[Document]") -> "Document":
    """Several objects as one document, as kubectl prints them; `skerry apply -f` reads it."""
    return {"apiVersion": API_VERSION, "kind": "List", "items": list(documents)}


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned text without frames: for eyes, `grep` and `awk` alike."""
    table = [header, *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(header))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def age_text(seconds: float) -> str:
    """Two units at most: 7s, 4m10s, 3h5m, 12d."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60}s"
    if whole < 3_600 * 3:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60}m"
    return f"{whole // 86_400}d"


def bytes_text(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
