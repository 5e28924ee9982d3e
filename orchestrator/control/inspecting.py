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
    """Inputs, outputs and the latency of one call here. Raises InvalidRequest for a file that does not load or run."""
    try:
        description = describe_model(path, format)
    except ModelLoadFailed as err:
        raise InvalidRequest("model", format, f"the file does not load: {err}") from err
    command = [sys.executable, "-m", "workers.inference.measure", format, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MEASURE_LIMIT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
        said = str(getattr(err, "stderr", "") or err).strip().splitlines()[-1:]
        raise InvalidRequest("model", format, f"it loads but does not run on zeros: {''.join(said)}") from err
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return description, measured
