"""LiteRT: one file held once in memory, a few interpreters over it.

An interpreter serves one call at a time, and each packs its own copy of the weights. A large model therefore has as
many as there are cores, since more arithmetic could not run at once; a small one has one for each caller that may come,
since a caller that waits costs more than the copy. They are made when first needed.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from workers.inference.errors import BadTensor, InferenceFailed, ModelLoadFailed, one_line
from workers.inference.runtime import ModelDescription, TensorSpec
from workers.inference.tensors import Array, datatype_of

logger = logging.getLogger(__name__)

Shapes = tuple[tuple[int, ...], ...]
Detail = Mapping[str, Any]  # as LiteRT describes a tensor: name, index, shape, shape_signature, dtype
SMALL_BYTES = 1024 * 1024
FOR_SMALL = 8  # the server's threads
REMEDY = "convert it again with LiteRT's built-in operators only"


class _Interpreter(Protocol):
    """The part of LiteRT's class that is used here; the library is not typed."""

    def allocate_tensors(self) -> None: ...
    def resize_tensor_input(self, index: int, shape: Sequence[int], strict: bool) -> None: ...
    def set_tensor(self, index: int, value: Array) -> None: ...
    def invoke(self) -> None: ...
    def get_tensor(self, index: int) -> Array: ...
    def get_input_details(self) -> list[Detail]: ...
    def get_output_details(self) -> list[Detail]: ...
    def get_signature_list(self) -> Mapping[str, object]: ...
    def get_signature_runner(self, key: str) -> Any: ...


class LiteRtModel:
    """A .tflite file.

    One that is fixed to a single row takes larger batches row by row: recurrent models convert only so, and a caller
    must not be refused at the edge what the same model's SavedModel answers in the cloud.
    """

    def __init__(self, path: Path, interpreters: int | None = None) -> None:
        """Raises ModelLoadFailed. The file may be removed or replaced afterwards."""
        self._name = path.name
        try:
            self._content = path.read_bytes()
            first = self._make()
        except (OSError, ValueError, RuntimeError) as err:
            raise ModelLoadFailed(str(path), str(err), "check that it is a whole .tflite file") from err
        input_names, output_names = _signature_names(first)
        inputs = _named(first.get_input_details(), input_names)
        outputs = _named(first.get_output_details(), output_names)
        self._inputs = {name: int(detail["index"]) for name, detail in inputs.items()}
        self._outputs = {name: int(detail["index"]) for name, detail in outputs.items()}
        self.description = _describe(path, inputs, outputs)
        limit = interpreters or (FOR_SMALL if len(self._content) <= SMALL_BYTES else available_cores())
        self._workers = [_Worker(self._make, self._inputs) for _ in range(limit)]
        self._workers[0].interpreter = first
        self._warm_up(path, first, inputs)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        wanted = [self._outputs[name] for name in outputs]
        worker = self._take()
        try:
            if self.description.row_by_row:
                return self._run_rows(worker, inputs, wanted)
            return worker.run(self._name, inputs, wanted)
        finally:
            worker.busy.release()

    def _take(self) -> "_Worker":
        """The first that is free, so that few callers need few interpreters; else wait for one of them."""
        for worker in self._workers:
            if worker.busy.acquire(blocking=False):
                return worker
        worker = self._workers[threading.get_ident() % len(self._workers)]
        worker.busy.acquire()
        return worker

    def _run_rows(self, worker: "_Worker", inputs: Mapping[str, Array], wanted: Sequence[int]) -> list[Array]:
        counts = {len(array) for array in inputs.values()}
        if counts == {1}:
            return worker.run(self._name, inputs, wanted)
        if len(counts) > 1:
            raise BadTensor(f"inputs bring different numbers of rows: {sorted(counts)}")
        rows = [
            worker.run(self._name, {name: array[row : row + 1] for name, array in inputs.items()}, wanted)
            for row in range(counts.pop())
        ]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def _make(self) -> _Interpreter:
        return cast(_Interpreter, Interpreter(model_content=self._content, num_threads=1))

    def _warm_up(self, path: Path, interpreter: _Interpreter, inputs: Mapping[str, Detail]) -> None:
        """At the file's own default shape, on zeros. A failure counts where no other shape or value could help."""
        shapes_are_open = any(-1 in _shape(detail)[1:] for detail in inputs.values())
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as err:
            if not shapes_are_open:
                raise ModelLoadFailed(str(path), str(err), REMEDY) from err
            return
        zeros = {name: _zeros(tuple(map(int, detail["shape"])), detail["dtype"]) for name, detail in inputs.items()}
        try:
            self.run(zeros, list(self._outputs))
        except (BadTensor, InferenceFailed) as err:
            logger.warning("Model refuses zeros in its warm-up", extra={"model": str(path), "reason": str(err)})


class _Worker:
    """An interpreter and the shapes it is laid out for. Whoever uses it holds `busy`."""

    def __init__(self, make: Callable[[], _Interpreter], inputs: Mapping[str, int]) -> None:
        self.busy = threading.Lock()
        self.interpreter: _Interpreter | None = None
        self._make = make
        self._inputs = inputs
        self._shapes: Shapes | None = None

    def run(self, model: str, inputs: Mapping[str, Array], wanted: Sequence[int]) -> list[Array]:
        interpreter = self.interpreter = self.interpreter or self._make()
        shapes = tuple([inputs[name].shape for name in self._inputs])
        if shapes != self._shapes:
            self._fit(interpreter, shapes)
        try:
            for name, index in self._inputs.items():
                interpreter.set_tensor(index, inputs[name])
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in wanted]
        except (RuntimeError, ValueError) as err:
            self._shapes = None  # whatever state it is in, the next call lays it out anew
            raise InferenceFailed(model, str(err)) from err

    def _fit(self, interpreter: _Interpreter, shapes: Shapes) -> None:
        self._shapes = None
        try:
            for index, shape in zip(self._inputs.values(), shapes, strict=True):
                interpreter.resize_tensor_input(index, shape, strict=False)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as err:
            shown = ", ".join(f"{name} {list(shape)}" for name, shape in zip(self._inputs, shapes, strict=True))
            raise BadTensor(f"the model cannot take these shapes together: {shown}: {one_line(str(err))}") from err
        self._shapes = shapes


def available_cores() -> int:
    """What this process may use: an agent or a replica is often bound to a part of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _describe(path: Path, inputs: Mapping[str, Detail], outputs: Mapping[str, Detail]) -> ModelDescription:
    specs = [tuple(_spec(path, name, detail) for name, detail in side.items()) for side in (inputs, outputs)]
    one_row = bool(inputs) and all(spec.shape and spec.shape[0] == 1 for side in specs for spec in side)
    return ModelDescription("litert", specs[0], specs[1], row_by_row=one_row)


def _spec(path: Path, name: str, detail: Detail) -> TensorSpec:
    datatype = datatype_of(detail["dtype"])
    if datatype is None:
        raise ModelLoadFailed(str(path), f"tensor {name!r} is {detail['dtype']}, which has no datatype here", REMEDY)
    return TensorSpec(name, datatype, _shape(detail))


def _shape(detail: Detail) -> tuple[int, ...]:
    """The signature holds -1 for open sizes; files without one have only the default shape."""
    return tuple(map(int, detail["shape_signature"])) or tuple(map(int, detail["shape"]))


def _zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    if datatype_of(dtype) == "BYTES":
        return np.full(shape, b"", object)
    return np.zeros(shape, dtype)


def _signature_names(interpreter: _Interpreter) -> tuple[Mapping[int, str], Mapping[int, str]]:
    """Names of inputs and of outputs by tensor index, if the serving signature covers the graph that `invoke` runs."""
    keys = list(interpreter.get_signature_list())
    if not keys:
        return {}, {}
    runner = interpreter.get_signature_runner("serving_default" if "serving_default" in keys else keys[0])
    inputs, outputs = (
        {int(detail["index"]): str(name) for name, detail in side.items()}
        for side in (runner.get_input_details(), runner.get_output_details())
    )
    covered = set(inputs) == _indices(interpreter.get_input_details()) and set(outputs) == _indices(
        interpreter.get_output_details()
    )
    return (inputs, outputs) if covered else ({}, {})


def _indices(details: Sequence[Detail]) -> set[int]:
    return {int(detail["index"]) for detail in details}


def _named(details: Sequence[Detail], names: Mapping[int, str]) -> dict[str, Detail]:
    """By name: the signature's, in order of names, as TensorFlow gives them; else the tensors' in the file's order.

    Tensors' names come without the exporter's ornaments: "serving_default_x:0" is "x".
    """
    if names:
        return dict(sorted(((names[int(d["index"])], d) for d in details), key=itemgetter(0)))
    found: dict[str, Detail] = {}
    for detail in details:
        plain = str(detail["name"]).removeprefix("serving_default_").removesuffix(":0")
        found[plain if plain not in found else str(detail["name"])] = detail
    return found
