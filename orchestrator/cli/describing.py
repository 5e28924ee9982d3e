"""`skerry describe`: one object for a reader: spec, status, conditions, recent changes, where a service is placed."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli import options
from orchestrator.cli.confusion import confusion_in, confusion_text, without_confusion
from orchestrator.cli.failures import ListAgain, Missing, Unreachable
from orchestrator.cli.output import as_yaml, columns
from orchestrator.cli.rows import at, created_age, text
from orchestrator.cli.targets import Object, node_for, object_for

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document, Json
    from protos.control.v1 import control_pb2 as pb

RECENT_CHANGES = 8
RECENT_SEQUENCES = 2_000  # how far back of the change log is read
CHANGES_WAIT_S = 2.0
FIELDS_PER_CHANGE = 6
# Shown as tables of their own, not in the YAML of the status.
TABLES = frozenset({"conditions", "replicas"})


def describe(
    kind: options.KindWord,
    name: options.Name = None,
    namespace: options.Namespace = "default",
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Show one object for reading.

    Its spec, status, conditions and recent changes; of a service also where it is placed and why.
    """
    from orchestrator.cli.client import ControlClient, document_in

    if node := node_for(kind, name):
        from orchestrator.cli.nodes import describe_node

        with ControlClient(control) as client:
            describe_node(client, node)
        return
    target = object_for(kind, name, namespace)
    with ControlClient(control) as client:
        message = client.get(target.ref())
        document = document_in(message)
        print("\n\n".join(filter(None, (_head(document), *_status(document), _changes(client, target, message)))))
        if target.kind.name == "ModelService":
            _placement(client, target)


def _head(document: "Document") -> str:
    metadata = at(document, "metadata")
    facts = [("Name", text(at(metadata, "name"))), ("Kind", text(at(document, "kind")))]
    facts += [("Namespace", text(at(metadata, "namespace")))] if at(metadata, "namespace") else []
    facts += [
        ("Labels", text(at(metadata, "labels"))),
        ("Managed by", text(at(metadata, "managedBy"))),
        ("Age", created_age(document)),
        ("Revision", f"{text(at(metadata, 'revision'))} (generation {text(at(metadata, 'generation'))})"),
    ]
    lines = "\n".join(f"{key + ':':<12} {value}" for key, value in facts)
    return f"{lines}\n\nSpec:\n{_indented(as_yaml(at(document, 'spec')))}"


def _indented(block: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in block.splitlines())


def _status(document: "Document") -> Iterator[str]:
    status = at(document, "status")
    if not isinstance(status, dict) or not status:
        yield "Status: none yet"
        return
    counts = confusion_in(document)
    shown = without_confusion(status) if counts else status
    if plain := {key: value for key, value in shown.items() if key not in TABLES}:
        yield f"Status:\n{_indented(as_yaml(plain))}"
    if counts:
        yield f"Confusion (label by answer):\n{_indented(confusion_text(counts))}"
    if isinstance(replicas := status.get("replicas"), list) and replicas:
        yield "Replicas:\n" + _table(replicas, ("replica", "site", "node", "phase", "version", "reason"))
    if isinstance(conditions := status.get("conditions"), list) and conditions:
        yield "Conditions:\n" + _table(conditions, ("type", "status", "reason", "message"))


def _table(items: "Sequence[Json]", keys: Sequence[str]) -> str:
    rows = [[text(at(item, key)) for key in keys] for item in items]
    return _indented(columns([key.upper() for key in keys], rows))


def _leaves(value: "Json", path: str = "") -> "Iterator[tuple[str, Json]]":
    """Every plain value under its path; a list counts as one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def difference(before: "Document", after: "Document") -> list[str]:
    """What changed in spec, status and labels, one line for each field."""
    old, new = (
        dict(_leaves({"spec": at(one, "spec"), "status": at(one, "status"), "labels": at(one, "metadata", "labels")}))
        for one in (before, after)
    )
    lines = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            was, now = _short(old.get(path)), _short(new.get(path))
            lines.append(f"{path}: {was} -> {now}" if len(was) + len(now) < 100 else f"{path} changed")
    more = len(lines) - FIELDS_PER_CHANGE
    return lines if more <= 0 else [*lines[:FIELDS_PER_CHANGE], f"and {more} more"]


def _short(value: "Json") -> str:
    return text(value)


def _recent(client: "ControlClient", target: Object, message: "pb.Object") -> "tuple[list[pb.Change], bool]":
    """What the change log still holds of the object, oldest first, and whether that reaches back to its creation.

    Empty when it was compacted.
    """
    reply = client.list_objects(target.kind.name, target.namespace)
    found: list[pb.Change] = []
    start, until_s = max(0, reply.sequence - RECENT_SEQUENCES), time.monotonic() + CHANGES_WAIT_S
    try:
        for change in client.watch(start, target.kind.name, target.namespace, until_s):
            if change.object.ref.name == target.name:
                found.append(change)
                if change.object.revision >= message.revision:
                    break
            if change.sequence >= reply.sequence:
                break
    except (ListAgain, Unreachable):
        return [], False
    return found, start == 0


def _changes(client: "ControlClient", target: Object, message: "pb.Object") -> str:
    found, whole = _recent(client, target, message)
    befores = [None, *found]
    blocks = [_change(before, change, whole) for before, change in zip(befores, found, strict=False)]
    if not blocks:
        return "Recent changes: the change log holds none any more"
    return "Recent changes:\n" + _indented("\n".join(blocks[-RECENT_CHANGES:]))


def _change(before: "pb.Change | None", change: "pb.Change", whole: bool) -> str:
    """One change and who made it, as far as the log tells: it holds an object's owner, not each change's writer."""
    from orchestrator.cli.client import document_in

    head, after = f"revision {change.object.revision}", document_in(change.object)
    if change.type == "delete":
        return f"{head}: deleted"
    if before is None and not whole:
        return f"{head}: the oldest that is looked at"
    if before is None or before.type == "delete":
        return f"{head} by {change.object.owner}: created"
    then = document_in(before.object)
    what = difference(then, after) or ["nothing to see"]
    told = f" {what[0]}" if len(what) == 1 else "".join(f"\n{' ' * 4}{line}" for line in what)
    return f"{head} by {_writer(change, then, after)}:{told}"


def _writer(change: "pb.Change", before: "Document", after: "Document") -> str:
    """Spec and labels are their owner's to change, anybody else is refused; a status is the control plane's."""
    owners = any(at(before, *path) != at(after, *path) for path in (("spec",), ("metadata", "labels")))
    return change.object.owner if owners else "control"


def _placement(client: "ControlClient", target: Object) -> None:
    from orchestrator.cli.explaining import show

    try:
        reply = client.explain(target.namespace, target.name, "")
    except Missing:
        print("\nPlacement: not decided yet")
        return
    print()
    show(reply, None)
