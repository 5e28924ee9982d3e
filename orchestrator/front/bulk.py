"""Bulk class: artifact bytes for nodes, read off the event loop."""

import asyncio
import logging
from typing import Any, Protocol, TypeAlias

import grpc
import grpc.aio

from orchestrator.errors import Forbidden
from orchestrator.front.door import Door
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.artifacts.errors import ArtifactError, ArtifactUnknown, DigestInvalid, OffsetBeyondEnd, RangesTooMany
from workers.artifacts.giving import messages
from workers.artifacts.library import OpenArtifact

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

STATUS = {
    ArtifactUnknown: grpc.StatusCode.NOT_FOUND,
    DigestInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    OffsetBeyondEnd: grpc.StatusCode.OUT_OF_RANGE,
    RangesTooMany: grpc.StatusCode.INVALID_ARGUMENT,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}


class Library(Protocol):
    """Where artifact bytes are; its calls block."""

    def open(self, digest: str) -> OpenArtifact:
        """Raises the errors of workers.artifacts.errors."""
        ...


class BulkServicer(link_pb2_grpc.BulkServicer):
    """Whole artifacts from an offset on, or ranges of them; manifests and signatures are artifacts too."""

    def __init__(self, library: Library, door: Door) -> None:
        self._library, self._door = library, door

    async def Fetch(  # type: ignore[override]  # aio's write
        self, request: link_pb2.FetchRequest, context: Context
    ) -> None:
        try:
            self._door.admit(context)
            with await asyncio.to_thread(self._library.open, request.digest) as source:
                given = messages(request, source)
                while (message := await asyncio.to_thread(next, given, None)) is not None:
                    self._door.admit(context)  # a revoked node gets no more of it
                    await context.write(message)
        except (ArtifactError, Forbidden) as err:
            await context.abort(STATUS.get(type(err), grpc.StatusCode.INTERNAL), str(err))
        except OSError as err:
            log.error("artifact cannot be read", extra={"digest": request.digest, "reason": str(err)})
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"artifact {request.digest} cannot be read now: {err}")
