"""`skerry-edge doctor`: looks at everything that a node stands on, and changes nothing."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: State
    found: str
    remedy: str = ""  # of what is not ok


def ok(name: str, found: str) -> Check:
    return Check(name, State.OK, found)


def warn(name: str, found: str, remedy: str) -> Check:
    return Check(name, State.WARN, found, remedy)


def fail(name: str, found: str, remedy: str) -> Check:
    return Check(name, State.FAIL, found, remedy)


async def examine(root: Path) -> list[Check]:
    """All checks of one state folder, those of the network with a bound each."""
    # Imported here: these use the words above.
    from workers.edge import doctor_disk, doctor_network

    if not await asyncio.to_thread(root.is_dir):
        remedy = "give the --state-dir that `join` or `run` was given"
        return [fail("state folder", f"{root} is no folder", remedy)]
    return [*await asyncio.to_thread(doctor_disk.examine, root), *await doctor_network.examine(root)]


def as_json(checks: Sequence[Check]) -> str:
    return json.dumps([asdict(check) for check in checks], indent=2)


def as_table(checks: Sequence[Check]) -> str:
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<4}  {check.name:<{width}}  {check.found}")
        if check.remedy:
            lines.append(f"{'':<4}  {'':<{width}}  -> {check.remedy}")
    counts = [f"{sum(check.state is state for check in checks)} {state}" for state in State]
    return "\n".join([*lines, ", ".join(counts)])
