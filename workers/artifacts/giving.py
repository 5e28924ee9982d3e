"""What a request for an artifact's bytes is answered with, whoever gives them: a front, or a node to its neighbours."""

from collections.abc import Iterator
from typing import Protocol

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.errors import OffsetBeyondEnd, RangesTooMany

MESSAGE_BYTES = 64 * 1024
RANGES_MOST = 4096


class Given(Protocol):
    """An artifact that is read in places."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, limit: int) -> bytes: ...


def messages(request: pb.FetchRequest, given: Given) -> Iterator[pb.FetchChunk]:
    """Reads as it goes. At least one, be it empty, so that the total is always told.

    Raises OffsetBeyondEnd and RangesTooMany before it gives anything.
    """
    total = given.size_bytes
    for offset, end in spans(request, total):
        while True:
            data = given.read(offset, min(MESSAGE_BYTES, end - offset))
            yield pb.FetchChunk(offset=offset, data=data, total_bytes=total)
            offset += len(data)
            if not data or offset >= end:
                break


def spans(request: pb.FetchRequest, total: int) -> list[tuple[int, int]]:
    """(from, to) of what is asked for. Raises OffsetBeyondEnd, RangesTooMany."""
    if len(request.ranges) > RANGES_MOST:
        raise RangesTooMany(len(request.ranges), RANGES_MOST)
    spans = [(each.offset, each.offset + each.size_bytes) for each in request.ranges] or [(request.offset, total)]
    for offset, end in spans:
        if max(offset, end) > total:
            raise OffsetBeyondEnd(request.digest, max(offset, end), total)
    return spans
