"""A front, a line and nodes, each a process but the line."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.artifacts.line import Line
from workers.artifacts.describing import Describer
from workers.artifacts.digest import digest_of_file
from workers.artifacts.library import ArtifactLibrary
from workers.artifacts.signing import SigningKey

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """`folder` holds the library and a folder for each node."""

    folder: Path
    line: Line
    address: str
    describer: Describer
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    def add(self, path: Path) -> dict[str, object]:
        """A version as an assignment names it."""
        digest, size_bytes = self.describer.add(path, "tflite", "default")
        found = self.describer.describe(digest, size_bytes, "tflite", "default")
        fields = {"digest": digest, "size_bytes": size_bytes, "format": "tflite"}
        return {**fields, "manifest": found.manifest, "signature": found.signature}

    async def start(
        self, node: str, artifact: dict[str, object], peers: Sequence[str] = (), rollout_bps: int = 0
    ) -> tuple[asyncio.subprocess.Process, str]:
        """The process and its peer address."""
        told = {
            "folder": str(self.folder / node),
            "front": self.address,
            "peers": list(peers),
            "artifact": artifact,
            "rollout_bps": rollout_bps,
        }
        process = await _start("benchmarks.artifacts.node", json.dumps(told))
        self.processes.append(process)
        return process, await _line(process)

    async def fetched(
        self, node: str, artifact: dict[str, object], peers: Sequence[str] = (), rollout_bps: int = 0
    ) -> tuple[str, int]:
        """Until the node has it whole; answers its peer address and the bytes that came over the line."""
        before = self.line.to_nodes_bytes
        process, address = await self.start(node, artifact, peers, rollout_bps)
        assert await _line(process) == "whole"
        return address, self.line.to_nodes_bytes - before

    def partial(self, node: str, artifact: dict[str, object]) -> Path:
        return self.folder / node / "partial" / str(artifact["digest"]).removeprefix("sha256:")

    def is_right(self, node: str, artifact: dict[str, object]) -> bool:
        path = self.folder / node / "sha256" / str(artifact["digest"]).removeprefix("sha256:")
        return digest_of_file(path)[0] == artifact["digest"]


@asynccontextmanager
async def site(folder: Path, mbps: float = 0.0) -> AsyncIterator[Site]:
    library = folder / "library"
    front = await _start("benchmarks.artifacts.front", str(library))
    line = Line(int(await _line(front)), mbps)
    server = await line.serve()
    describer = Describer(ArtifactLibrary(str(library)), SigningKey.opened(folder / "pki" / "signing.key"))
    found = Site(folder, line, f"127.0.0.1:{server.sockets[0].getsockname()[1]}", describer)
    try:
        yield found
    finally:
        for process in [*found.processes, front]:
            if process.returncode is None:
                process.kill()
            await process.wait()
        server.close()


async def _start(module: str, argument: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, argument, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(540):
        return (await process.stdout.readline()).decode().strip()
