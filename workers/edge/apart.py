"""The agent's end of a model that has a process of its own: starts it, hands it calls, and ends it.

The process is made by exec of a fresh interpreter: a fork of this one, with gRPC's threads in it, may hang.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import grpc

from workers.edge.cgroups import Cgroup, Cgroups
from workers.inference.apart import Charge, Loaded
from workers.inference.dataplane import ModelSource, Reply
from workers.inference.errors import InferenceError, ModelLoadFailed, ModelNotReady, one_line
from workers.inference.frames import Closed, receive_reply, send_request

# Relayed calls have 4 threads and LAN calls 8: one model that hangs must leave some of each to the others.
LANES = 3
PATIENCE_S = 2.0  # all lanes busy for so long without an answer: callers are turned away at once
# Trimmed for one small model: 8 MiB stacks and 64 MiB arenas for each thread would count as the model's memory.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_LAST_LINES = 20
_END_WAIT_S = 5.0
LEAVE_S = 10.0

_log = logging.getLogger(__name__)


class ReplicaEnded(Exception):
    """The process crashed, hung or was ended; a fresh one may do better. The message has reason and remedy."""


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none. `load_s` and `call_s`: after these the process is taken for hung, and ended."""

    memory_bytes: int = 0
    compute_millis: int = 0
    load_s: float = 120.0  # seen on a node with fifty busy processes on two cores: 30
    call_s: float = 60.0


class Apart:
    """One process, one model. Thread-safe. `start` once, `close` once."""

    def __init__(self, source: ModelSource, limits: Limits, cgroups: Cgroups | None = None) -> None:
        self._source, self._limits, self._cgroups = source, limits, cgroups
        self._lanes: list[socket.socket] = []
        self._free: list[socket.socket] = []
        self._change = threading.Condition()
        self._moved_s = 0.0  # when a lane was last taken or given back
        self._draining = self._closed = False
        self._lifeline = -1
        self._why = ""  # the agent ended it itself, and why
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._cgroup: Cgroup | None = None
        self.resident_bytes = 0  # after the load

    @property
    def process(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process else 0

    def start(self, ended: Callable[[str], None]) -> None:
        """Returns when the model is loaded. Raises ModelLoadFailed where the file is at fault, else ReplicaEnded.

        `ended` is called once, with the reason, if the process ends later and not by `close`.
        """
        try:
            control = self._spawn()
        except OSError as err:  # no more processes or descriptors, or an interpreter that was moved away
            self.close()
            raise ReplicaEnded(f"no process can be started for it: {err}: see what the node runs and may run") from err
        try:
            loaded = self._charge(control)
        except BaseException:
            self.close()
            control.close()
            raise
        self.resident_bytes = loaded["resident_bytes"]
        threading.Thread(target=self._watch, args=(control, ended), name="apart", daemon=True).start()

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """The answer to one call. Raises InferenceError."""
        lane = self._take()
        healthy = False
        try:
            send_request(lane, method, metadata, payload)
            code, trailing, answer = receive_reply(lane)
            healthy = True
        except TimeoutError:
            limit = f"a call took over {self._limits.call_s:g} s, so it was taken for hung"
            self._end(f"{limit}; send it less at once, or give the model a longer-lived home in a region")
            self._unavailable("did not answer")
        except (Closed, OSError):
            self._unavailable("ended during the call")
        finally:
            self._give_back(lane if healthy else None)
        if code:
            raise _ANSWERED[code](answer.decode(errors="replace"))
        return Reply(answer, trailing)

    def drain(self, name: str) -> None:
        """From now on UNAVAILABLE; calls under way go on."""
        self._draining = True

    def close_when_idle(self, then: Callable[[], None]) -> None:
        """Returns at once; the process ends when the calls under way have, or after `LEAVE_S`."""
        self._draining = True
        threading.Thread(target=self._leave, args=(then,), name="apart-leaves", daemon=True).start()

    def _leave(self, then: Callable[[], None]) -> None:
        with self._change:
            self._change.wait_for(lambda: self._closed or len(self._free) == len(self._lanes), LEAVE_S)
        self.close()
        then()

    def close(self) -> None:
        """End the process; calls under way end with it. Harmless when it has ended."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._process:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_WAIT_S)
        self._clear_away()

    def _spawn(self) -> socket.socket:
        pairs = [socket.socketpair() for _ in range(1 + LANES)]
        lifeline, self._lifeline = os.pipe()
        self._lanes = [pair[0] for pair in pairs[1:]]
        for lane in self._lanes:
            lane.settimeout(self._limits.call_s)
        theirs = [pairs[0][1].fileno(), lifeline, *(pair[1].fileno() for pair in pairs[1:])]
        # -P and our own path: the folder that the agent was started in must not change what it imports.
        command = [sys.executable, "-P", "-m", "workers.inference.apart", *map(str, theirs)]
        path = os.pathsep.join(filter(None, sys.path))
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=theirs,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError:
            pairs[0][0].close()
            raise
        finally:
            os.close(lifeline)
            for pair in pairs:
                pair[1].close()
        threading.Thread(target=self._listen, name="apart-says", daemon=True).start()
        if self._cgroups:
            self._cgroup = self._cgroups.place(self._process.pid, self._limits.memory_bytes,
                                               self._limits.compute_millis)  # fmt: skip
        return pairs[0][0]

    def _charge(self, control: socket.socket) -> Loaded:
        """Hand it the model and wait for its word. Raises ModelLoadFailed, ReplicaEnded."""
        # What the cgroup holds, the process need not hold itself.
        own = self._limits if self._cgroup is None else Limits()
        charge = Charge(
            name=self._source.name,
            version=self._source.version,
            path=str(self._source.path),
            format=self._source.format,
            incarnation=self._source.incarnation,
            metadata=dict(self._source.metadata),
            memory_bytes=own.memory_bytes,
            compute_millis=own.compute_millis,
        )
        control.settimeout(self._limits.load_s)
        try:
            control.sendall(json.dumps(charge).encode() + b"\n")
            with control.makefile("rb") as replies:
                line = replies.readline()
        except TimeoutError as err:
            reason = f"loading took over {self._limits.load_s:g} s, so it was taken for hung"
            raise ReplicaEnded(f"{reason}; give it more cores, or a smaller model") from err
        except OSError:
            line = b""
        if not line:
            assert self._process
            self._process.wait(_END_WAIT_S)
            raise ReplicaEnded(self._how_it_ended())
        loaded: Loaded = json.loads(line)
        if loaded["reason"]:
            raise ModelLoadFailed(str(self._source.path), loaded["reason"], loaded["remedy"])
        control.settimeout(None)
        with self._change:
            self._free, self._moved_s = list(self._lanes), time.monotonic()
        return loaded

    def _take(self) -> socket.socket:
        with self._change:
            while not self._free:
                self._refuse_if_away()
                left_s = PATIENCE_S - (time.monotonic() - self._moved_s)
                if left_s <= 0:
                    busy = f"{LANES} calls are under way and none has ended for {PATIENCE_S:g} s"
                    self._unavailable(f"is busy: {busy}")
                self._change.wait(left_s)
            self._refuse_if_away()
            self._moved_s = time.monotonic()
            return self._free.pop()

    def _give_back(self, lane: socket.socket | None) -> None:
        """None: it broke, and so did the process."""
        with self._change:
            self._moved_s = time.monotonic()
            if lane:
                self._free.append(lane)
                self._change.notify_all()

    def _refuse_if_away(self) -> None:
        if self._draining:
            raise ModelNotReady(self._source.name)
        if self._closed:
            self._unavailable("has ended and is started again")

    def _unavailable(self, what: str) -> NoReturn:
        said = f"the process of model {self._source.name!r} on this node {what}; ask another replica"
        raise _ANSWERED[grpc.StatusCode.UNAVAILABLE.value[0]](said)

    def _end(self, why: str) -> None:
        with self._change:
            self._why = self._why or why
        if self._process:
            self._process.kill()

    def _watch(self, control: socket.socket, ended: Callable[[str], None]) -> None:
        assert self._process
        self._process.wait()
        control.close()
        with self._change:
            asked_for, self._closed = self._closed, True
            self._change.notify_all()
        self._clear_away()
        if not asked_for:
            ended(self._how_it_ended())

    def _listen(self) -> None:
        """What the process writes: to the log, and the last of it into the reason of its end."""
        assert self._process
        assert self._process.stdout
        with self._process.stdout as stream:
            for line in stream:
                self._said.append(line.rstrip()[:500])
                _log.info("replica says", extra={"incarnation": self._source.incarnation, "said": self._said[-1]})

    def _how_it_ended(self) -> str:
        if self._why:
            return self._why
        assert self._process
        code = self._process.returncode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        limit = f"{self._limits.memory_bytes / 2**20:.0f} MiB" if self._limits.memory_bytes else "none"
        killed = self._cgroup is not None and self._cgroup.out_of_memory()
        last = one_line("\n".join(reversed(self._said))) if self._said else "it said nothing"
        what = "it took more memory than its limit" if killed else f"its process ended by {how}: {last}"
        return f"{what} (memory limit {limit}); raise memory_mib if the model needs more, else see the node's log"

    def _clear_away(self) -> None:
        for lane in self._lanes:
            lane.close()
        with self._change:
            lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)
        if self._cgroup:
            self._cgroup.remove()


class Processes:
    """All of one agent's. Thread-safe."""

    def __init__(self, cgroups: Cgroups | None = None) -> None:
        self._cgroups = cgroups
        self._lock = threading.Lock()
        self._running: set[Apart] = set()
        self._closed = False

    @property
    def limits_held_by(self) -> str:
        """For people."""
        return "control groups" if self._cgroups else "each process itself"

    def start(self, source: ModelSource, limits: Limits, ended: Callable[[str], None] = lambda _: None) -> Apart:
        """Blocks while the model loads. Raises ModelLoadFailed, ReplicaEnded; see `Apart.start`."""
        apart = Apart(source, limits, self._cgroups)
        with self._lock:
            if self._closed:
                raise ReplicaEnded("the agent is stopping")
            self._running.add(apart)

        def gone(reason: str) -> None:
            self._forget(apart)
            ended(reason)

        try:
            apart.start(gone)
        except BaseException:
            self._forget(apart)
            raise
        return apart

    def end(self, apart: Apart) -> None:
        """Returns at once; see `Apart.close_when_idle`."""
        apart.close_when_idle(lambda: self._forget(apart))

    def ids(self) -> list[int]:
        with self._lock:
            return [apart.process for apart in self._running if apart.process]

    def close(self) -> None:
        """End all, those that are still loading too: nothing of the agent may wait for one that hangs."""
        with self._lock:
            self._closed, running = True, list(self._running)
        for apart in running:
            apart.close()

    def _forget(self, apart: Apart) -> None:
        with self._lock:
            self._running.discard(apart)


_ANSWERED = {
    code.value[0]: type(code.name, (InferenceError,), {"code": code, "__doc__": "As the replica's process answered."})
    for code in grpc.StatusCode
}
