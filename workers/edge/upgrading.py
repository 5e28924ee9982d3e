"""Another version of the agent beside the one that runs, and back to that if it does not serve as well.

The new version is installed whole before anything that runs is touched. It then has a bound of time in which to attach
(if the old one was attached) and to have ready what was ready; else the old one is started again. If this process is
killed meanwhile, or the machine loses power, the guard that runs before each start of the agent goes back.
"""

import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.edge.errors import UpgradeFailed
from workers.edge.state import Json, read_json, running
from workers.edge.versions import Versions

POLL_S = 0.25
RESTART_S = 120.0


@dataclass(frozen=True, slots=True)
class Upgrade:
    root: Path
    state_dir: Path
    version: str
    wheels: Path | None  # a folder, in place of an index
    restart: str  # a command line
    within_s: float


def upgrade(asked: Upgrade) -> str:
    """What was done, for people. Raises UpgradeFailed; then the former version runs again."""
    versions = Versions(asked.root)
    with versions.held():
        former = versions.roll_back() or versions.current()  # a trial that nobody judged is no version to go back to
        if former == asked.version:
            return f"{asked.version} is the current version already"
        versions.install(asked.version, ("--no-index", "--find-links", str(asked.wheels)) if asked.wheels else ())
        before = _status(asked.state_dir) if running(asked.state_dir) else {}
        versions.begin_trial(asked.version)
        _restart(asked.restart)
        missing = _waited(asked.within_s, lambda: _missing(asked, before, str(versions.path(asked.version))))
        if not missing:
            versions.confirm()
            versions.prune([asked.version] + ([former] if former else []))
            return f"{asked.version} serves in place of {former or 'nothing'}"
        return _undo(asked, versions, before, missing)


def _undo(asked: Upgrade, versions: Versions, before: dict[str, Json], missing: str) -> str:
    """Raises UpgradeFailed, always."""
    former = versions.roll_back()
    said = f"{asked.version} did not serve as the former version within {asked.within_s:g} s: {missing}"
    if former is None:
        raise UpgradeFailed(f"{said}; there is no version to go back to: see the agent's log")
    _restart(asked.restart)
    still = _waited(asked.within_s, lambda: _missing(asked, before, str(versions.path(former))))
    outcome = f"{former} runs again" if not still else f"{former} was started again, but: {still}"
    raise UpgradeFailed(f"{said}; {outcome}; the log of the agent says more")


def _waited(within_s: float, missing: Callable[[], str]) -> str:
    """What is missing still at the end of the time; empty as soon as nothing is."""
    end_s = time.monotonic() + within_s
    while (found := missing()) and time.monotonic() < end_s:
        time.sleep(POLL_S)
    return found


def _missing(asked: Upgrade, before: dict[str, Json], prefix: str) -> str:
    """What the agent lacks of what it had; empty: it serves as before, and is of this version."""
    if not running(asked.state_dir):
        return "no agent runs"
    now = _status(asked.state_dir)
    if now.get("prefix") != prefix or now.get("process") == before.get("process"):
        return "the agent that runs is another one, or has not reported yet"
    if before.get("link") == "attached" and now.get("link") != "attached":
        return f"it is not attached ({now.get('link_problem')})"
    phases = {name: phase for name, phase in _replicas(now).items() if phase != "ready"}
    lost = sorted(name for name, phase in _replicas(before).items() if phase == "ready" and name in phases)
    return f"replica {lost[0]} is {phases[lost[0]]}" if lost else ""


def _replicas(status: dict[str, Json]) -> dict[str, str]:
    """The phase of each."""
    found = status.get("replicas")
    rows = found if isinstance(found, list) else []
    return {str(row.get("replica")): str(row.get("phase")) for row in rows if isinstance(row, dict)}


def _status(state_dir: Path) -> dict[str, Json]:
    return read_json(state_dir / "status.json")


def _restart(command: str) -> None:
    """A command that fails is for the judge: the agent may have started all the same."""
    try:
        subprocess.run(shlex.split(command), check=False, timeout=RESTART_S)
    except (OSError, subprocess.TimeoutExpired, ValueError) as err:
        print(f"skerry-edge: --restart {command}: {err}", flush=True)
