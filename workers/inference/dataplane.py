"""What every home of the server shares: which models are here, and the answer to one call, bytes in and bytes out."""

import itertools
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.errors import (
    InferenceError,
    ModelLoadFailed,
    ModelNotReady,
    ModelUnknown,
    Unsupported,
    WrongIncarnation,
)
from workers.inference.runtime import ModelDescription, Runtime, TensorSpec, open_model
from workers.inference.wire import parse, read_inputs, stamp_of, wanted_outputs, write_answer

SERVICE = "inference.GRPCInferenceService"
METHODS = tuple(
    f"/{SERVICE}/{method.name}" for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
)
INCARNATION_KEY = "skerry-incarnation"
NAMESPACE_KEY = "skerry-namespace"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_METADATA_KEY = re.compile(r"[0-9a-z_.\-]+")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """`format`: "tflite", "savedmodel" (a folder) or "savedmodel.tar". `metadata`: trailing, with each answer.

    `name` is the service's, or "namespace/name" outside of the namespace "default".
    """

    name: str
    version: str
    path: Path
    format: str
    incarnation: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`load_generation` rises with every load in this process. `ready` is False while the model drains."""

    name: str
    version: str
    incarnation: str
    format: str
    load_generation: int
    ready: bool
    description: ModelDescription


@dataclass(frozen=True, slots=True)
class Reply:
    """`metadata` is sent trailing."""

    payload: bytes
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Loaded:
    source: ModelSource
    runtime: Runtime
    generation: int
    stamp: bytes  # who answers, ready to be appended to each answer


class DataPlane:
    """Thread-safe. Calls under way finish on the model they began with, whatever is loaded or unloaded meanwhile."""

    def __init__(self, open: Callable[[Path, str], Runtime] = open_model) -> None:
        self._open = open
        self._loads = threading.Lock()  # one at a time: two would take twice the memory and neither be sooner
        self._changes = threading.Lock()
        # Replaced, never changed: calls read them without a lock.
        self._models: Mapping[str, _Loaded] = {}
        self._draining: frozenset[str] = frozenset()
        self._generations = itertools.count(1)
        self._answers: Mapping[str, Callable[[bytes, Mapping[str, str]], Reply]] = {
            f"/{SERVICE}/ModelInfer": self._infer,
            f"/{SERVICE}/ModelReady": self._model_ready,
            f"/{SERVICE}/ModelMetadata": self._model_metadata,
            f"/{SERVICE}/ServerLive": self._server_live,
            f"/{SERVICE}/ServerReady": self._server_ready,
            f"/{SERVICE}/ServerMetadata": self._server_metadata,
        }

    def load(self, source: ModelSource) -> None:
        """Load and warm up beside any running model of that name, then swap.

        Raises ModelLoadFailed; then the old one stays.
        """
        _check_metadata(source)
        with self._loads:
            runtime = self._open(source.path, source.format)
            loaded = _Loaded(source, runtime, next(self._generations), stamp_of(source.metadata))
            with self._changes:
                self._models = {**self._models, source.name: loaded}
                self._draining -= {source.name}

    def unload(self, name: str) -> None:
        """From now on NOT_FOUND. Unknown names are no error: the wanted state is reached."""
        with self._changes:
            self._models = {known: model for known, model in self._models.items() if known != name}
            self._draining -= {name}

    def drain(self, name: str) -> None:
        """From now on UNAVAILABLE, until it is loaded again or unloaded. Also for a name that is still to be loaded."""
        with self._changes:
            self._draining |= {name}

    def ready(self, name: str, version: str = "") -> bool:
        loaded = self._models.get(name)
        return loaded is not None and name not in self._draining and version in ("", loaded.source.version)

    def models(self) -> list[LoadedModel]:
        """By name."""
        return [
            LoadedModel(
                name=name,
                version=loaded.source.version,
                incarnation=loaded.source.incarnation,
                format=loaded.source.format,
                load_generation=loaded.generation,
                ready=self.ready(name),
                description=loaded.runtime.description,
            )
            for name, loaded in sorted(self._models.items())
        ]

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """The answer to one unary call. `method` is the full gRPC name. Raises InferenceError."""
        answer = self._answers.get(method)
        if answer is None:
            raise Unsupported(f"method {method[:120]!r} is not served; this server has {', '.join(METHODS)}")
        return answer(payload, metadata)

    def _infer(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        request = parse(pb.ModelInferRequest, payload)
        loaded = self._find(request.model_name, request.model_version, metadata)
        description = loaded.runtime.description
        wanted = wanted_outputs(request, description)
        inputs = read_inputs(request, description)
        arrays = loaded.runtime.run(inputs, [spec.name for spec in wanted])
        return Reply(write_answer(request, loaded.source.version, wanted, arrays, loaded.stamp), loaded.source.metadata)

    def _model_ready(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Unknown and draining are answers, as Triton gives them; another incarnation is an error."""
        request = parse(pb.ModelReadyRequest, payload)
        try:
            found = self._find(request.name, request.version, metadata).source.metadata
        except (ModelUnknown, ModelNotReady):
            return Reply(pb.ModelReadyResponse(ready=False).SerializeToString(), {})
        return Reply(pb.ModelReadyResponse(ready=True).SerializeToString(), found)

    def _model_metadata(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        request = parse(pb.ModelMetadataRequest, payload)
        loaded = self._find(request.name, request.version, metadata)
        description = loaded.runtime.description
        answer = pb.ModelMetadataResponse(
            name=request.name,
            versions=[loaded.source.version],
            platform=description.platform,
            inputs=map(_tensor_metadata, description.inputs),
            outputs=map(_tensor_metadata, description.outputs),
            properties={"format": loaded.source.format, "max_message_bytes": str(MAX_MESSAGE_BYTES)},
        )
        return Reply(answer.SerializeToString(), loaded.source.metadata)

    def _server_live(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        return Reply(pb.ServerLiveResponse(live=True).SerializeToString(), {})

    def _server_ready(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Ready unless all that it has drains: one model on the move does not take the others out of service."""
        ready = not self._draining or any(map(self.ready, self._models))
        return Reply(pb.ServerReadyResponse(ready=ready).SerializeToString(), {})

    def _server_metadata(self, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        answer = pb.ServerMetadataResponse(name="skerry", version=_own_version())
        return Reply(answer.SerializeToString(), {})

    def _find(self, name: str, version: str, metadata: Mapping[str, str]) -> _Loaded:
        namespace = metadata.get(NAMESPACE_KEY, "default")
        key = name if namespace in ("", "default") else f"{namespace}/{name}"
        # A slash in the caller's name would reach into another namespace.
        loaded = self._models.get(key) if "/" not in name else None
        if key in self._draining:
            raise ModelNotReady(name)
        if loaded is None:
            raise ModelUnknown(key, version, sorted(self._models))
        asked = metadata.get(INCARNATION_KEY, "")
        if asked and asked != loaded.source.incarnation:
            raise WrongIncarnation(name, asked, loaded.source.incarnation)
        if version not in ("", loaded.source.version):
            raise ModelUnknown(key, version, [loaded.source.version])
        return loaded


def _tensor_metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=(-1,) if spec.shape is None else spec.shape
    )


def _check_metadata(source: ModelSource) -> None:
    """gRPC refuses bad metadata only when the answer is sent, which would fail every call."""
    for key, value in source.metadata.items():
        if not _METADATA_KEY.fullmatch(key) or key.startswith("grpc-") or not _METADATA_VALUE.fullmatch(value):
            reason = f"metadata {key!r}: {value!r} cannot be sent"
            raise ModelLoadFailed(source.name, reason, "use a lower-case key and a printable ASCII value")


def _own_version() -> str:
    try:
        return version("skerry")
    except PackageNotFoundError:
        return "unknown"


__all__ = ["METHODS", "SERVICE", "DataPlane", "InferenceError", "LoadedModel", "ModelSource", "Reply"]
