"""`skerry get decisions`: what was decided, when and why; with an id one decision with its inputs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.cli.output import Output, age_text, columns, say, structured

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document
    from protos.control.v1 import control_pb2 as pb

WORDS = frozenset({"decision", "decisions"})


def show_decisions(client: "ControlClient", id: str, output: Output | None) -> None:
    """`id` "": all that are kept, the newest first."""
    reply = client.decisions(id)
    if output in (Output.JSON, Output.YAML):
        found = [_document(one, whole=bool(id)) for one in reply.decisions]
        items: Document = {"items": list(found), "retention": reply.retention}
        print(structured(found[0] if id else items, output))
    elif not reply.decisions:
        say("no decisions found: none was made yet")
    elif output is Output.NAME:
        print("\n".join(one.id for one in reply.decisions))
    else:
        print(_table(reply, output is Output.WIDE or bool(id)))


def _table(reply: "pb.DecisionsReply", wide: bool) -> str:
    heads = ("ID", "AGE", "MADE", "EPOCH", "SERVICES", "CHANGES", "USD_PER_HOUR", "STATE")
    rows = [
        (
            one.id,
            age_text(one.age_s),
            _made(one),
            str(one.epoch),
            str(one.services),
            str(len(one.changes)),
            f"{one.usd_per_hour:.3g}",
            "in force" if one.in_force else "-",
        )
        for one in reply.decisions
    ]
    lines = columns(heads, rows).splitlines()
    if not wide:
        return "\n".join(lines)
    return "\n".join([lines[0], *_with_changes(lines[1:], reply)])


def _with_changes(lines: list[str], reply: "pb.DecisionsReply") -> Iterator[str]:
    for line, one in zip(lines, reply.decisions, strict=True):
        yield line
        yield from (f"  {change}" for change in one.changes)


def _made(one: "pb.DecisionsReply.Decision") -> str:
    return datetime.fromtimestamp(one.made_wall_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _document(one: "pb.DecisionsReply.Decision", whole: bool) -> "Document":
    document: Document = {
        "id": one.id,
        "made": _made(one),
        "age_s": one.age_s,
        "epoch": one.epoch,
        "services": one.services,
        "usd_per_hour": one.usd_per_hour,
        "changes": list(one.changes),
        "in_force": one.in_force,
    }
    if whole:
        document |= {"inputs": json.loads(one.inputs_json), "decision": json.loads(one.decision_json)}
    return document
