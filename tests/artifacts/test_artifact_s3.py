"""The library in a bucket: the same contract, on a server that speaks S3."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venvs" / "s3" / "bin" / "python"

pytestmark = pytest.mark.real


def test_the_library_holds_its_contract_on_s3(tmp_path: Path) -> None:
    assert PYTHON.exists(), f"{PYTHON} is missing: run `make .venvs/s3/ready`"
    command = [str(PYTHON), str(ROOT / "tests" / "artifacts" / "s3_script.py"), str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    found = subprocess.run(
        command, cwd=ROOT, env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert found.stdout.endswith("ok\n"), found.stdout + found.stderr
