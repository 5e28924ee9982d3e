"""The import rule is held: a forbidden import in a copy of the tree is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = [
    ("workers/probe/legs.py", "import orchestrator.errors", "workers never see orchestrator"),
    ("orchestrator/placement/rules.py", "import time", "pure rooms"),
    ("orchestrator/reconcile/replicas.py", "import grpc", "pure rooms"),
    ("orchestrator/store/sql.py", "import orchestrator.cloud.serve", "adapters do not see each other"),
    ("orchestrator/model/claims.py", "import orchestrator.placement", "adapters do not see each other"),
    ("orchestrator/api/wire.py", "import workers.probe.legs", "may see workers"),
    ("workers/edge/host.py", "import ray", "an edge node loads nothing heavy"),
]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(
        command,
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_forbidden_import_is_refused(tmp_path: Path) -> None:
    for name in ("orchestrator", "workers", "protos"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    clean = lint_imports(tmp_path)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    for place, line, contract in FORBIDDEN:
        path = tmp_path / place
        text = path.read_text()
        path.write_text(f"{line}\n{text}")
        refused = lint_imports(tmp_path)
        path.write_text(text)
        broken = [row for row in refused.stdout.splitlines() if row.endswith("BROKEN")]
        assert refused.returncode == 1, f"{line} in {place} was accepted"
        assert any(contract in row for row in broken), refused.stdout
