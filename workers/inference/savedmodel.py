"""TensorFlow SavedModels: where a GPU or an operator that LiteRT lacks asks for them. Never loaded on an edge node."""

import importlib
import logging
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workers.inference.errors import BadTensor, InferenceFailed, ModelLoadFailed, one_line
from workers.inference.runtime import ModelDescription, TensorSpec
from workers.inference.tensors import Array, datatype_of, numpy_type

logger = logging.getLogger(__name__)


class SavedModel:
    """A folder with saved_model.pb, or a tar of one. The signature `serving_default`, else the only one."""

    def __init__(self, path: Path, packed: bool = False) -> None:
        """Raises ModelLoadFailed."""
        self._name = path.name
        folder = self._unpack(path) if packed else path
        # pbtxt and the rest of what TensorFlow would look for are for people, not for serving.
        if not (folder / "saved_model.pb").is_file():
            raise ModelLoadFailed(str(path), "it holds no saved_model.pb", "export it with tf.saved_model.save")
        try:
            # Inside: importing it takes seconds and hundreds of MiB, which a LiteRT server never pays.
            self._tf: Any = importlib.import_module("tensorflow")
        except ImportError as err:
            remedy = "install skerry[cloud], or convert the model to .tflite"
            raise ModelLoadFailed(str(path), "a SavedModel needs TensorFlow, which is not installed", remedy) from err
        self._model: Any = self._load(path, folder)
        self._signature: Any = self._pick_signature(path)
        self.description = self._describe(path)
        self._warm_up()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        tf = self._tf
        try:
            answer = self._signature(**{name: tf.constant(array) for name, array in inputs.items()})
            return [answer[name].numpy() for name in outputs]
        except (tf.errors.OpError, ValueError, TypeError) as err:
            raise InferenceFailed(self._name, getattr(err, "message", None) or str(err)) from err

    def _load(self, path: Path, folder: Path) -> Any:
        try:
            return self._tf.saved_model.load(str(folder))
        # A broken file ends in whatever part of TensorFlow or protobuf meets it first; all mean the same here.
        except Exception as err:
            # Where a tar was unpacked says nothing to anybody, and is gone by the time that it is read.
            reason = str(err).replace(f"{folder}/", "")
            raise ModelLoadFailed(str(path), reason, "export it again with tf.saved_model.save") from err

    def _unpack(self, path: Path) -> Path:
        """A folder that lives as long as this model: lookup tables read their files late."""
        folder = tempfile.mkdtemp(prefix="skerry-savedmodel-")
        self._cleanup = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as err:
            raise ModelLoadFailed(str(path), str(err), "make it with tar -cf NAME.tar -C FOLDER .") from err
        found = sorted(Path(folder).glob("saved_model.pb")) or sorted(Path(folder).glob("*/saved_model.pb"))
        if len(found) != 1:
            reason = f"it holds {len(found)} saved_model.pb at its top or one folder below"
            raise ModelLoadFailed(str(path), reason, "pack one SavedModel")
        return found[0].parent

    def _pick_signature(self, path: Path) -> Any:
        signatures = dict(self._model.signatures)
        if "serving_default" in signatures:
            return signatures["serving_default"]
        if len(signatures) == 1:
            return next(iter(signatures.values()))
        reason = f"it has no signature serving_default and {len(signatures)} others"
        raise ModelLoadFailed(str(path), reason, "export it with signatures={'serving_default': ...}")

    def _describe(self, path: Path) -> ModelDescription:
        given, answered = self._signature.structured_input_signature[1], self._signature.structured_outputs
        return ModelDescription(
            "tensorflow_savedmodel",
            tuple(_spec(path, name, given[name]) for name in sorted(given)),
            tuple(_spec(path, name, answered[name]) for name in sorted(answered)),
        )

    def _warm_up(self) -> None:
        """On zeros, -1 taken as 1: the first call traces and lays out the graph."""
        zeros = {spec.name: _zeros(spec) for spec in self.description.inputs}
        try:
            self.run(zeros, [spec.name for spec in self.description.outputs])
        except (BadTensor, InferenceFailed) as err:
            logger.warning("Model refuses zeros in its warm-up", extra={"model": self._name, "reason": str(err)})


def _spec(path: Path, name: str, tensor: Any) -> TensorSpec:
    datatype = datatype_of(tensor.dtype.as_numpy_dtype)
    if datatype is None:
        reason = f"tensor {name!r} is {one_line(str(tensor.dtype))}, which has no datatype here"
        raise ModelLoadFailed(str(path), reason, "cast it inside the model")
    if tensor.shape.rank is None:
        return TensorSpec(name, datatype, None)
    return TensorSpec(name, datatype, tuple(-1 if size is None else size for size in tensor.shape))


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if size < 0 else size for size in spec.shape or ())
    if spec.datatype == "BYTES":
        return np.full(shape, b"", object)
    return np.zeros(shape, numpy_type(spec.datatype))
