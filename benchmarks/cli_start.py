"""How long `skerry --help` and `skerry --version` take: `python -m benchmarks.cli_start`.

Bound: 0.3 s, median of 10 (issue "First light"): beyond that a command feels slow, and completion runs it at each Tab.
The baseline is the interpreter alone, started in the same run; CPU seconds tell a slow command from a busy machine.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time

RUNS = 10
BOUND_S = 0.3
COMMAND = (sys.executable, "-c", "import sys; from orchestrator.cli.main import main; sys.exit(main())")
CASES = {
    "python -c pass (baseline)": (sys.executable, "-c", "pass"),
    "skerry --version": (*COMMAND, "--version"),
    "skerry --help": (*COMMAND, "--help"),
    "skerry get --help": (*COMMAND, "get", "--help"),
    "skerry completion bash": (*COMMAND, "completion", "bash"),
}


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(command: tuple[str, ...]) -> tuple[list[float], float]:
    """Wall time of each run, sorted, and the median CPU time; one run before them warms the file cache."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(RUNS + 1):
        start_s, start_cpu_s = time.perf_counter(), children_cpu_s()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        walls.append(time.perf_counter() - start_s)
        cpus.append(children_cpu_s() - start_cpu_s)
    return sorted(walls[1:]), statistics.median(cpus[1:])


def main() -> int:
    machine = f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, Python {platform.python_version()}")
    print(f"{'command':<28} {'median s':>9} {'worst s':>9} {'CPU s':>9} {'bound s':>9}")
    slow = 0
    for name, command in CASES.items():
        walls, cpu_s = seconds(command)
        median_s, bounded = statistics.median(walls), "baseline" not in name
        slow += bounded and median_s > BOUND_S
        print(f"{name:<28} {median_s:>9.3f} {walls[-1]:>9.3f} {cpu_s:>9.3f} {BOUND_S if bounded else '-':>9}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
