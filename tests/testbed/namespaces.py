"""Network namespaces and mounts, each named for the process that owns it."""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.tools import ROOT, may_make_networks, program

PREFIX = "skerry-tb"
COMMAND_LIMIT_S = 20.0
END_WAIT_S = 5.0
_NUMBERS = itertools.count(1)


def owner_name(pid: int | None = None) -> str | None:
    """Of a process that lives: its id and when it started, since ids are used again. None: there is none."""
    pid = os.getpid() if pid is None else pid
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else f"{PREFIX}.{pid}.{fields[19]}"


def new_name() -> str:
    """Of one network of this process."""
    return f"{owner_name()}.{next(_NUMBERS)}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """One machine, as far as its network goes."""

    name: str

    def command(self, *command: str) -> list[str]:
        """`ip` becomes the command, so that the id of the process is the command's."""
        return [program("ip"), "netns", "exec", self.name, *command]

    def run(self, *command: str, text: str = "", limit_s: float = COMMAND_LIMIT_S) -> str:
        """What the command prints. Fails the test when it fails."""
        return run(*self.command(*command), text=text, limit_s=limit_s)

    def ip(self, *arguments: str) -> None:
        run(program("ip"), "-n", self.name, *arguments)

    def nft(self, rules: str) -> None:
        """Rules in nft's own words; all or none."""
        self.run(program("nft"), "-f", "-", text=rules)

    def setting(self, key: str, value: int) -> None:
        """Of the kernel, for this namespace."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{key}")

    def processes(self) -> list[int]:
        return [int(pid) for pid in run(program("ip"), "netns", "pids", self.name).split()]


@dataclass(slots=True)
class Namespaces:
    """All of one network's; `close` ends what runs in them."""

    prefix: str = field(default_factory=new_name)
    made: list[Namespace] = field(default_factory=list)

    def __post_init__(self) -> None:
        may_make_networks()
        remove_left_behind()

    def make(self, role: str) -> Namespace:
        one = Namespace(f"{self.prefix}.{role}")
        run(program("ip"), "netns", "add", one.name)
        self.made.append(one)
        one.ip("link", "set", "lo", "up")
        return one

    def close(self) -> None:
        while self.made:
            remove(self.made[-1])
            self.made.pop()


def wire(one: Namespace, its_device: str, other: Namespace, others_device: str) -> None:
    """A cable between two machines; no device ever stands outside."""
    run(
        *(program("ip"), "link", "add", its_device, "netns", one.name),
        *("type", "veth", "peer", "name", others_device, "netns", other.name),
    )
    one.ip("link", "set", its_device, "up")
    other.ip("link", "set", others_device, "up")


def run(*command: str, text: str = "", limit_s: float = COMMAND_LIMIT_S) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, timeout=limit_s, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}\n{text}"
    return done.stdout


def remove(namespace: Namespace) -> None:
    """With what runs in it. Harmless when it is gone."""
    if not (Path("/run/netns") / namespace.name).exists():
        return
    with contextlib.suppress(AssertionError):  # somebody else removed it just now
        end(namespace.processes())
        run(program("ip"), "netns", "del", namespace.name)


def end(pids: Sequence[int]) -> None:
    """SIGKILL, and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end_s = time.monotonic() + END_WAIT_S
    while any(owner_name(pid) for pid in pids) and time.monotonic() < end_s:
        time.sleep(0.01)


def remove_left_behind() -> list[str]:
    """Namespaces and mounts whose owner is gone; answers their names."""
    folder, mounts = Path("/run/netns"), Path("/proc/self/mounts").read_text().splitlines()
    namespaces = [path.name for path in folder.iterdir()] if folder.exists() else []
    left = [name for name in namespaces if _left_behind(name)]
    for name in left:
        remove(Namespace(name))
    for source, target in (line.split()[:2] for line in mounts):
        if _left_behind(source):
            subprocess.run([program("umount"), "-l", target], capture_output=True, check=False)
            left.append(source)
    return left


def _left_behind(name: str) -> bool:
    if not name.startswith(f"{PREFIX}."):
        return False
    pid = name.removeprefix(f"{PREFIX}.").split(".")[0]
    owner = owner_name(int(pid)) if pid.isdigit() else None
    return owner is None or not name.startswith(f"{owner}.")


@contextlib.contextmanager
def small_disk(target: Path, size_kib: int) -> Iterator[Path]:
    """A file system of its own at `target`, so small that it fills up."""
    target.mkdir(parents=True, exist_ok=True)
    run(program("mount"), "-t", "tmpfs", "-o", f"size={size_kib}k,mode=700", new_name(), str(target))
    try:
        yield target
    finally:
        run(program("umount"), "-l", str(target))
