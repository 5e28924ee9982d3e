"""The checked-in gRPC stubs are what `make proto` makes of the protos."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(into: Path) -> None:
    protos = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "protos").rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", f"--python_out={into}", f"--pyi_out={into}"]
    command += [f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}", *protos]
    tools = str(Path(sys.executable).parent)
    subprocess.run(command, cwd=ROOT, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=True)


def test_stubs_are_not_stale(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.name.endswith(SUFFIXES)}
    assert len(fresh) == 12
    stale = [str(path) for path, text in fresh.items() if (ROOT / path).read_text() != text]
    assert not stale, f"{stale}: run `make proto` and commit what it changes"
