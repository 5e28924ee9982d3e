"""`skerry plan` and `skerry replay`: what would change, and what was decided, decided again."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.output import Output, age_text, structured

if TYPE_CHECKING:
    from orchestrator.cli.client import Document
    from protos.control.v1 import control_pb2 as pb

CHANGED = 2  # as `terraform plan -detailed-exitcode`
DIFFERS = 3
FILE = typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="YAML or JSON; - reads standard input.")
POLICY = typer.Option("--policy", metavar="FILE|-", help="A PlacementPolicy, in place of the stored one of its name.")


def plan(
    filename: Annotated[str | None, FILE] = None,
    png: options.Picture = None,
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Show what applying a file would change; nothing is written.

    Replicas that start, stop and move, bytes over each link, answers' expected p99 against their limit, and cost.
    Without a file: what the control plane is about to change by itself.

    Exit code 0: no changes; 2: changes; 1: an error.
    """
    from orchestrator.cli.client import ControlClient
    from orchestrator.cli.plan_text import plan_text
    from orchestrator.cli.reading import documents_from

    documents = documents_from(filename, check=True) if filename is not None else []
    picture = None
    if png is not None:
        from orchestrator.cli.picture.writing import checked

        picture = checked(png)
    with ControlClient(control) as client:
        reply = client.plan(documents, view=picture is not None)
    if picture is not None:
        from orchestrator.cli.picture.titles import plan_graph
        from orchestrator.cli.picture.writing import write

        write(picture, reply.view_json, plan_graph)
    found = json.loads(reply.plan_json)
    print(structured(found, output) if output in (Output.JSON, Output.YAML) else plan_text(found))
    raise typer.Exit(CHANGED if reply.changed else 0)


def replay(
    decision: Annotated[str, typer.Argument(help="Its id: `skerry get decisions` lists them.")],
    policy: Annotated[str | None, POLICY] = None,
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Make a stored decision again from its stored inputs, in a process of its own, and compare.

    With a policy: what would have been decided by that one. The version that a service ran is the one of then.

    Exit code 0: equal, or a policy was given; 3: it differs; 1: an error.
    """
    from orchestrator.cli.client import ControlClient

    document = _policy_in(policy) if policy is not None else None
    with ControlClient(control) as client:
        reply = client.replay(decision, document)
    if output in (Output.JSON, Output.YAML):
        print(structured(_as_document(reply), output))
    else:
        print(_told(reply, document))
    if document is None and not reply.equal:
        raise typer.Exit(DIFFERS)


def _policy_in(filename: str) -> "Document":
    from orchestrator.cli.reading import documents_from

    documents = documents_from(filename, check=True)
    if len(documents) != 1 or documents[0].get("kind") != "PlacementPolicy":
        kinds = ", ".join(str(one.get("kind")) for one in documents)
        raise CommandFailed(f"{filename}: holds {kinds}", "give one PlacementPolicy")
    return documents[0]


def _as_document(reply: "pb.ReplayReply") -> "Document":
    return {
        "decision": reply.decision,
        "age_s": reply.age_s,
        "equal": reply.equal,
        "differences": list(reply.differences),
        "decided_by": reply.decided_by,
        "replayed_by": reply.replayed_by,
        "plan": json.loads(reply.plan_json),
        "replayed": json.loads(reply.decision_json),
    }


def _told(reply: "pb.ReplayReply", policy: "Document | None") -> str:
    from orchestrator.cli.plan_text import effect_text

    head = f"Decision {reply.decision}, {age_text(reply.age_s)} old"
    if policy is not None:
        metadata = policy.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else "?"
        verdict = f"{head}, under policy {name} as given:"
    elif reply.equal:
        return f"{head}: equal; replayed from its stored inputs by planner {reply.replayed_by}"
    else:
        verdict = f"{head}: replayed from its stored inputs it differs:"
    lines = [verdict]
    if reply.decided_by != reply.replayed_by:
        lines.append(f"It was decided by planner {reply.decided_by} and replayed by {reply.replayed_by}.")
    if policy is None:
        lines += [f"  {line}" for line in reply.differences]
    effect = effect_text(json.loads(reply.plan_json))
    return "\n".join(lines) + "\n\n" + effect
