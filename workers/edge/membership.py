"""What joining has told a node, on its disk: who it is, whom it dials, and how it serves."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from workers.artifacts.files import sync_folder
from workers.edge.addresses import usable
from workers.edge.errors import StateFolderUnusable

FORMAT = 1
NAMES = ("node.json", "node.copy.json")  # the second is read where the first was spoilt

_CHANGING = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    node: str
    site: str
    fronts: tuple[str, ...]  # host:port, the nearest first
    enrolments: tuple[str, ...]  # host:port
    pins: tuple[str, ...]  # fingerprints of the authority's keys, hex
    token: str = ""  # id of the one that it joined with
    lan: str = ""  # host:port; empty: the agent listens on nothing
    memory_mib: int | None = None  # None: what `run` takes by itself
    cores: float | None = None

    def told(self, fronts: tuple[str, ...], enrolments: tuple[str, ...] = ()) -> "Membership":
        """With the addresses that a front has told; none: as before."""
        return replace(self, fronts=usable(fronts) or self.fronts, enrolments=usable(enrolments) or self.enrolments)


def save(root: Path, membership: Membership) -> None:
    """Raises OSError."""
    data = _written(membership)
    for name in NAMES:
        _write(root, name, data)


def heal(root: Path) -> None:
    """A copy that was spoilt is written anew from the other, lest both be spoilt one day. Raises OSError."""
    whole: dict[str, bytes] = {}
    for name in NAMES:
        with suppress(OSError, ValueError):
            data = (root / name).read_bytes()
            _read(data)
            whole[name] = data
    for name in NAMES if whole else ():
        if name not in whole:
            _write(root, name, next(iter(whole.values())))
            _log.warning("a copy of what joining told was spoilt; it is written anew", extra={"path": str(root / name)})


def change(root: Path, how: Callable[[Membership], Membership]) -> None:
    """One at a time. Raises StateFolderUnusable, OSError."""
    with _CHANGING:
        if (before := load(root)) and (after := how(before)) != before:
            save(root, after)


def load(root: Path) -> Membership | None:
    """None: this machine has not joined. Raises StateFolderUnusable when neither copy can be read."""
    problems = []
    for name in NAMES:
        try:
            found = _read((root / name).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as err:
            problems.append(f"{root / name}: {err}")
            continue
        if problems:
            _log.warning("using the second copy of what joining told", extra={"spoilt": problems[0]})
        return found
    if not problems:
        return None
    remedy = "join again with a new token: `skerry-edge join ADDRESS --token T` writes it anew"
    raise StateFolderUnusable(f"{'; '.join(problems)}: {remedy}")


def forget(root: Path) -> None:
    """Raises OSError."""
    for name in NAMES:
        (root / name).unlink(missing_ok=True)


def _write(root: Path, name: str, data: bytes) -> None:
    passing = root / f".{name}.new"
    with passing.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    passing.replace(root / name)
    sync_folder(root)


def _written(membership: Membership) -> bytes:
    content = {"format": FORMAT, **asdict(membership)}
    return json.dumps({**content, "sha256": _digest(content)}, indent=1).encode()


def _read(data: bytes) -> Membership:
    """A field that is not known here is a newer release's, and is left out. Raises ValueError."""
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if content.pop("sha256", None) != _digest(content):
        raise ValueError("its digest is not that of its content: it was spoilt, or changed by hand")
    if content.get("format") != FORMAT:
        raise ValueError(f"format {content.get('format')!r} is not known here, only {FORMAT}: upgrade skerry-edge")
    found = Membership(
        node=_text(content, "node"),
        site=_text(content, "site"),
        fronts=_texts(content, "fronts"),
        enrolments=_texts(content, "enrolments"),
        pins=_texts(content, "pins"),
        token=_text(content, "token"),
        lan=_text(content, "lan"),
        memory_mib=_integer(content, "memory_mib"),
        cores=_number(content, "cores"),
    )
    if not (found.node and found.site and found.fronts) or usable(found.fronts) != found.fronts:
        raise ValueError("node, site or fronts are empty or malformed")
    return found


def _text(content: dict[str, object], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value


def _texts(content: dict[str, object], name: str) -> tuple[str, ...]:
    value = content.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} is not a list of texts")
    return tuple(value)


def _integer(content: dict[str, object], name: str) -> int | None:
    value = content.get(name)
    if value is not None and (not isinstance(value, int) or value <= 0):
        raise ValueError(f"{name} is not a whole number above 0")
    return value


def _number(content: dict[str, object], name: str) -> float | None:
    value = content.get(name)
    if value is not None and (not isinstance(value, int | float) or not 0 < value < 1e6):
        raise ValueError(f"{name} is not a number above 0")
    return value


def _digest(content: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
