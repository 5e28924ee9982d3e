"""A model of about 100 MB and what fine-tuning makes of it, by TensorFlow, in a process of its own.

Six dense layers of 2,048 by 2,048 and a head, fp32, converted to LiteRT. "head": only the last layer was trained on;
"layer": one of the six, the others frozen; "all": every weight.
"""

import sys
from pathlib import Path

WIDTH, LAYERS, CLASSES = 2048, 6, 10
VERSIONS = ("first", "head", "layer", "all")


def main(folder: Path) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(WIDTH, activation="relu", name=f"dense-{number}") for number in range(LAYERS)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers, keras.layers.Dense(CLASSES, name="head")])
    begin = model.get_weights()
    trained = {"first": (), "head": ("head",), "layer": ("dense-3",), "all": tuple(one.name for one in model.layers)}
    for version in VERSIONS:
        model.set_weights(begin)
        for layer in model.layers:
            layer.trainable = layer.name in trained[version]
        if trained[version]:
            _train(model)
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        (folder / f"{version}.tflite").write_bytes(converter.convert())


def _train(model: "object") -> None:
    """A few steps of plain gradient descent on made-up data: each trained weight moves."""
    import tensorflow as tf

    weights = model.trainable_variables  # type: ignore[attr-defined]
    for seed in range(3):
        inputs = tf.random.stateless_normal((64, WIDTH), seed=(seed, 1))
        labels = tf.random.stateless_uniform((64,), seed=(seed, 2), maxval=CLASSES, dtype=tf.int32)
        with tf.GradientTape() as tape:
            logits = model(inputs)  # type: ignore[operator]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        for weight, gradient in zip(weights, tape.gradient(loss, [w.value for w in weights]), strict=True):
            weight.assign_sub(0.01 * gradient)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
