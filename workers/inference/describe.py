"""What a model file takes and gives, found out in a process of its own: a file that crashes its loader ends only that.

As a program: `python -m workers.inference.describe FORMAT PATH` prints the description as JSON.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from workers.inference.errors import ModelLoadFailed, one_line
from workers.inference.runtime import ModelDescription, TensorSpec, open_model

DESCRIBE_TIMEOUT_S = 120.0  # TensorFlow's import alone was seen to take 15 s on a cold disk


class _Tensor(TypedDict):
    name: str
    datatype: str
    shape: list[int] | None


class _Report(TypedDict, total=False):
    reason: str
    remedy: str
    platform: str
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    row_by_row: bool


def describe_model(path: Path, format: str, timeout_s: float = DESCRIBE_TIMEOUT_S) -> ModelDescription:
    """Loads and warms it up once, elsewhere. Raises ModelLoadFailed, also for a loader that crashes or hangs."""
    command = [sys.executable, "-m", "workers.inference.describe", format, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as err:
        raise ModelLoadFailed(str(path), f"loading took over {timeout_s:g} s", "try a smaller model") from err
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        last = one_line("\n".join(reversed(done.stderr.splitlines())))
        raise ModelLoadFailed(str(path), f"it crashes its loader ({how}): {last}", "export or convert it again")
    report: _Report = json.loads(done.stdout.splitlines()[-1])
    if "reason" in report:
        raise ModelLoadFailed(str(path), report["reason"], report["remedy"])
    return ModelDescription(
        report["platform"], _specs(report["inputs"]), _specs(report["outputs"]), report["row_by_row"]
    )


def _specs(tensors: list[_Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(tensor["name"], tensor["datatype"], None if tensor["shape"] is None else tuple(tensor["shape"]))
        for tensor in tensors
    )


def _tensor(spec: TensorSpec) -> _Tensor:
    return {"name": spec.name, "datatype": spec.datatype, "shape": None if spec.shape is None else list(spec.shape)}


def _report(path: Path, format: str) -> _Report:
    try:
        description = open_model(path, format).description
    except ModelLoadFailed as err:
        return {"reason": err.reason, "remedy": err.remedy}
    return {
        "platform": description.platform,
        "inputs": [_tensor(spec) for spec in description.inputs],
        "outputs": [_tensor(spec) for spec in description.outputs],
        "row_by_row": description.row_by_row,
    }


if __name__ == "__main__":
    print(json.dumps(_report(Path(sys.argv[2]), sys.argv[1])))
