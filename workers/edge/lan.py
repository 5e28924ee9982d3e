"""The node's models as callers on its LAN see them: the agent is their gateway, and counts what they ask for."""

import threading
from collections.abc import Mapping
from typing import Protocol

from workers.edge.assignment import LanDemand, model_key
from workers.gateway.demand import CALLERS_FAULT
from workers.gateway.payload import Malformed, model_name
from workers.inference.dataplane import NAMESPACE_KEY, Reply
from workers.inference.errors import InferenceError


class Models(Protocol):
    """What LAN callers are answered by."""

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Raises InferenceError."""
        ...

    def awaits(self, key: str) -> bool:
        """Whether a service of this name is assigned to the node, loaded or not."""
        ...


class LanGateway:
    """Thread-safe. Counts calls since the node booted, refused ones too; only assigned services, so names are bounded.

    A relayed call does not come by here: its front has counted it.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._totals: dict[tuple[str, str], LanDemand] = {}

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """The answer to one call. Raises InferenceError."""
        asked = self._asked(payload, metadata) if method.endswith("/ModelInfer") else None
        if asked is None:
            return self._models.handle(method, payload, metadata)
        self._count(asked, calls=1, request_bytes=len(payload))
        failed = 1
        try:
            reply = self._models.handle(method, payload, metadata)
            failed = 0
            self._count(asked, response_bytes=len(reply.payload))
            return reply
        except InferenceError as err:
            failed = int(err.code not in CALLERS_FAULT)
            raise
        finally:
            if failed:
                self._count(asked, failed=1)

    def totals(self) -> tuple[LanDemand, ...]:
        with self._lock:
            return tuple(self._totals[key] for key in sorted(self._totals))

    def _asked(self, payload: bytes, metadata: Mapping[str, str]) -> tuple[str, str] | None:
        try:
            service = model_name(payload).name
        except Malformed:
            return None
        namespace = metadata.get(NAMESPACE_KEY) or "default"
        return (namespace, service) if self._models.awaits(model_key(namespace, service)) else None

    def _count(
        self, asked: tuple[str, str], calls: int = 0, failed: int = 0, request_bytes: int = 0, response_bytes: int = 0
    ) -> None:
        with self._lock:
            before = self._totals.get(asked) or LanDemand(*asked)
            self._totals[asked] = LanDemand(
                *asked,
                before.calls + calls,
                before.failed + failed,
                before.request_bytes + request_bytes,
                before.response_bytes + response_bytes,
            )
