"""Changes after a list, over compactions of the change log: what was missed is told anew."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.cli.failures import ListAgain

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient
    from protos.control.v1 import control_pb2 as pb

Ref = tuple[str, str, str]


def _by_ref(reply: "pb.ListReply") -> "dict[Ref, pb.Object]":
    return {(one.ref.kind, one.ref.namespace, one.ref.name): one for one in reply.objects}


def _missed(known: "dict[Ref, pb.Object]", reply: "pb.ListReply") -> "Iterator[pb.Change]":
    """From what was known to what is there now, as changes."""
    from protos.control.v1 import control_pb2 as pb

    now = _by_ref(reply)
    for ref, one in now.items():
        if ref not in known or known[ref].revision != one.revision:
            yield pb.Change(sequence=reply.sequence, type="put", object=one)
    for ref, one in known.items():
        if ref not in now:
            yield pb.Change(sequence=reply.sequence, type="delete", object=one)


def _take(known: "dict[Ref, pb.Object]", change: "pb.Change") -> None:
    ref = (change.object.ref.kind, change.object.ref.namespace, change.object.ref.name)
    if change.type == "delete":
        known.pop(ref, None)
    else:
        known[ref] = change.object


def follow(
    client: "ControlClient", first: "pb.ListReply", kind: str, namespace: str, until_s: float | None
) -> "Iterator[pb.Change]":
    """Changes after the list `first`, until the monotonic time `until_s`. Raises CommandFailed."""
    known, sequence = _by_ref(first), first.sequence
    while True:
        try:
            for change in client.watch(sequence, kind, namespace, until_s):
                _take(known, change)
                yield change
            return
        except ListAgain:
            reply = client.list_objects(kind, namespace)
        for change in _missed(known, reply):
            yield change
        known, sequence = _by_ref(reply), reply.sequence
