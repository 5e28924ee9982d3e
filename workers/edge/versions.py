"""Versions of the agent side by side under one folder, and which of them runs.

    ROOT/versions/0.1.1/     a virtual environment; `.whole` in it: it was installed to the end
    ROOT/current             a link to one of them, replaced atomically
    ROOT/trial               while an upgrade is judged: the link's former target
    ROOT/lock                held by whoever upgrades; a trial without it is nobody's, and is undone

packaging/systemd/skerry-edge-guard, which runs before each start of the agent, knows this layout too.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workers.edge.errors import UpgradeFailed


class Versions:
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises UpgradeFailed: another upgrade runs, or the folder cannot be written."""
        try:
            (self._root / "versions").mkdir(parents=True, exist_ok=True)
            handle = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise UpgradeFailed(f"--root {self._root}: {err.strerror}: run it as who may write there") from err
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as err:
            raise UpgradeFailed(f"--root {self._root}: another upgrade is under way: wait for its end") from err
        finally:
            os.close(handle)

    def path(self, version: str) -> Path:
        return self._root / "versions" / version

    def current(self) -> str | None:
        """None: there is no link, or it leads elsewhere."""
        link = self._root / "current"
        if not link.is_symlink() or link.resolve().parent != self._root / "versions":
            return None
        return link.resolve().name

    def install(self, version: str, source: Sequence[str]) -> None:
        """`source`: what else pip is told, such as where wheels lie. Raises UpgradeFailed; what came is removed."""
        path = self.path(version)
        if (path / ".whole").exists():
            return
        shutil.rmtree(path, ignore_errors=True)
        try:
            _run("make its environment", sys.executable, "-m", "venv", str(path))
            pip = (str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            _run("install it", *pip, *source, f"skerry[edge]=={version}")
            # What cannot even be imported is not worth an interruption.
            _run(
                "start it",
                str(path / "bin" / "python"),
                "-P",
                "-c",
                "import workers.edge.command, workers.edge.process",
            )
        except UpgradeFailed:
            shutil.rmtree(path, ignore_errors=True)
            raise
        (path / ".whole").touch()

    def begin_trial(self, version: str) -> None:
        former = self.current()
        if former is not None:
            _replace(self._root / "trial", f"versions/{former}\n")
        self._point_at(version)

    def confirm(self) -> None:
        (self._root / "trial").unlink(missing_ok=True)

    def roll_back(self) -> str | None:
        """Answers the version that is current again; None: there was none before."""
        trial = self._root / "trial"
        if not trial.exists():
            return None
        former = Path(trial.read_text().strip()).name
        self._point_at(former)
        trial.unlink()
        return former

    def prune(self, keep: Sequence[str]) -> None:
        """Delete all other versions."""
        for path in (self._root / "versions").iterdir():
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def _point_at(self, version: str) -> None:
        passing = self._root / ".current.new"
        passing.unlink(missing_ok=True)
        passing.symlink_to(Path("versions") / version)
        passing.replace(self._root / "current")


def _replace(path: Path, text: str) -> None:
    passing = path.with_name(f".{path.name}.new")
    with passing.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    passing.replace(path)


def _run(what: str, *command: str) -> None:
    """Raises UpgradeFailed with the last words of a command that fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next((line for line in reversed((done.stderr or done.stdout).splitlines()) if line.strip()), "no word")
        raise UpgradeFailed(f"cannot {what}: {last.strip()[:300]}; what runs was not touched")
