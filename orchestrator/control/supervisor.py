"""`skerry up` and `skerry down`: keeps the process with Ray's head and a front running, with backoff."""

import contextlib
import datetime
import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import grpc

from orchestrator.authority.opening import open_authority
from orchestrator.authority.parts import certify_part
from orchestrator.cloud.ray_node import MARKER, PART, end_processes, instance_of, leftovers, ray_temp_dir
from orchestrator.errors import InvalidRequest, OrchestratorError, Unavailable
from orchestrator.settings import Settings, named_host, settings_from
from orchestrator.store import open_store
from workers.identity.connecting import Connector
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role

log = logging.getLogger(__name__)

CONTROL, FRONT = "control", "front"
FRONT_NAME = "front-0"
CERTIFY_EVERY_S = 600.0
# What runs on this machine and proves itself, and its operator. The control plane has the authority and sees to itself.
ROLES = {CONTROL: Role.CONTROL, FRONT: Role.FRONT}
PARTS = {FRONT_NAME: Role.FRONT, "replica": Role.REPLICA, "operator": Role.OPERATOR}
LOCAL_HEARTBEAT_S = "1"  # a few nodes on this machine: news of them in seconds, and nobody pays for the bytes
BACKOFF_S = (0.5, 10.0)
STEADY_S = 60.0  # a part that ran for so long starts anew without delay
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.1

Report = Callable[[str], None]


def _say(text: str) -> None:
    print(text, flush=True)


@dataclass(slots=True)
class Child:
    """One supervised process and its history."""

    part: str
    command: list[str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    backoff_s: float = BACKOFF_S[0]
    retry_at_s: float = 0.0
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Starts the parts, starts them anew when they end, and ends them."""

    settings: Settings
    report: Report = _say
    children: list[Child] = field(default_factory=list)
    _stopping: bool = False
    _certify_at_s: float = 0.0

    def run(self) -> int:
        """Until a signal. 0: stopped as asked; 1: a part could not be started at all.

        Raises InvalidRequest for a busy port, StoreUnavailable for a database that cannot be used.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._clear_leftovers()
        for field_name in ("control_address", "gateway_address", "link_address", "enrolment_address"):
            free_port(field_name, getattr(self.settings, field_name))
        # Before Ray is started for nothing: a database that cannot be used is told in its own words.
        open_store(self.settings.store).close()
        self._certify()
        self.children = [self._child(CONTROL), self._child(FRONT)]
        try:
            for child in self.children:
                self._start(child)
            ready = self._wait_ready()
            while ready and not self._stopping:
                self._keep()
                self._renew()
                time.sleep(POLL_S)
        finally:
            self._stop()
        return 0 if ready or self._stopping else 1

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _clear_leftovers(self) -> None:
        left = leftovers(instance_of(self.settings.state_dir))
        if left:
            self.report(f"ending {len(left)} processes that an earlier run left behind")
            end_processes(left)

    def _child(self, part: str) -> Child:
        settings = self.settings
        commands = {
            CONTROL: [sys.executable, "-m", "orchestrator.control.host"],
            FRONT: [
                *(sys.executable, "-m", "orchestrator.front", "--name", FRONT_NAME),
                *("--region", settings.region, "--zone", settings.zone),
                *("--control", settings.control_address, "--gateway", settings.gateway_address),
                *("--link", settings.link_address, "--artifacts", settings.artifacts),
                *("--state-dir", str(settings.state_dir / FRONT_NAME), "--heartbeat-s", LOCAL_HEARTBEAT_S),
                *self._secured(),
            ],
        }
        return Child(part, commands[part], settings.logs_dir / f"{part}.log")

    def _renew(self) -> None:
        try:
            self._certify()
        except Unavailable as err:  # the one that the front has is good for days
            self.report(f"cannot renew: {err}")

    def _secured(self) -> list[str]:
        settings = self.settings
        if settings.plain_link:
            return []
        hosts = [word for host in settings.hosts for word in ("--host", host)]
        identity = str(settings.identity_dir(FRONT_NAME))
        return ["--identity-dir", identity, "--enrolment", settings.enrolment_address, *hosts]

    def _certify(self) -> None:
        """Make or renew certificates of what runs here, which takes them up by itself. Raises Unavailable."""
        if self.settings.plain_link or time.monotonic() < self._certify_at_s:
            return
        self._certify_at_s = time.monotonic() + CERTIFY_EVERY_S
        now, settings = datetime.datetime.now(datetime.UTC), self.settings
        addresses = (settings.link_address, settings.gateway_address)
        hosts = sorted({"localhost", "127.0.0.1", *settings.hosts, *(h for one in addresses for h in named_host(one))})
        authority = open_authority(settings.authority, now)
        for part, role in PARTS.items():
            folder = IdentityFolder(settings.identity_dir(part))
            try:
                certify_part(authority, folder, role, part, hosts, now)
            except (IdentityError, OSError) as err:
                raise Unavailable(f"certificate of {part} in {folder.root}: {err}") from err

    def _start(self, child: Child) -> None:
        environ = os.environ | self.settings.environ()
        environ |= {MARKER: instance_of(self.settings.state_dir), PART: child.part}
        with child.log_path.open("ab") as output:
            child.process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
                start_new_session=True,
            )
        child.started_s = time.monotonic()

    def _keep(self) -> None:
        """One look at each part: an ended one is started anew when its backoff has passed."""
        now_s = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process.returncode, now_s)
            if child.process is None and now_s >= child.retry_at_s:
                child.restarts += 1
                self._start(child)

    def _ended(self, child: Child, code: int, now_s: float) -> None:
        if now_s - child.started_s > STEADY_S:
            child.backoff_s = BACKOFF_S[0]
        self.report(
            f"{child.part} ended ({_how(code)}); starting it again in {child.backoff_s:g} s; see {child.log_path}"
        )
        # A killed head leaves workers behind that hold ports.
        end_processes(leftovers(instance_of(self.settings.state_dir), child.part))
        child.process = None
        child.retry_at_s = now_s + child.backoff_s
        child.backoff_s = min(child.backoff_s * 2, BACKOFF_S[1])

    def _wait_ready(self) -> bool:
        """Until control plane and gateway answer. False: a part ended before, or it took too long; said why."""
        waits = {CONTROL: self.settings.control_address, FRONT: self.settings.gateway_address}
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        for child in sorted(self.children, key=lambda c: c.part != FRONT):
            while not self._stopping and not self._answers(waits[child.part], ROLES[child.part]):
                if child.process is None or child.process.poll() is not None or time.monotonic() > deadline_s:
                    self.report(
                        f"error: {child.part} did not come up; the end of {child.log_path}:\n{tail(child.log_path)}"
                    )
                    return False
                time.sleep(POLL_S)
            self.report(f"{child.part} ready at {waits[child.part]}")
        return True

    def _answers(self, address: str, role: Role) -> bool:
        return answers(address, role, self.settings.operator_identity)

    def _stop(self) -> None:
        for child in reversed(self.children):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in self.children:
            if child.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(STOP_TIMEOUT_S / 2)
        instance = instance_of(self.settings.state_dir)
        end_processes(leftovers(instance))
        # Ray's own logs and sockets, some megabytes for each start; ours are in the state folder.
        shutil.rmtree(ray_temp_dir(instance), ignore_errors=True)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def tail(path: Path, lines: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as err:
        return f"(not readable: {err})"


def free_port(field_name: str, address: str) -> None:
    """Raises InvalidRequest when somebody listens there already."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as err:
            flag = field_name.removesuffix("_address")
            raise InvalidRequest(
                field_name,
                address,
                f"{err.strerror}: end the program that listens there, or give another with --{flag}",
            ) from err


def answers(address: str, role: Role, identity_dir: Path) -> bool:
    """Whether a gRPC server of this role accepts connections there."""
    with Connector(IdentityFolder(identity_dir)).blocking(address, role) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1.0)
        except grpc.FutureTimeoutError:
            return False
    return True


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Only one `up` for a state folder; the lock file names its process."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    path = settings.state_dir / "up.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = path.read_text().strip() or "unknown"
            remedy = "run `skerry down` first, or choose another --state-dir"
            raise InvalidRequest("state_dir", str(settings.state_dir), f"in use by process {holder}; {remedy}") from err
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def up(settings: Settings, detach: bool) -> int:
    """Run the control plane and a front until a signal; `detach`: leave them running once they are ready.

    Raises InvalidRequest for a state folder in use or a busy port.
    """
    if detach:
        return _up_detached(settings)
    with _locked(settings):
        return Supervisor(settings).run()


def _up_detached(settings: Settings) -> int:
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    path = settings.logs_dir / "up.log"
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.control.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | settings.environ(),
            start_new_session=True,
        )
    shown = 0
    while True:
        lines = path.read_text(errors="replace").splitlines()
        for line in lines[shown:]:
            _say(line)
        shown = len(lines)
        if any(line.startswith(f"{CONTROL} ready") for line in lines):
            _say(f"running in the background as process {process.pid}; `skerry down` ends it")
            return 0
        if process.poll() is not None:
            return process.returncode or 1
        time.sleep(POLL_S)


def down(settings: Settings) -> int:
    """End what `up` started, also what a killed `up` left behind. 0 also when nothing runs."""
    path = settings.state_dir / "up.lock"
    instance = instance_of(settings.state_dir)
    pid = _holder(path)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while _holder(path) == pid and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
    left = leftovers(instance)
    end_processes(left)
    if pid is None and not left:
        _say("nothing runs")
    elif _holder(path) is not None:
        raise Unavailable(f"process {pid} did not end within {STOP_TIMEOUT_S:g} s: end it by hand (kill -9 {pid})")
    else:
        _say("stopped")
    return 0


def holder(settings: Settings) -> int | None:
    """The process of the `up` that runs on this state folder."""
    return _holder(settings.state_dir / "up.lock")


def _holder(path: Path) -> int | None:
    """The process that holds the lock, if one does."""
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = path.read_text().strip()
        return int(text) if text.isdigit() else None
    return None


def main() -> int:
    try:
        return up(settings_from(), detach=False)
    except OrchestratorError as err:
        print(f"error: {err}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
