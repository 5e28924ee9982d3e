"""A picture as a file: what stands against writing it is said before anybody is asked for anything."""

import io
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.picture.graph import Graph
from orchestrator.model.view import PlacementView

OPTION = "--png"
FORMS = (".png", ".svg")


def checked(name: str) -> Path:
    """The file to write. Raises CommandFailed where it cannot be one, or nothing can draw."""
    path = Path(name)
    if path.is_dir():
        raise CommandFailed(f"{OPTION} {name}: is a folder", f"name a file in it, such as {path / 'placement.png'}")
    if path.suffix.lower() not in FORMS:
        raise CommandFailed(f"{OPTION} {name}: no picture is known by that name", "let it end in .png or .svg")
    if not path.parent.is_dir():
        raise CommandFailed(f"{OPTION} {name}: folder {path.parent} does not exist", "create it first")
    if path.exists() and not path.is_file():
        raise CommandFailed(f"{OPTION} {name}: is no ordinary file", "give another name")
    if find_spec("matplotlib") is None:
        raise CommandFailed(f"{OPTION}: matplotlib, which draws, is not installed", "pip install 'skerry[picture]'")
    return path


def write(path: Path, view_json: str, to_graph: Callable[[PlacementView], Graph]) -> None:
    """Whole or not at all, as far as the disk allows. Raises CommandFailed."""
    content = drawn(view_json, to_graph, path.suffix.lower().removeprefix("."))
    try:
        path.write_bytes(content)
    except OSError as err:
        remedy = "give a file in a folder that you may write to, on a disk with room"
        raise CommandFailed(f"{OPTION} {path}: cannot be written: {err.strerror}", remedy) from err


def drawn(view_json: str, to_graph: Callable[[PlacementView], Graph], form: str) -> bytes:
    from pydantic import TypeAdapter, ValidationError

    if not view_json:
        raise CommandFailed(
            f"{OPTION}: the control plane knows no pictures", "it is older than this command: upgrade it"
        )
    try:
        view = TypeAdapter(PlacementView).validate_json(view_json)
    except ValidationError as err:
        where = ".".join(str(part) for part in err.errors(include_url=False)[0]["loc"])
        told = f"{OPTION}: the control plane's {where} is not understood"
        raise CommandFailed(told, "it is of another release: use the command of that one") from err
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it remarks on its font cache
    from orchestrator.cli.picture.drawing import draw, measure
    from orchestrator.cli.picture.layout import scene

    file = io.BytesIO()
    draw(scene(to_graph(view), measure), file, form)
    return file.getvalue()
