"""The node's loaded models behind one `handle`: a data plane per load, so that a successor runs beside its predecessor.

A call that names an incarnation gets that load as long as it lives, even when its successor already answers the callers
who name none: so a rollout on one node loses no call that was routed before the routes changed.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from workers.edge.apart import Apart, Limits, Processes
from workers.edge.assignment import Isolation, ReplicaAssignment
from workers.gateway.payload import Malformed, model_name
from workers.inference.dataplane import INCARNATION_KEY, NAMESPACE_KEY, DataPlane, ModelSource, Reply
from workers.inference.errors import InferenceError, ModelNotReady, ModelUnknown

_OF_A_MODEL = frozenset(
    f"/inference.GRPCInferenceService/{name}" for name in ("ModelInfer", "ModelReady", "ModelMetadata")
)


class Plane(Protocol):
    """One loaded model, in this process or in its own."""

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Raises InferenceError."""
        ...

    def drain(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Load:
    plane: Plane
    key: str
    metadata: Mapping[str, str]


class EdgeModels:
    """Thread-safe. The newest load of a service that is not retired answers those who name no incarnation."""

    def __init__(
        self,
        site: str,
        node: str,
        new_plane: Callable[[], DataPlane] = DataPlane,
        processes: Processes | None = None,
    ) -> None:
        self._site, self._node, self._new_plane = site, node, new_plane
        self._processes = processes or Processes()
        self._changes = threading.Lock()
        self._loading = threading.Lock()  # one at a time: two would take twice the memory and neither be sooner
        # Replaced, never changed: calls read them without a lock. In order of loading.
        self._loads: Mapping[str, _Load] = {}
        self._retired: frozenset[str] = frozenset()
        self._awaited: frozenset[str] = frozenset()  # keys of assigned services, loaded or not
        self._server = new_plane()  # answers what is asked of the server, not of a model

    def load(
        self, replica: ReplicaAssignment, incarnation: str, path: Path, ended: Callable[[str], None] = lambda _: None
    ) -> None:
        """Blocks while the model loads and warms up. Raises ModelLoadFailed, ReplicaEnded; what runs is not touched.

        `ended` is called with the reason, in another thread, when a model's own process ends later by itself.
        """
        source = self.source(replica, incarnation, path)
        own = replica.content.isolation is Isolation.PROCESS
        # A process of its own is not under the lock of loads: one that hangs delays no other, and it is bounded.
        limits = Limits(replica.memory_bytes, replica.compute_millis)
        plane = self._processes.start(source, limits, ended) if own else self._shared(source)
        with self._changes:
            self._loads = {**self._loads, incarnation: _Load(plane, source.name, source.metadata)}

    def _shared(self, source: ModelSource) -> Plane:
        plane = self._new_plane()
        with self._loading:
            plane.load(source)
        return plane

    def source(self, replica: ReplicaAssignment, incarnation: str, path: Path) -> ModelSource:
        content, metadata = replica.content, self._metadata(replica)
        return ModelSource(replica.model_key, content.version, path, content.artifact.format, incarnation, metadata)

    def describe(self, replica: ReplicaAssignment, incarnation: str) -> None:
        """Answers name the replica's decision of now."""
        with self._changes:
            if load := self._loads.get(incarnation):
                changed = _Load(load.plane, load.key, self._metadata(replica))
                self._loads = {**self._loads, incarnation: changed}

    def retire(self, incarnation: str) -> None:
        """From now on only for calls that name it, if the service has another load."""
        with self._changes:
            self._retired |= {incarnation}

    def drain(self, incarnation: str) -> None:
        """From now on UNAVAILABLE; calls under way go on, also after an unload."""
        if load := self._loads.get(incarnation):
            load.plane.drain(load.key)

    def unload(self, incarnation: str) -> None:
        if (load := self._loads.get(incarnation)) and isinstance(load.plane, Apart):
            self._processes.end(load.plane)
        with self._changes:
            self._loads = {known: load for known, load in self._loads.items() if known != incarnation}
            self._retired -= {incarnation}

    def await_services(self, keys: frozenset[str]) -> None:
        """Assigned services that are not loaded answer UNAVAILABLE, not NOT_FOUND: they are on their way."""
        with self._changes:
            self._awaited = keys

    def awaits(self, key: str) -> bool:
        """Whether a service of this key is assigned to the node, loaded or not."""
        return key in self._awaited

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """The answer to one call. Raises InferenceError."""
        load = self._asked(method, payload, metadata)
        if load is None:
            return self._server.handle(method, payload, metadata)
        reply = load.plane.handle(method, payload, metadata)
        return Reply(reply.payload, load.metadata) if reply.metadata else reply

    def _asked(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> _Load | None:
        """None: the server itself has the answer, be it that the payload is malformed."""
        if method not in _OF_A_MODEL:
            return None
        if named := self._loads.get(metadata.get(INCARNATION_KEY, "")):
            return named
        try:
            model = model_name(payload).name
        except Malformed:
            return None
        namespace = metadata.get(NAMESPACE_KEY, "default")
        key = model if namespace in ("", "default") else f"{namespace}/{model}"
        found = self._newest(key)
        if found is None and not method.endswith("/ModelReady"):  # to that one "not ready" is an answer
            raise self._missing(model, key)
        return found

    def _newest(self, key: str) -> _Load | None:
        loads = [(incarnation, load) for incarnation, load in self._loads.items() if load.key == key]
        in_use = [load for incarnation, load in loads if incarnation not in self._retired]
        return in_use[-1] if in_use else loads[-1][1] if loads else None

    def _missing(self, model: str, key: str) -> InferenceError:
        if key in self._awaited:
            return ModelNotReady(model)
        return ModelUnknown(key, "", sorted({load.key for load in self._loads.values()}))

    def _metadata(self, replica: ReplicaAssignment) -> Mapping[str, str]:
        content = replica.content
        return MappingProxyType(
            {
                "skerry-site": self._site,
                "skerry-node": self._node,
                "skerry-version": content.version,
                "skerry-decision": replica.decision,
                "skerry-replica": content.replica,
            }
        )
