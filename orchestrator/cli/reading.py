"""Documents from files, folders and standard input. Bounded, and every complaint names the file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.failures import CommandFailed
from orchestrator.errors import InvalidRequest

if TYPE_CHECKING:
    from orchestrator.cli.client import Document

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


def texts_from(where: str) -> list[tuple[str, str]]:
    """(name, text) of each file of FILE, DIR or "-"."""
    if where == "-":
        return [("standard input", _text_of(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"))]
    path = Path(where)
    return [(str(one), _read(one)) for one in (_files(path) if path.is_dir() else [path])]


def _unlisted(document: "Document") -> "list[Document]":
    """`skerry get -o yaml` prints several objects as a List: it can be applied again."""
    items = document.get("items")
    if document.get("kind") != "List" or not isinstance(items, list):
        return [document]
    return [item for item in items if isinstance(item, dict)]


def documents_from(where: str, check: bool = False) -> "list[Document]":
    """All documents of FILE, DIR or "-". Raises CommandFailed or InvalidRequest, naming file and line.

    `check`: as the control plane will check them, since only here is it known on which line a field stands.
    """
    from orchestrator.objects import parse_documents

    found: list[Document] = []
    for source, text in texts_from(where):
        for index, parsed in enumerate(parse_documents(text, source)):
            documents = _unlisted(parsed)
            if check:
                _check(documents, source, text, index)
            found += documents
    if not found:
        raise CommandFailed(f"{where}: holds no object", "write one: apiVersion, kind, metadata, spec")
    return found


def _check(documents: "list[Document]", source: str, text: str, index: int) -> None:
    from orchestrator.objects import line_of, validate

    for at, document in enumerate(documents):
        try:
            validate(document)
        except InvalidRequest as err:
            line = line_of(text, index, err.field if len(documents) == 1 else f"items.{at}.{err.field}")
            raise InvalidRequest(f"{source}:{line or 1}: {err.field}", err.value, err.remedy) from err
