"""The agent upgraded, and back: real wheels, environments and agents, and a supervisor that starts them again."""

import asyncio
import fcntl
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from conftest import DENSE, replica
from fake_front import WAIT_S, FakeFront

from workers.edge.command import main
from workers.edge.errors import UpgradeFailed
from workers.edge.state import read_json
from workers.edge.versions import Versions

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "packaging" / "systemd" / "skerry-edge-guard"
UV = Path(sys.executable).parent / "uv"
# What is wrong with a version: the file, a line of it, and what stands in its place.
BROKEN = {
    "0.1.2": ("workers/edge/process.py", "    state = StateFolder(settings.state_dir)\n", "    raise SystemExit(7)\n"),
    "0.1.3": ("workers/inference/runtime.py", "    if format not in FORMATS:\n", "    if True:\n"),
}


def build(folder: Path, wheels: Path, version: str) -> None:
    """A wheel of this tree under another version, with what is broken in it."""
    tree = folder / version
    for name in ("workers", "protos"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', (ROOT / "pyproject.toml").read_text(), count=1)
    (tree / "pyproject.toml").write_text(text.replace('packages = ["orchestrator", "workers"', 'packages = ["workers"'))
    if version in BROKEN:
        name, line, instead = BROKEN[version]
        source = (tree / name).read_text()
        assert source.count(line) == 1
        (tree / name).write_text(source.replace(line, instead))
    options = ("-q", "--wheel", "--no-build-isolation", "--python", sys.executable)
    subprocess.run([str(UV), "build", *options, "-o", str(wheels), str(tree)], check=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("0.1.0", "0.1.1", *BROKEN):
        build(folder, folder, version)
    return folder


@pytest.fixture
def dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """There is no index here: the packages that Skerry needs lie beside the new environments, but not Skerry itself."""
    folder = tmp_path / "dependencies"
    folder.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "skerry" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


class Machine:
    """A folder of versions, and a supervisor as systemd is one: guard, agent, and again."""

    def __init__(self, folder: Path, front: FakeFront) -> None:
        self.root, self.state, self.stop = folder / "skerry", folder / "state", folder / "stop"
        self.root.mkdir()
        self.log = (folder / "agent.log").open("ab")
        agent = f"{self.root}/current/bin/skerry-edge"
        options = f"--site s1 --node n1 --front {front.address} --lan none --state-dir {self.state}"
        again = f"{GUARD} {self.root}; [ -x {agent} ] && {agent} run {options}; sleep 0.2"
        loop = f"while [ ! -e {self.stop} ]; do {again}; done"
        self.supervisor = subprocess.Popen(["sh", "-c", loop], stdout=self.log, stderr=self.log, cwd=folder)

    def restart(self) -> str:
        return f"sh -c 'kill -KILL $(cat {self.state}/lock)'"

    async def upgrade(self, version: str, wheels: Path, within_s: float = 20.0) -> int:
        options = ["--root", str(self.root), "--state-dir", str(self.state), "--from", str(wheels)]
        options += ["--restart", self.restart(), "--within-s", str(within_s)]
        return await asyncio.to_thread(main, ["upgrade", version, *options])

    def current(self) -> str | None:
        return Versions(self.root).current()

    def running(self) -> str:
        """The version that wrote the status."""
        return Path(str(read_json(self.state / "status.json").get("prefix"))).name

    def end(self) -> None:
        self.stop.touch()
        lock = self.state / "lock"
        if lock.exists():
            subprocess.run(["kill", "-KILL", lock.read_text().strip()], check=False, capture_output=True)
        self.supervisor.wait(WAIT_S)
        self.log.close()


@pytest.fixture
async def machine(front: FakeFront, dependencies: Path, tmp_path: Path, wheels: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path, front)
    front.assign(1, replica("r1", front.add(DENSE)))
    yield machine
    machine.end()
    print((tmp_path / "agent.log").read_text()[-4000:])


async def test_an_upgrade_serves_and_one_that_does_not_is_undone(
    machine: Machine, front: FakeFront, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await machine.upgrade("0.1.0", wheels) == 0, capsys.readouterr().err
    await front.until_phase("r1", "READY")
    assert await machine.upgrade("0.1.1", wheels) == 0, capsys.readouterr().err
    assert "0.1.1 serves in place of 0.1.0" in capsys.readouterr().out
    assert (machine.current(), machine.running()) == ("0.1.1", "0.1.1")
    await until(lambda: front.hellos[-1].software.version == "0.1.1", "the new version's hello")

    # It starts, and does not load the model.
    assert await machine.upgrade("0.1.3", wheels, within_s=12.0) == 1
    said = capsys.readouterr().err
    assert "0.1.3 did not serve as the former version within 12 s: replica r1 is failed" in said
    assert "0.1.1 runs again" in said
    assert (machine.current(), machine.running()) == ("0.1.1", "0.1.1")
    await front.until_phase("r1", "READY")

    # It is not to be had: what runs is not touched.
    process = read_json(machine.state / "status.json")["process"]
    assert await machine.upgrade("9.9.9", wheels) == 1
    assert "what runs was not touched" in capsys.readouterr().err
    assert not Versions(machine.root).path("9.9.9").exists()
    assert await machine.upgrade("0.1.1", wheels) == 0
    assert "is the current version already" in capsys.readouterr().out
    assert read_json(machine.state / "status.json")["process"] == process
    assert {path.name for path in (machine.root / "versions").iterdir()} >= {"0.1.0", "0.1.1"}


async def test_an_upgrade_that_was_killed_is_undone_at_the_next_start(
    machine: Machine, front: FakeFront, wheels: Path
) -> None:
    assert await machine.upgrade("0.1.0", wheels) == 0
    versions = Versions(machine.root)
    with versions.held():
        versions.install("0.1.2", ("--no-index", "--find-links", str(wheels)))
        versions.begin_trial("0.1.2")
        await asyncio.to_thread(subprocess.run, shlex.split(machine.restart()), check=True)
        await until(lambda: not read_lock(machine.state), "the end of the old agent")
        assert machine.current() == "0.1.2", "as long as somebody judges, the guard leaves it alone"
    await until(
        lambda: machine.current() == "0.1.0" and bool(read_lock(machine.state)), "a start of the former version"
    )
    assert not (machine.root / "trial").exists()


def test_two_upgrades_at_once_are_refused(tmp_path: Path) -> None:
    with (
        Versions(tmp_path).held(),
        pytest.raises(UpgradeFailed, match="another upgrade is under way"),
        Versions(tmp_path).held(),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UpgradeFailed, match="run it as who may write there"), Versions(tmp_path / "file").held():
        pass


def test_a_guard_without_a_trial_or_without_a_former_version_changes_nothing(tmp_path: Path) -> None:
    def guard() -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(GUARD), str(tmp_path)], capture_output=True, text=True, check=False)

    assert (guard().returncode, list(tmp_path.iterdir())) == (0, [])
    (tmp_path / "trial").write_text("versions/0.0.9\n")
    done = guard()
    assert (done.returncode, (tmp_path / "current").exists(), (tmp_path / "trial").exists()) == (0, False, False)
    assert "is gone: the new one stays" in done.stderr


def read_lock(state: Path) -> bool:
    """Whether an agent holds the state folder."""
    with (state / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def until(fulfilled: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not fulfilled():
        assert time.monotonic() < end_s, f"{what} did not happen within {WAIT_S} s"
        await asyncio.sleep(0.02)
