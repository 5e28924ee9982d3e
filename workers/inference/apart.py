"""One model in a process of its own, started by an edge agent.

`python -m workers.inference.apart CONTROL LIFELINE LANE...`: the arguments are file descriptors. CONTROL brings one
line of JSON, a `Charge`, and takes one back: that the model is loaded, or why it is not. Each LANE then carries calls,
one at a time. LIFELINE is a pipe whose other end the agent holds: when the agent is gone, however it went, the kernel
kills this process, even one that hangs in a model.
"""

import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from workers.inference.limits import cap_memory, cap_processor, status_bytes, step_back

if TYPE_CHECKING:
    from workers.inference.dataplane import DataPlane

NICENESS = 5  # below the agent, whose heartbeats and other models must not wait for this one
OPEN_FILES = 256
STACK_BYTES = 2 << 20

_log = logging.getLogger(__name__)


class Charge(TypedDict):
    """What to load, and what it may take. `memory_bytes`, `compute_millis` 0: without a limit of its own."""

    name: str
    version: str
    path: str
    format: str
    incarnation: str
    metadata: dict[str, str]
    memory_bytes: int
    compute_millis: int


class Loaded(TypedDict):
    """`reason` empty: it serves. `resident_bytes`: of this process after the load."""

    reason: str
    remedy: str
    resident_bytes: int


def main(arguments: list[str]) -> int:
    control_fd, lifeline_fd, *lane_fds = map(int, arguments)
    _die_with(lifeline_fd)
    _restrict()
    with socket.socket(fileno=control_fd) as control:
        charge: Charge = json.loads(_line(control))
        cap_processor(charge["compute_millis"])
        # After the limits on processor and files, before any model's byte is read.
        from workers.inference.dataplane import DataPlane

        plane = DataPlane()
        # Before the limit on memory, which their stacks would count in. No call comes before the model is loaded.
        threading.stack_size(STACK_BYTES)
        for lane_fd in lane_fds:
            lane = socket.socket(fileno=lane_fd)
            threading.Thread(target=_serve, args=(plane, lane), name="lane", daemon=True).start()
        reply = _load(plane, charge)
        control.sendall(json.dumps(reply).encode() + b"\n")
        if reply["reason"]:
            return 1
        step_back(NICENESS)  # only now: on a busy node a load that stands behind all else would seem to hang
        control.recv(1)  # until the agent closes it
    return 0


def _load(plane: "DataPlane", charge: Charge) -> Loaded:
    from workers.inference.dataplane import ModelSource
    from workers.inference.errors import ModelLoadFailed

    if charge["format"] == "tflite":
        import workers.inference.litert  # noqa: F401  # what is ours is not counted as the model's
    try:
        cap_memory(charge["memory_bytes"])
        source = ModelSource(
            charge["name"],
            charge["version"],
            Path(charge["path"]),
            charge["format"],
            charge["incarnation"],
            charge["metadata"],
        )
        plane.load(source)
    except ModelLoadFailed as err:
        # A runtime that is refused memory says so in many ways, or not at all.
        limit = f", or raise memory_mib: {_mib(charge)} MiB is the limit" if charge["memory_bytes"] else ""
        return Loaded(reason=err.reason, remedy=f"{err.remedy}{limit}", resident_bytes=0)
    except MemoryError:
        reason = f"it needs more memory than its limit, {_mib(charge)} MiB for the whole process"
        return Loaded(reason=reason, remedy="raise memory_mib of the version's variant", resident_bytes=0)
    return Loaded(reason="", remedy="", resident_bytes=status_bytes("VmRSS"))


def _mib(charge: Charge) -> str:
    return f"{charge['memory_bytes'] / 2**20:.0f}"


def _serve(plane: "DataPlane", lane: socket.socket) -> None:
    """Calls of one lane, one after the other, until the agent closes it."""
    from workers.inference.errors import InferenceError
    from workers.inference.frames import Closed, receive_request, send_reply

    while True:
        try:
            method, metadata, payload = receive_request(lane)
            reply = plane.handle(method, payload, metadata)
            code, trailing, answer = 0, reply.metadata, reply.payload
        except (Closed, OSError):
            return
        except InferenceError as err:
            code, trailing, answer = err.code.value[0], {}, str(err).encode()
        except MemoryError:
            code, trailing, answer = 8, {}, b"the call needs more memory than this replica's limit leaves: send less"
        except Exception:  # noqa: BLE001 - the edge of the process: an exception's text is not for callers
            _log.exception("call ended in a bug of this server")
            code, trailing, answer = 13, {}, b"internal error of the replica; its node's log has the details"
        try:
            send_reply(lane, code, trailing, answer)
        except OSError:
            return


def _die_with(lifeline_fd: int) -> None:
    """By the kernel: a thread of ours could wait for ever for the lock of an interpreter that hangs."""
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline_fd, fcntl.F_GETFL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(lifeline_fd, 1)
    except BlockingIOError:
        return
    os._exit(1)  # the agent went before the kernel knew whom to tell


def _restrict() -> None:
    # The agent stops by SIGTERM and finishes its calls; it ends this process when they are done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    # Where memory runs out all the same, the kernel is to end this one and not the agent.
    Path("/proc/self/oom_score_adj").write_text("500")


def _line(control: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = control.recv(1 << 16)
        if not piece:
            os._exit(1)
        data += piece
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
