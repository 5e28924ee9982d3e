"""Evaluate a trained model, convert it and measure each variant: a process of its own.

The converter has ended in a segmentation fault on some models, and that must not take the trainer down. The process is
started while the training still runs, so that its import of TensorFlow is over when it is told to go:

    python -m workers.training.variants --out DIR     # then one line on stdin; end of file instead: leave

It answers one JSON line per finding on stdout: {"evaluation": ...}, then {"variant": ...} each.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.training import checkpoints, digits_cnn, reports
from workers.training.digits import Rows, load_digits
from workers.training.spec import TrainingSpec, parse_spec

CALIBRATION_IMAGES = 256
WARM_UP_CALLS, TIMED_CALLS = 50, 1000


@dataclass(frozen=True, slots=True)
class Evaluation:
    """On the held-out images. `confusion[label][answer]` counts images."""

    accuracy: float
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """One .tflite file and what was measured with it; `path` is relative to the job's folder.

    Latencies: single calls with batch 1 on one thread. `memory_bytes`: the file plus every tensor of a batch of 1 at
    once, which the interpreter's reuse of its arena stays under.
    """

    variant: str
    path: str
    digest: str
    size_bytes: int
    accuracy: float
    p50_ms: float
    p99_ms: float
    memory_bytes: int


def evaluation(labels: Sequence[int] | NDArray[np.int64], answers: NDArray[np.int64]) -> Evaluation:
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (np.asarray(labels), answers), 1)
    rows = tuple(tuple(int(count) for count in row) for row in table)
    return Evaluation(float(np.trace(table) / table.sum()), rows)


def export(model: Any, folder: Path) -> None:
    """A SavedModel whose signature names `image` and `probabilities`: the converter keeps these names.

    By Keras's own export: in a module saved by hand the converter left variables unfrozen (READ_VARIABLE).
    """
    import keras

    image = model.inputs[0]
    answer = {"probabilities": keras.layers.Softmax(name="probabilities")(model(image))}
    signature = [keras.InputSpec(shape=(None, 8, 8, 1), dtype="float32", name="image")]
    keras.Model(image, answer).export(str(folder), input_signature=signature, verbose=False)


def convert(saved_model: Path, variant: str, calibration: NDArray[np.float32]) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if variant != "litert-fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "litert-fp16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "litert-int8":  # weights and activations; callers still send and get floats
        converter.representative_dataset = lambda: ({"image": image[None]} for image in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


class LiteRTModel:
    """A variant as the inference servers run it: one thread, any batch."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._batch = -1

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(images) != self._batch:
            self._interpreter.resize_tensor_input(self._input, images.shape, strict=False)
            self._interpreter.allocate_tensors()
            self._batch = len(images)
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output))

    def tensor_bytes(self) -> int:
        details = self._interpreter.get_tensor_details()
        return int(sum(np.prod(each["shape"]) * np.dtype(each["dtype"]).itemsize for each in details))


def measure(path: Path, variant: str, test: Rows) -> BuiltVariant:
    model, images = LiteRTModel(path), test.images.astype(np.float32)
    found = evaluation(test.labels, model.probabilities(images).argmax(axis=1))
    times_ms = []
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        image = images[call % len(images)][None]
        began_s = time.perf_counter()
        model.probabilities(image)
        times_ms.append((time.perf_counter() - began_s) * 1000)
    p50_ms, p99_ms = np.percentile(times_ms[WARM_UP_CALLS:], (50, 99)).tolist()
    data = path.read_bytes()
    return BuiltVariant(
        variant=variant,
        path=str(path.relative_to(path.parent.parent)),
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        accuracy=found.accuracy,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        memory_bytes=len(data) + model.tensor_bytes(),
    )


def build(spec: TrainingSpec, folder: Path) -> None:
    """Evaluate, and unless the gate refuses the model, convert and measure. Findings go to stdout as they are made."""
    rows, trained = load_digits(), checkpoints.newest(folder / "checkpoints")
    if trained is None:
        raise FileNotFoundError(f"{folder / 'checkpoints'}: no whole checkpoint to convert")
    model = digits_cnn.build_model(spec.seed)
    model.set_weights(trained.weights)
    answers = np.asarray(model(rows.test.images.astype(np.float32), training=False)).argmax(axis=1)
    found = evaluation(rows.test.labels, answers)
    _tell({"evaluation": asdict(found)})
    if found.accuracy < spec.gate.accuracy_min:
        return
    export(model, folder / "savedmodel")
    (folder / "variants").mkdir(exist_ok=True)
    for variant in spec.variants:
        path = folder / "variants" / f"{spec.model}-{variant.removeprefix('litert-')}.tflite"
        calibration = rows.train.images[:CALIBRATION_IMAGES].astype(np.float32)
        reports.write_whole(path, convert(folder / "savedmodel", variant, calibration))
        _tell({"variant": asdict(measure(path, variant, rows.test))})


def _tell(finding: dict[str, object]) -> None:
    print(json.dumps(finding), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Evaluate a job's trained model and build its variants.")
    parser.add_argument("--out", type=Path, required=True, help="the job's folder")
    folder: Path = parser.parse_args(arguments).out
    os.nice(5)  # until it is told to go it only imports; the training is what somebody waits for
    digits_cnn.quiet_tensorflow()
    if not sys.stdin.readline():
        return 0  # the trainer is gone or needs no variants
    build(parse_spec((folder / reports.SPEC).read_text()), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
