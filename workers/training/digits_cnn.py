"""Recipe: a small CNN on the digits, by a custom loop.

Keras 3's `fit` fails under MultiWorkerMirroredStrategy ("Attempt to convert a value (PerReplica ...)"), so the step is
written out: `strategy.run` around a gradient tape and the Keras optimizer, which itself sums gradients over workers.
The same loop runs in one process under TensorFlow's default strategy.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.training import checkpoints
from workers.training.checkpoints import Checkpoint
from workers.training.digits import Rows
from workers.training.reports import Progress
from workers.training.spec import TrainingSpec


class Listener(Protocol):
    """Who hears of the training; only the first worker has one that writes."""

    def progress(self, progress: Progress, force: bool = False) -> None: ...

    def log(self, line: str) -> None: ...


def quiet_tensorflow() -> Any:
    """Import TensorFlow without its banner, on one thread: the order of sums, and so the weights, depend on threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    return tf


def build_model(seed: int) -> Any:
    """12,314 weights, 50 KB as fp32. Input `image` [-1, 8, 8, 1], pixels 0 to 16; the answer is logits [-1, 10]."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((8, 8, 1), name="image"),
        keras.layers.Rescaling(1 / 16),
        keras.layers.Conv2D(24, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
    return keras.Sequential(layers)


def steps_per_epoch(rows: int, spec: TrainingSpec) -> int:
    """Whole batches only, so that every worker has rows in every step; a batch of all rows where there are fewer."""
    return max(1, rows // spec.batch_size)


def batches(
    train: Rows, spec: TrainingSpec, epoch: int, rank: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """One epoch's share of worker `rank`: the order depends on seed and epoch, never on how many workers there are."""
    order = np.random.default_rng((spec.seed, epoch)).permutation(len(train))
    for step in range(steps_per_epoch(len(train), spec)):
        taken = order[step * spec.batch_size : (step + 1) * spec.batch_size][rank :: spec.workers]
        yield train.images[taken].astype(np.float32), train.labels[taken]


class Trainee:
    """Model, optimizer and the compiled step under one strategy."""

    def __init__(self, spec: TrainingSpec, rows: int, strategy: Any) -> None:
        import keras

        steps = spec.epochs * steps_per_epoch(rows, spec)
        with strategy.scope():
            self._model = build_model(spec.seed)
            # Falls to a twentieth over the run: a constant one left test accuracy at 0.95 to 0.98 by seed (2026-11).
            decay = keras.optimizers.schedules.CosineDecay(spec.learning_rate, steps, alpha=0.05)
            self._optimizer = keras.optimizers.Adam(decay)
            self._optimizer.build(self._model.trainable_variables)
        self.step = _compiled_step(self._model, self._optimizer, strategy, min(spec.batch_size, rows))

    def state(self, epochs_done: int) -> Checkpoint:
        return Checkpoint(
            epochs_done,
            weights=tuple(np.asarray(variable.numpy()) for variable in self._model.variables),
            optimizer=tuple(np.asarray(variable.numpy()) for variable in self._optimizer.variables),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        for variables, arrays in (
            (self._model.variables, checkpoint.weights),
            (self._optimizer.variables, checkpoint.optimizer),
        ):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)


def _compiled_step(model: Any, optimizer: Any, strategy: Any, batch_size: int) -> Any:
    import tensorflow as tf

    def on_one_worker(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_sum(losses) / batch_size  # gradients are summed over workers
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == labels, tf.float32)) / batch_size
        return tf.stack([loss, right])  # one collective for both

    def step(images: Any, labels: Any) -> Any:
        """[loss, accuracy] of this batch over all workers."""
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(on_one_worker, (images, labels)), axis=None)

    signature = [tf.TensorSpec([None, 8, 8, 1], tf.float32), tf.TensorSpec([None], tf.int64)]
    return tf.function(step, input_signature=signature, jit_compile=False)


@dataclass(frozen=True, slots=True)
class Member:
    """One worker of a group: its strategy, its rank, and how the group takes over the first worker's word."""

    strategy: Any
    rank: int = 0
    agree: Callable[[int], int] = lambda told: told


def train(spec: TrainingSpec, rows: Rows, folder: Path, member: Member, listener: Listener | None) -> Checkpoint:
    """Train what is left to train; the first worker (the one with a listener) writes the checkpoints.

    All resume from the same epoch, which the first worker chooses: an unequal number of steps would hang the group.
    """
    trainee = Trainee(spec, len(rows), member.strategy)
    found = checkpoints.newest(folder)
    done = member.agree(found.epochs_done if found else 0)
    if done:
        trainee.restore(checkpoints.after(folder, done))
        if listener:
            listener.log(f"resumed after epoch {done} of {spec.epochs}")
    for epoch in range(done, spec.epochs):
        _train_epoch(trainee, spec, rows, epoch, member.rank, listener)
        if listener:
            checkpoints.save(folder, trainee.state(epoch + 1))
    return trainee.state(spec.epochs)


def _train_epoch(
    trainee: Trainee, spec: TrainingSpec, rows: Rows, epoch: int, rank: int, listener: Listener | None
) -> None:
    per_epoch, sums = steps_per_epoch(len(rows), spec), np.zeros(2)
    for index, (images, labels) in enumerate(batches(rows, spec, epoch, rank), start=1):
        sums += np.asarray(trainee.step(images, labels))
        if listener:
            loss, accuracy = (sums / index).tolist()
            listener.progress(
                Progress(
                    phase="running",
                    step=epoch * per_epoch + index,
                    steps=spec.epochs * per_epoch,
                    message=f"epoch {epoch + 1} of {spec.epochs}",
                    metrics={"loss": loss, "accuracy": accuracy},
                ),
                force=index == per_epoch,
            )
    if listener:
        loss, accuracy = (sums / per_epoch).tolist()
        listener.log(f"epoch {epoch + 1}/{spec.epochs} loss {loss:.4f} train accuracy {accuracy:.4f}")
