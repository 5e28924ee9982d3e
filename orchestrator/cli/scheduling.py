"""`skerry cordon`, `uncordon` and `drain`: a node taken out of use, and put back."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import CommandFailed, WaitTimedOut
from orchestrator.cli.output import lively, say
from orchestrator.cli.rows import condition, text
from orchestrator.cli.waiting import seconds_in, spinner, states

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document

DRAINED = "Drained"


def cordon(node: options.Node, control: options.Control = options.CONTROL_ADDRESS) -> None:
    """Let a node take no new replicas; what runs there stays."""
    _schedule(node, "cordon", control)
    print(f"node/{node} cordoned")


def uncordon(node: options.Node, control: options.Control = options.CONTROL_ADDRESS) -> None:
    """Let a node take replicas again; this ends a drain too."""
    _schedule(node, "uncordon", control)
    print(f"node/{node} uncordoned")


def _schedule(node: str, action: str, control: str) -> None:
    from orchestrator.cli.client import ControlClient

    with ControlClient(control) as client:
        client.schedule_node(node, action)


def drain(
    node: options.Node,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until the node is empty.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to follow it, for example 90s or 30m.")] = "10m",
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Cordon a node and hand its replicas over: each stops once its successor is ready elsewhere.

    What nothing else can take stays, and is told with its reason. The drain itself goes on without this command.
    Exit code 3: the node was not empty in time.
    """
    from orchestrator.cli.client import ControlClient

    limit_s = seconds_in(timeout)
    with ControlClient(control) as client:
        client.schedule_node(node, "drain")
        if not wait:
            print(f"node/{node} draining")
            return
        _follow(client, node, timeout, time.monotonic() + limit_s)
    print(f"node/{node} drained")


def _follow(client: "ControlClient", node: str, timeout: str, until_s: float) -> None:
    """Until it is empty, told step by step. Raises WaitTimedOut; CommandFailed when somebody ended the drain."""
    from orchestrator.cli.targets import object_for

    told = ""
    with spinner(f"node/{node}: draining") as tell:
        for document in states(client, object_for("node", node, ""), until_s):
            if document is None or not _drains(document):
                ended = "deleted" if document is None else "uncordoned"
                raise CommandFailed(f"node {node} does not drain any more: it was {ended}", "see `skerry get nodes`")
            found = condition(document, DRAINED) or {}
            if found.get("status") == "True":
                return
            if (now := text(found.get("message"))) != told:
                told = now
                tell(now)
                if not lively(sys.stderr):
                    say(f"node/{node}: {now}")
    raise WaitTimedOut(
        f"node {node} is not empty within {timeout}: {told}", "it goes on; `skerry drain` again follows it further"
    )


def _drains(document: "Document") -> bool:
    spec = document.get("spec")
    return isinstance(spec, dict) and spec.get("draining") is True
