"""Make the small models that the tests of this room serve: `python tests/inference/make_models.py [FOLDER]`.

The .tflite files are checked in; the SavedModel is made where a test asks for it. Needs TensorFlow.
"""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

WEIGHTS = np.array([[1, -1, 0.5], [0.25, 2, -2], [-0.5, 0.125, 1], [3, -0.75, 0.0625]], np.float32)


class Dense(tf.Module):
    """`x` FP32 [-1, 4] -> `score` FP32 [-1, 3] and `best` INT64 [-1]."""

    def __init__(self, batch: int | None, version: float = 1.0) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS * version)
        self.serve = tf.function(self._serve, input_signature=[tf.TensorSpec([batch, 4], tf.float32, name="x")])

    def _serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        score = tf.matmul(x, self.weights)
        return {"score": score, "best": tf.argmax(score, axis=1)}


class Score(tf.Module):
    """`x` FP32 [-1, 4] -> `score` FP32 [-1, 3]; its int8 form takes and gives INT8."""

    def __init__(self) -> None:
        super().__init__()
        self.serve = tf.function(self._serve, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])

    def _serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.matmul(x, tf.constant(WEIGHTS))}


class Two(tf.Module):
    """`left`, `right` FP32 [-1, 2] -> `sum`, `product`."""

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, "left"), tf.TensorSpec([None, 2], tf.float32, "right")]
    )
    def serve(self, left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": left + right, "product": left * right}


class Lookup(tf.Module):
    """`index` INT32 [-1] -> `value` FP32 [-1]; an index of 3 or more fails while it runs."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "index")])
    def serve(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"value": tf.gather(tf.constant([10.0, 20.0, 30.0]), index)}


class Text(tf.Module):
    """`text` BYTES [-1] -> `again` BYTES [1, -1]."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def serve(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"again": tf.reshape(text, [1, -1])}


def lite(module: tf.Module, int8: bool = False) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    if int8:
        rows = np.random.default_rng(7).uniform(-1, 1, (64, 1, 4)).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def saved(folder: Path, module: tf.Module | None = None) -> Path:
    module = module or Dense(None)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "dense": lite(Dense(None)),
        "dense_v2": lite(Dense(None, version=2.0)),
        "dense_fixed": lite(Dense(1)),
        "dense_int8": lite(Score(), int8=True),
        "two": lite(Two()),
        "lookup": lite(Lookup()),
        "text": lite(Text()),
    }.items():
        (folder / f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--saved"]:
        saved(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "models")
