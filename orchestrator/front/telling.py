"""What a front tells an attached node: its assignment, that a report was taken, and the end.

An idle node costs no task of its own: one is made when there is something to say, and ends when it is said. What is
said is the newest, so that a node that reads slowly delays itself and fills nothing.
"""

import asyncio
import logging
from typing import Any, TypeAlias

import grpc.aio

from orchestrator.front.nodes import Nodes, Session
from protos.link.v1 import link_pb2
from workers.tasks import stopped

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Teller:
    """One session's writer. The task that makes it reads the stream, and is cancelled when the session ends."""

    __slots__ = ("_assigned", "_nodes", "_reader", "_session", "_stream", "_taken", "_telling")

    def __init__(self, session: Session, nodes: Nodes, stream: Context) -> None:
        self._session, self._nodes, self._stream = session, nodes, stream
        self._assigned: bytes | None = None  # the last that was written
        self._taken: link_pb2.ReportTaken | None = None
        self._telling: asyncio.Task[None] | None = None
        self._reader = asyncio.current_task()

    def attend(self) -> None:
        """Look what there is to tell."""
        if self._session.ended is not None:
            if self._reader is not None and self._reader is not asyncio.current_task():
                self._reader.cancel()
        elif self._telling is None and self._due():
            self._telling = asyncio.create_task(self._tell())

    def taken(self, report: link_pb2.ReportTaken) -> None:
        self._taken = report
        self.attend()

    async def close(self) -> None:
        """No more is written."""
        self._reader = None
        if (telling := self._telling) is not None:
            await stopped([telling])

    def _due(self) -> bool:
        return self._taken is not None or self._nodes.assignment(self._session.node) not in (None, self._assigned)

    async def _tell(self) -> None:
        try:
            while self._due():
                if (taken := self._taken) is not None:
                    await self._stream.write(link_pb2.FrontMessage(taken=taken))
                    self._taken = None if self._taken is taken else self._taken
                elif (assignment := self._nodes.assignment(self._session.node)) is not None:
                    message = link_pb2.FrontMessage()
                    message.assignment.ParseFromString(assignment)
                    await self._stream.write(message)
                    self._assigned = assignment
        except (grpc.aio.UsageError, grpc.aio.AbortError, asyncio.InvalidStateError) as err:
            # The stream has ended meanwhile: whoever reads it knows why.
            log.debug("not told", extra={"node": self._session.node, "reason": str(err)})
        finally:
            self._telling = None
