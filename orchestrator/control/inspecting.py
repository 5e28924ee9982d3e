"""What a pushed file is: loaded and timed in processes of their own, since a hostile one may crash its loader."""

import json
import subprocess
import sys
from pathlib import Path

from orchestrator.errors import InvalidRequest
from workers.inference.describe import describe_model
from workers.inference.errors import ModelLoadFailed
from workers.inference.runtime import ModelDescription

MEASURE_LIMIT_S = 120.0


def inspect_model(path: Path, format: str) -> tuple[ModelDescription, dict[str, float]]:
    """Inputs, outputs and the latency of one call here. Raises InvalidRequest for a file that does not load or run.

    `path` is where it lies for now: its sender does not know the place, so that no message names it.
    """
    try:
        description = describe_model(path, format)
    except ModelLoadFailed as err:
        raise _refused(path, format, f"does not load: {err.reason}: {err.remedy}") from err
    command = [sys.executable, "-m", "workers.inference.measure", format, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MEASURE_LIMIT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
        raise _refused(path, format, f"loads but does not run on zeros: {_said(err)}: export it again") from err
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return description, measured


def _said(err: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    if isinstance(err, subprocess.TimeoutExpired):
        return f"no answer within {MEASURE_LIMIT_S:g} s"
    return "".join(str(err.stderr).strip().splitlines()[-1:]) or f"exit code {err.returncode}"


def _refused(path: Path, format: str, why: str) -> InvalidRequest:
    return InvalidRequest("format", format, f"the model {why}".replace(str(path), "the model"))
