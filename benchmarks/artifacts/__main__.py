"""What artifacts cost on the way to a node: `python -m benchmarks.artifacts [versions|site|killed|budget ...]`.

Bytes are those that a relay carried towards the nodes, with everything that gRPC adds; front and nodes are processes.
"""

import argparse
import asyncio
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.artifacts.models import VERSIONS
from benchmarks.artifacts.site import ROOT, site

MIB = 1 << 20
KILLS = 10


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float  # in percent
    bound: float | None
    note: str

    @property
    def missed(self) -> bool:
        return self.bound is not None and self.value > self.bound

    def line(self) -> str:
        bound = "        " if self.bound is None else f"<= {self.bound:4g}%"
        verdict = "MISSED" if self.missed else "ok" if self.bound is not None else ""
        return f"{self.name:<44} {self.value:>7.2f}% {bound} {verdict:<6} {self.note}"


async def versions(folder: Path) -> list[Figure]:
    """A node that holds the first version fetches a next one."""
    await asyncio.to_thread(_make_models, folder)
    figures = []
    bounds = {"head": 20.0, "layer": 20.0, "all": None}
    for version in VERSIONS[1:]:
        async with site(folder) as here:
            first = await asyncio.to_thread(here.add, folder / "first.tflite")
            await here.fetched(f"node-{version}", first)
            following = await asyncio.to_thread(here.add, folder / f"{version}.tflite")
            _, sent = await here.fetched(f"node-{version}", following)
            size_bytes = int(str(following["size_bytes"]))
            note = f"{sent / MIB:.1f} of {size_bytes / MIB:.1f} MiB"
            figures.append(Figure(f"next version, trained: {version}", 100 * sent / size_bytes, bounds[version], note))
            assert here.is_right(f"node-{version}", following)
    return figures


def _make_models(folder: Path) -> None:
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.artifacts.models", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, env=environ, capture_output=True)


async def second_node(folder: Path, size_bytes: int = 100 * MIB) -> list[Figure]:
    async with site(folder) as here:
        artifact = await asyncio.to_thread(here.add, _made(folder, size_bytes))
        address, _ = await here.fetched("first", artifact)
        _, later = await here.fetched("second", artifact, [address])
        assert here.is_right("second", artifact)
    note = f"{later / 1024:.1f} KiB over the WAN, {size_bytes / MIB:.0f} MiB over the LAN"
    return [Figure("second node of a site", 100 * later / size_bytes, 5.0, note)]


async def killed(folder: Path, size_bytes: int = 500 * MIB, mbps: float = 200.0, seed: int = 1) -> list[Figure]:
    """With SIGKILL, at ten places spread over the file; everything that the line carried counts."""
    began_s, chance = time.monotonic(), random.Random(seed)
    async with site(folder, mbps) as here:
        artifact = await asyncio.to_thread(here.add, _made(folder, size_bytes))
        path = here.partial("node", artifact)
        for at in sorted(chance.uniform(0.02, 0.98) for _ in range(KILLS)):
            process, _ = await here.start("node", artifact)
            await asyncio.to_thread(_wait_until_reached, path, int(at * size_bytes))
            process.kill()
            await process.wait()
        await here.fetched("node", artifact)
        sent, right = here.line.to_nodes_bytes, here.is_right("node", artifact)
    assert right, "the artifact is not what its digest says"
    note = f"{size_bytes / MIB:.0f} MiB over {mbps:g} Mbit/s in {time.monotonic() - began_s:.0f} s, digest right"
    return [Figure(f"killed {KILLS} times on the way", 100 * sent / size_bytes, 102.0, note)]


def _wait_until_reached(path: Path, size_bytes: int) -> None:
    end_s = time.monotonic() + 540
    while not path.exists() or path.stat().st_size < size_bytes:
        assert time.monotonic() < end_s, f"{path} is not as far as {size_bytes} bytes"
        time.sleep(0.002)


async def budget(folder: Path, size_bytes: int = 20 * MIB, mbps: float = 40.0) -> list[Figure]:
    """The line would carry far more than the policy allows."""
    async with site(folder) as here:
        artifact = await asyncio.to_thread(here.add, _made(folder, size_bytes))
        process, _ = await here.start("node", artifact, rollout_bps=int(mbps * 1e6))
        began_s, before = time.monotonic(), here.line.to_nodes_bytes
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"whole"
        took_s, sent = time.monotonic() - began_s, here.line.to_nodes_bytes - before
    share = 100 * sent * 8 / took_s / (mbps * 1e6)
    return [Figure(f"used of a budget of {mbps:g} Mbit/s", share, 105.0, f"{sent / MIB:.0f} MiB in {took_s:.1f} s")]


def _made(folder: Path, size_bytes: int) -> Path:
    """Bytes of which no two chunks are equal."""
    path, chance = folder / "made", random.Random(size_bytes)
    with path.open("wb") as stream:
        for _ in range(size_bytes // MIB):
            stream.write(chance.randbytes(MIB))
    return path


PARTS = {"versions": versions, "site": second_node, "killed": killed, "budget": budget}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.artifacts", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them if none is named")
    figures: list[Figure] = []
    for part in parser.parse_args().parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            figures += asyncio.run(PARTS[part](Path(folder)))
    print(f"machine: {platform.node()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}")
    for figure in figures:
        print(figure.line())
    return 1 if any(figure.missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
