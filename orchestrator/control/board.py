"""What the leader last published for the fronts, and the wake-up of those that wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.model.ids import NodeName, SiteName
from protos.link.v1 import link_pb2


@dataclass(frozen=True, slots=True)
class Published:
    """Whole states; a front is sent the parts that it does not have."""

    epoch: int = 0
    routes: link_pb2.RouteTable = field(default_factory=link_pb2.RouteTable)
    assignments: Mapping[NodeName, link_pb2.Assignment] = field(default_factory=dict)
    sites: frozenset[SiteName] = frozenset()
    revoked: frozenset[str] = frozenset()  # keys, whose certificates count no more
    fronts: tuple[str, ...] = ()  # link addresses, as nodes dial them


class Board:
    """One writer, many readers on one event loop."""

    def __init__(self) -> None:
        self._published = Published()
        self._changed = asyncio.Condition()

    @property
    def published(self) -> Published:
        return self._published

    async def publish(self, published: Published) -> None:
        async with self._changed:
            self._published = published
            self._changed.notify_all()

    async def wake(self) -> None:
        """Something that readers select by has changed, e.g. which nodes a front holds."""
        async with self._changed:
            self._changed.notify_all()

    async def orders(self, holds: Callable[[NodeName], bool]) -> AsyncIterator[link_pb2.FrontOrders]:
        """Orders for one front, without end: first all that it needs, then what changed. `holds`: its own nodes."""
        sent = _Sent()
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: sent.lacks(self._published, holds))
                orders = sent.take(self._published, holds)
            yield orders


@dataclass(slots=True)
class _Sent:
    epoch: int = 0
    routes_revision: int = 0
    revisions: dict[NodeName, int] = field(default_factory=dict)
    whole: tuple[object, ...] = ()  # what is sent whole whenever any of it changes

    def _new_assignments(
        self, published: Published, holds: Callable[[NodeName], bool]
    ) -> dict[NodeName, link_pb2.Assignment]:
        return {
            node: assignment
            for node, assignment in published.assignments.items()
            if holds(node) and self.revisions.get(node) != assignment.revision
        }

    def lacks(self, published: Published, holds: Callable[[NodeName], bool]) -> bool:
        if published.epoch == 0:
            return False
        return (
            (self.epoch, self.routes_revision, self.whole)
            != (published.epoch, published.routes.revision, _whole(published))
        ) or bool(self._new_assignments(published, holds))

    def take(self, published: Published, holds: Callable[[NodeName], bool]) -> link_pb2.FrontOrders:
        assignments = self._new_assignments(published, holds)
        orders = link_pb2.FrontOrders(
            epoch=published.epoch,
            sites=sorted(published.sites),
            assignments=[link_pb2.NodeAssignment(node=n, assignment=a) for n, a in sorted(assignments.items())],
            fronts=published.fronts,
        )
        if self.routes_revision != published.routes.revision:
            orders.routes.CopyFrom(published.routes)
        if self.whole != _whole(published):
            orders.revocations.keys.extend(sorted(published.revoked))
            orders.revocations.SetInParent()
        # A node that left this front gets its assignment anew when it comes back.
        self.revisions = {n: r for n, r in self.revisions.items() if holds(n)}
        self.revisions |= {node: assignment.revision for node, assignment in assignments.items()}
        self.epoch, self.routes_revision, self.whole = published.epoch, published.routes.revision, _whole(published)
        return orders


def _whole(published: Published) -> tuple[object, ...]:
    return published.sites, published.revoked, published.fronts
