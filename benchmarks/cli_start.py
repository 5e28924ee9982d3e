"""How long `skerry --help` and `skerry --version` take: `python -m benchmarks.cli_start`.

Bound: 0.3 s, median of 10 (issue "First light"): beyond that a command feels slow, and completion runs it at each Tab.
The baseline is the interpreter alone, started in the same run.
"""

import os
import platform
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
}


def seconds(command: tuple[str, ...]) -> list[float]:
    """Of each run, after one that warms the file cache."""
    taken: list[float] = []
    for _ in range(RUNS + 1):
        start_s = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - start_s)
    return sorted(taken[1:])


def main() -> int:
    machine = f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, Python {platform.python_version()}")
    print(f"{'command':<28} {'median s':>9} {'worst s':>9} {'bound s':>9}")
    slow = 0
    for name, command in CASES.items():
        taken = seconds(command)
        median_s, bounded = statistics.median(taken), "baseline" not in name
        slow += bounded and median_s > BOUND_S
        print(f"{name:<28} {median_s:>9.3f} {taken[-1]:>9.3f} {BOUND_S if bounded else '-':>9}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
