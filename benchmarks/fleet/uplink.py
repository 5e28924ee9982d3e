"""What an idle node sends, as the kernel counts it: a real agent with one model, all its connections, at rest."""

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.edge.__main__ import held
from benchmarks.fleet.parts import other_cores, started, until

AGENTS = 4
QUICK_S = 0.2  # between probes until the leg is known, so that rest comes soon
REST_AFTER_S = 90.0
WATCHED_S = 150.0
HEADERS_BYTES = 52  # of IPv4 and of TCP with timestamps


@dataclass(frozen=True, slots=True)
class Sent:
    payload_bytes: int
    segments: int

    @property
    def wire_bytes(self) -> int:
        return self.payload_bytes + HEADERS_BYTES * self.segments


def sent_by(pid: int) -> dict[str, Sent]:
    """By local address of each TCP connection."""
    listed = subprocess.run(["ss", "-tinpOH"], capture_output=True, text=True, check=True).stdout
    found: dict[str, Sent] = {}
    for line in listed.splitlines():
        if f"pid={pid}," in line:
            counts = {name: int(value) for name, value in re.findall(r"\b(bytes_sent|segs_out):(\d+)", line)}
            found[line.split()[3]] = Sent(counts.get("bytes_sent", 0), counts.get("segs_out", 0))
    return found


def uplink(folder: Path, front: str) -> None:
    """Prints kbit/s of a node, the mean of a few; `front` is a front's link address."""
    with contextlib.ExitStack() as ends:
        agents = [_agent(folder / f"agent-{number}", number, front, ends) for number in range(AGENTS)]
        until(lambda: all(len(sent_by(pid)) >= 3 for pid in agents), 60.0, "agents attach")
        time.sleep(REST_AFTER_S)
        before, began_s = [sent_by(pid) for pid in agents], time.monotonic()
        time.sleep(WATCHED_S)
        took_s, after = time.monotonic() - began_s, [sent_by(pid) for pid in agents]
        pairs = [
            (old.get(where, Sent(0, 0)), now)
            for old, new in zip(before, after, strict=True)
            for where, now in new.items()
        ]
        payload = sum(now.payload_bytes - old.payload_bytes for old, now in pairs)
        wire = sum(now.wire_bytes - old.wire_bytes for old, now in pairs)
        kbits = [8 * count / 1000 / took_s / AGENTS for count in (payload, wire)]
        connections = sum(map(len, after)) / AGENTS
        print(
            f"uplink of an idle agent at rest: {kbits[0]:.3f} kbit/s of HTTP/2 with its pings, {kbits[1]:.3f} with "
            f"TCP/IP headers and acknowledgements; {connections:.1f} connections, {took_s:.0f} s, mean of {AGENTS}"
        )


def _agent(state_dir: Path, number: int, front: str, ends: contextlib.ExitStack) -> int:
    """Its process id."""
    command = ("workers.edge.command", "run", "--site", f"site-{number}", "--node", f"agent-{number}", "--lan", "none")
    command += ("--front", front, "--state-dir", str(held(state_dir)), "--probe-interval-s", str(QUICK_S))
    process = started(*command, "--log-level", "error", cores=other_cores(), stderr=subprocess.DEVNULL)
    ends.callback(process.wait)
    ends.callback(process.terminate)
    return process.pid
