"""Runs in a process of its own, for TensorFlow's sake: `savedmodel_script.py FOLDER`.

Makes SavedModels, serves them as "folder" and "packed", and answers each line of JSON [model, request in hex] on its
input with a line {"answer": hex} or {"error": class, "said": text}. The first line it prints is a greeting.
"""

import json
import sys
import tarfile
from pathlib import Path

import tensorflow as tf
from make_models import Dense, Lookup, Text, Two, saved
from oip_requests import INFER

from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.errors import InferenceError


class Wide(tf.Module):
    """`x` BF16 [-1, 2] -> `y` BF16."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.bfloat16, "x")])
    def serve(self, x):
        return {"y": x * 2}


def planes(folder):
    plane = DataPlane()
    models = {"dense": Dense(None), "two": Two(), "lookup": Lookup(), "text": Text(), "wide": Wide()}
    for name, module in models.items():
        plane.load(ModelSource(name, "1", saved(folder / name, module), "savedmodel"))
    with tarfile.open(folder / "dense.tar", "w") as archive:
        archive.add(folder / "dense", arcname="dense")
    plane.load(ModelSource("packed", "1", folder / "dense.tar", "savedmodel.tar"))
    return plane


def main(folder):
    plane = planes(folder)
    print(json.dumps({model.name: str(model.description) for model in plane.models()}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"answer": plane.handle(INFER, bytes.fromhex(json.loads(line)), {}).payload.hex()}
        except InferenceError as err:
            answer = {"error": type(err).__name__, "said": str(err)}
        print(json.dumps(answer), flush=True)


main(Path(sys.argv[1]))
