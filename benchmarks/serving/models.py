"""The benchmark's models: `python -m benchmarks.serving.models FOLDER`. Random weights: only their number counts."""

import os
import sys
from pathlib import Path

SHAPES = {"tiny": (1, 4), "cnn": (1, 28, 28, 1)}


def make(folder: Path) -> None:
    """tiny: 15 weights; cnn: about 100,000, as in the figures of DESIGN.md section 5."""
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    import tensorflow as tf

    keras = tf.keras
    keras.utils.set_random_seed(7)
    layers = {
        "tiny": [keras.layers.Dense(3, activation="softmax")],
        "cnn": [
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPool2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPool2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(116, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        model = keras.Sequential([keras.Input(shape[1:], batch_size=1, name="x"), *layers[name]])
        (folder / f"{name}.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
