"""`skerry wait`: until an object is as one wants it."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import BadUsage, CommandFailed, WaitTimedOut
from orchestrator.cli.output import console, lively
from orchestrator.cli.rows import at, condition, phase_of, text
from orchestrator.cli.targets import Object, object_for

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document

# An object in one of these stays there: waiting for another phase is in vain.
ENDED = frozenset({"succeeded", "rejected", "failed"})
UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0}


@dataclass(frozen=True, slots=True)
class Goal:
    """`kind` is "condition", "phase" or "delete"."""

    kind: str
    name: str = ""
    value: str = ""

    def __str__(self) -> str:
        return {"condition": f"condition {self.name}={self.value}", "phase": f"phase {self.value}"}.get(
            self.kind, "its deletion"
        )

    def reached(self, document: "Document | None") -> bool:
        if document is None:
            return self.kind == "delete"
        if self.kind == "condition":
            found = condition(document, self.name)
            return found is not None and text(found.get("status")).lower() == self.value.lower()
        return self.kind == "phase" and phase_of(document).lower() == self.value.lower()

    def hopeless(self, document: "Document | None") -> str:
        """Why it will not come any more; empty while it may."""
        if document is None:
            return "it does not exist" if self.kind != "delete" else ""
        if self.kind == "phase" and (phase := phase_of(document)).lower() in ENDED:
            return f"it ended as {phase}: {text(at(document, 'status', 'message'))}"
        return ""


def goal_in(wanted: str) -> Goal:
    """Raises BadUsage."""
    kind, _, rest = wanted.partition("=")
    name, _, value = rest.partition("=")
    match kind:
        case "delete" if not rest:
            return Goal("delete")
        case "condition" if name:
            return Goal("condition", name, value or "True")
        case "phase" if name and not value:
            return Goal("phase", value=name)
    raise BadUsage(f"--for {wanted!r} is unknown", "give condition=Ready, condition=Ready=False, phase=NAME or delete")


def seconds_in(duration: str) -> float:
    """30, 30s, 5m or 1h. Raises BadUsage."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh]?)", duration.strip())
    if not found:
        raise BadUsage(f"--timeout {duration!r} is no duration", "give seconds, or a number with s, m or h: 90s, 5m")
    return float(found[1]) * UNITS_S[found[2]]


def state_of(document: "Document | None") -> str:
    """Where it stands, in a few words."""
    if document is None:
        return "gone"
    parts = [f"phase {phase_of(document)}"] if at(document, "status", "phase") else []
    if steps := at(document, "status", "steps"):
        parts.append(f"step {text(at(document, 'status', 'step'))}/{text(steps)}")
    if ready := condition(document, "Ready"):
        why = ": ".join(str(ready[key]) for key in ("reason", "message") if ready.get(key))
        parts.append(f"Ready={text(ready.get('status'))}{f' ({why})' if why else ''}")
    return ", ".join(parts) or "no status yet"


def wait(
    target: options.Target,
    wanted: Annotated[
        str, typer.Option("--for", metavar="WHAT", help="condition=NAME[=STATUS], phase=NAME or delete.")
    ],
    timeout: Annotated[str, typer.Option(help="For example 90s or 5m.")] = "60s",
    namespace: options.Namespace = "default",
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Wait for a condition, a phase or a deletion.

    Exit code 3: it did not come in time.
    """
    from orchestrator.cli.client import ControlClient

    one, goal, limit_s = object_for(target, None, namespace), goal_in(wanted), seconds_in(timeout)
    with ControlClient(control) as client, spinner(f"{one}: {goal}") as tell:
        last: Document | None = None
        for last in states(client, one, time.monotonic() + limit_s):
            tell(state_of(last))
            if goal.reached(last):
                break
            if reason := goal.hopeless(last):
                raise CommandFailed(f"{one} will not reach {goal}: {reason}", f"see `skerry describe {one}`")
        else:
            raise WaitTimedOut(
                f"{one} did not reach {goal} within {timeout}; it is: {state_of(last)}", f"see `skerry describe {one}`"
            )
    print(f"{one} {'deleted' if goal.kind == 'delete' else 'reached ' + str(goal)}")


def states(client: "ControlClient", one: Object, until_s: float) -> "Iterator[Document | None]":
    """What it is now, then each change until the monotonic time `until_s`; None: deleted, or not there."""
    from orchestrator.cli.client import document_in
    from orchestrator.cli.following import follow

    first = client.list_objects(one.kind.name, one.namespace)
    yield next((document_in(found) for found in first.objects if found.ref.name == one.name), None)
    for change in follow(client, first, one.kind.name, one.namespace, until_s):
        if change.object.ref.name == one.name:
            yield None if change.type == "delete" else document_in(change.object)


@contextmanager
def spinner(title: str) -> Iterator[Callable[[str], None]]:
    """Tells a person at a terminal how it stands; silent elsewhere."""
    if not lively(sys.stderr):
        yield lambda state: None
        return
    from rich.markup import escape

    with console(sys.stderr).status(escape(title)) as status:
        yield lambda state: status.update(escape(f"{title}; now {state}"))
