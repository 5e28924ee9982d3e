"""Documents from files, folders and standard input. Bounded, and every complaint names the file."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.failures import CommandFailed, SeveralFailed
from orchestrator.errors import InvalidRequest, together

if TYPE_CHECKING:
    from orchestrator.cli.client import Document, Json
    from orchestrator.objects import Written

STANDARD_INPUT = "standard input"
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_BYTES = 1 << 20  # what the parser accepts of one file; checked before a file is read into memory
MAX_FILES = 2_000


def _text_of(raw: bytes, source: str) -> str:
    if len(raw) > MAX_BYTES:
        raise CommandFailed(f"{source}: larger than {MAX_BYTES} bytes", "split it into several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise CommandFailed(f"{source}: byte {err.start} is no UTF-8 text", "give YAML or JSON saved as UTF-8") from err


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise CommandFailed(
                f"{path}: {'not a file' if path.exists() else 'no such file'}", "check the path after -f"
            )
        with path.open("rb") as file:
            return _text_of(file.read(MAX_BYTES + 1), str(path))
    except OSError as err:
        raise CommandFailed(f"{path}: {err.strerror}", "check its permissions") from err


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not found:
        raise CommandFailed(f"{folder}: holds no .yaml, .yml or .json file", "check the path after -f")
    if len(found) > MAX_FILES:
        raise CommandFailed(f"{folder}: holds {len(found)} files", f"give a folder of at most {MAX_FILES}")
    return found


def _sources(where: str) -> list[tuple[str, Callable[[], str]]]:
    """Name and text of each file of FILE, DIR or "-"; a text is read when it is called for."""
    if where == "-":
        return [(STANDARD_INPUT, lambda: _text_of(sys.stdin.buffer.read(MAX_BYTES + 1), STANDARD_INPUT))]
    path = Path(where)
    return [(str(one), partial(_read, one)) for one in (_files(path) if path.is_dir() else [path])]


def _unlisted(document: "Document") -> "list[Json]":
    """`skerry get -o yaml` prints several objects as a List: it can be applied again."""
    items = document.get("items")
    return items if document.get("kind") == "List" and isinstance(items, list) else [document]


def documents_from(where: str, check: bool = False) -> "list[Document]":
    """All documents of FILE, DIR or "-". Raises CommandFailed or InvalidRequest for all that is wrong in any of them.

    Each problem names file and line. `check`: as the control plane will check them, since only here is it known on
    which line a field stands.
    """
    found: list[Document] = []
    failures: list[CommandFailed | InvalidRequest] = []
    for source, read in _sources(where):
        try:
            found += _documents_in(read(), source, check)
        except (CommandFailed, InvalidRequest) as err:
            failures.append(err)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise SeveralFailed([line for err in failures for line in str(err).split("\n")])
    if not found:
        raise CommandFailed(f"{where}: holds no object", "write one: apiVersion, kind, metadata, spec")
    return found


def _documents_in(text: str, source: str, check: bool) -> "list[Document]":
    from orchestrator.objects import written_documents

    found: list[Document] = []
    wrong: list[InvalidRequest] = []
    for written in written_documents(text, source):
        items = _unlisted(written.document)
        wrong += _wrong_in(written, items, source, check)
        found += [item for item in items if isinstance(item, dict)]
    if wrong:
        raise together(wrong)
    return found


def _wrong_in(written: "Written", items: "list[Json]", source: str, check: bool) -> list[InvalidRequest]:
    """What is no object, and what the control plane would refuse, in the order of lines."""
    placed: list[tuple[int, InvalidRequest]] = []
    for at, item in enumerate(items):
        above = "" if item is written.document else f"items.{at}"
        for one in _wrong_with(item, check):
            field = ".".join(filter(None, (above, one.field)))
            line = written.line_of(field)
            place = f"{source}:{line}: {one.field or field}"
            placed.append((line, InvalidRequest(place, one.value, one.remedy)))
    return [one for _, one in sorted(placed, key=lambda pair: pair[0])]


def _wrong_with(item: "Json", check: bool) -> Sequence[InvalidRequest]:
    from orchestrator.objects import validate

    if not isinstance(item, dict):
        return [InvalidRequest("", item, "write an object: apiVersion, kind, metadata, spec")]
    try:
        if check:
            validate(item)
    except InvalidRequest as err:
        return err.problems
    return ()
