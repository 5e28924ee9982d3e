"""How long one call of a model takes on this machine: what the planner reckons with until it has served.

As a program, in a process of its own: `python -m workers.inference.measure FORMAT PATH` prints JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from workers.inference.runtime import ModelDescription, Runtime, TensorSpec, open_model
from workers.inference.tensors import Array

WARM_UP_CALLS, CALLS, LIMIT_S = 5, 200, 5.0
_DTYPES = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "FP16": np.float16, "FP32": np.float32,
    "FP64": np.float64,
}  # fmt: skip


def example(spec: TensorSpec) -> Array:
    """One row of zeros; any free dimension has one element. A text tensor holds one empty text."""
    shape = tuple(1 if size < 0 else size for size in spec.shape or (1,))
    if spec.datatype == "BYTES":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, _DTYPES.get(spec.datatype, np.float32))


def measure(model: Runtime) -> dict[str, float]:
    """Single calls, one after the other, at most `CALLS` and at most `LIMIT_S` seconds."""
    description: ModelDescription = model.description
    inputs = {spec.name: example(spec) for spec in description.inputs}
    outputs = [spec.name for spec in description.outputs]
    for _ in range(WARM_UP_CALLS):
        model.run(inputs, outputs)
    took_ms: list[float] = []
    end_s = time.perf_counter() + LIMIT_S
    while len(took_ms) < CALLS and time.perf_counter() < end_s:
        start_s = time.perf_counter()
        model.run(inputs, outputs)
        took_ms.append((time.perf_counter() - start_s) * 1000)
    return {"p50_ms": float(np.percentile(took_ms, 50)), "p99_ms": float(np.percentile(took_ms, 99))}


if __name__ == "__main__":
    print(json.dumps(measure(open_model(Path(sys.argv[2]), sys.argv[1]))))
