"""What the control plane last ordered, kept on disk: a front that restarts alone goes on from here."""

import hashlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from protos.link.v1 import link_pb2

log = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size


class Orders:
    """The whole of what was ordered: route table, assignments by node, known sites, revoked keys, all fronts.

    An old leader's do not count.

    The epoch is not taken over from disk: a control plane that was set up anew starts from a low one.
    """

    def __init__(self) -> None:
        self.routes: link_pb2.RouteTable | None = None
        self.assignments: dict[str, bytes] = {}  # serialised: most nodes are not asked about for hours
        self.sites: frozenset[str] = frozenset()  # empty: never heard
        self.revocations: link_pb2.Revocations | None = None
        self.fronts: tuple[str, ...] = ()
        self.epoch = 0

    def take(self, orders: link_pb2.FrontOrders) -> bool:
        """Whether the orders count; those of an older leader epoch do not."""
        if orders.epoch < self.epoch:
            log.warning(
                "orders of an older leader ignored; if the control plane was set up anew, restart this front",
                extra={"epoch": orders.epoch, "seen": self.epoch},
            )
            return False
        self.epoch = orders.epoch
        if orders.HasField("routes"):
            self.routes = link_pb2.RouteTable()  # a copy: a part keeps the whole message in memory, all assignments too
            self.routes.CopyFrom(orders.routes)
        self.assignments |= assignments_of(orders)
        if orders.sites:
            self.sites = frozenset(orders.sites)
        if orders.HasField("revocations"):
            self.revocations = link_pb2.Revocations()
            self.revocations.CopyFrom(orders.revocations)
        self.fronts = tuple(orders.fronts) or self.fronts
        return True

    def pieces(self) -> Iterator[bytes]:
        """The whole as it is now, as serialised messages that are one when read together: a fleet's takes no room."""
        first = link_pb2.FrontOrders(
            routes=self.routes, sites=sorted(self.sites), revocations=self.revocations, fronts=self.fronts
        )
        return _pieces(first, sorted(self.assignments.items()))

    def whole(self) -> link_pb2.FrontOrders:
        """All of it as one message; without the epoch."""
        return link_pb2.FrontOrders.FromString(b"".join(self.pieces()))


def assignments_of(orders: link_pb2.FrontOrders) -> dict[str, bytes]:
    return {sys.intern(each.node): each.assignment.SerializeToString(deterministic=True) for each in orders.assignments}


def _pieces(first: link_pb2.FrontOrders, assignments: list[tuple[str, bytes]]) -> Iterator[bytes]:
    yield first.SerializeToString(deterministic=True)
    for node, assignment in assignments:
        piece = link_pb2.FrontOrders()
        piece.assignments.add(node=node).assignment.ParseFromString(assignment)
        yield piece.SerializeToString(deterministic=True)


def restored(path: Path) -> Orders:
    """What `path` holds; nothing when it is absent or damaged, which the next orders repair."""
    orders = Orders()
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        return orders
    digest, encoded = held[:_DIGEST_BYTES], held[_DIGEST_BYTES:]
    if hashlib.sha256(encoded).digest() != digest:
        log.warning("kept orders are damaged and not used", extra={"path": str(path)})
        return orders
    orders.take(link_pb2.FrontOrders.FromString(encoded))
    return orders


def keep(path: Path, pieces: Iterable[bytes]) -> None:
    """Write so that a crash leaves the old or the new file, never half of one. Blocks on the disk."""
    passing, digest = path.with_suffix(".new"), hashlib.sha256()
    with passing.open("wb") as stream:
        stream.write(bytes(_DIGEST_BYTES))
        for piece in pieces:
            digest.update(piece)
            stream.write(piece)
        stream.seek(0)
        stream.write(digest.digest())
        stream.flush()
        os.fsync(stream.fileno())
    passing.replace(path)
