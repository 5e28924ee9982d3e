"""The seam between the choice of a replica and the way to it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import grpc

from workers.gateway.choice import Route

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A replica's answer as it came, and its trailing metadata."""

    payload: bytes
    metadata: Metadata


class TransportError(Exception):
    """A call ended without an answer. UNAVAILABLE: the replica did not take it, another may.

    A call that was sent may have run before its connection broke; inference is repeatable, so it is UNAVAILABLE too.
    """

    def __init__(self, code: grpc.StatusCode, message: str, metadata: Metadata = ()) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message, self.metadata = code, message, metadata


class Transport(Protocol):
    """Carries one call to one replica. Cancelling it cancels the call there."""

    async def call(self, route: Route, method: str, payload: bytes, metadata: Metadata, timeout_s: float) -> Answer:
        """Raises TransportError; DEADLINE_EXCEEDED when `timeout_s` passed."""
        ...


# Of the hop itself, or said anew by each hop.
_OWN_KEYS = frozenset({"user-agent", "te", "content-type", "host", "skerry-incarnation", "skerry-replica"})


def forwarded(metadata: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """A caller's metadata as it travels on: request ids, trace parents and the like."""
    return tuple(
        (key, value)
        for key, value in metadata
        if key not in _OWN_KEYS and not key.startswith("grpc-") and not key.startswith(":")
    )
