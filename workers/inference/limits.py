"""What a process may take of a machine, set by itself. For a model whose agent has no cgroup to put it in."""

import contextlib
import math
import os
import resource
from pathlib import Path


def cap_memory(most_bytes: int) -> None:
    """Let this process grow until its resident set would be `most_bytes`; 0: without a limit.

    RLIMIT_DATA counts private writable memory, reserved or touched (since Linux 4.7), and a refused reservation is a
    MemoryError or a std::bad_alloc in the one that asked. RLIMIT_AS would count libraries and stacks as well: 700 MiB
    in a process that uses 60. Raises MemoryError where the process itself has taken it all already.
    """
    if most_bytes == 0:
        return
    room_bytes = most_bytes - status_bytes("VmRSS")
    if room_bytes <= 0:
        raise MemoryError
    limit = status_bytes("VmData") + room_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def cap_processor(millis: int) -> None:
    """Bind this process to as many cores as its share needs; 0: to all. Which ones: spread by process id."""
    cores = sorted(os.sched_getaffinity(0))
    wanted = math.ceil(millis / 1000)
    if 0 < wanted < len(cores):
        first = os.getpid() % len(cores)
        os.sched_setaffinity(0, {cores[(first + number) % len(cores)] for number in range(wanted)})


def step_back(niceness: int) -> None:
    """Let this process run after those that are `niceness` less nice. Linux counts it for each thread by itself."""
    wanted = os.getpriority(os.PRIO_PROCESS, 0) + niceness
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, int(task.name), wanted)


def status_bytes(field: str) -> int:
    """Of /proc/self/status, such as VmRSS and VmData."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return 0
