"""Reads what the kernel says of this machine, from /proc, /sys and /dev. Linux only; what is not there is left out.

The standard library is enough: psutil would add 2 MiB to each agent for the twenty lines below (docs/decisions/0022).
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from workers.edge.events import Event, ResourcesSampled
from workers.edge.resources import Accelerator, Machine, Usage

FIRST_SAMPLE_S = 1.0
SAMPLE_EVERY_S = 10.0
MOST_ACCELERATORS = 16
MOST_NAME = 64  # characters of what firmware calls itself
COLDEST_C, HOTTEST_C = -60.0, 150.0  # a sensor beyond is not connected

# By device node, where no driver tells more. The first pattern that matches a path names it.
_DEVICES = (
    ("apex_*", "edgetpu", "Coral Edge TPU"),
    ("hailo[0-9]*", "hailo", "Hailo"),
    ("accel/accel*", "npu", "accelerator"),
    ("nvhost-gpu", "nvidia", "NVIDIA Tegra"),
    ("dri/renderD*", "gpu", "graphics"),
)


class MachineReader:
    """`root` is / but in tests. Blocking, some hundred microseconds for each read."""

    def __init__(self, state_dir: Path, root: Path = Path("/")) -> None:
        self._state_dir, self._root = state_dir, root
        self._cpu_ticks: tuple[int, int] | None = None  # busy, all

    def machine(self) -> Machine:
        disk = os.statvfs(self._state_dir)
        return Machine(
            architecture=os.uname().machine,
            kernel=os.uname().release[:MOST_NAME],
            system=self._system()[:MOST_NAME],
            cpus=len(os.sched_getaffinity(0)),
            memory_bytes=self._memory_bytes(),
            disk_bytes=disk.f_frsize * disk.f_blocks,
            accelerators=self._accelerators(),
        )

    def usage(self, replicas: Iterable[int] = ()) -> Usage:
        """`replicas`: process ids of the replicas that have a process of their own."""
        disk = os.statvfs(self._state_dir)
        return Usage(
            cpu_share=self._cpu_share(),
            memory_available_bytes=min(self._meminfo("MemAvailable"), self._memory_bytes()),
            agent_bytes=self.resident_bytes("self"),
            replicas_bytes=sum(self.resident_bytes(str(process)) for process in replicas),
            disk_free_bytes=disk.f_frsize * disk.f_bavail,
            temperature_c=self._temperature_c(),
        )

    def resident_bytes(self, process: str) -> int:
        """0 for one that is gone."""
        fields = self._text(f"proc/{process}/statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0

    def _memory_bytes(self) -> int:
        """A container's limit counts, where its cgroup (version 2) tells one."""
        limit = self._text("sys/fs/cgroup/memory.max").strip()
        total = self._meminfo("MemTotal")
        return min(total, int(limit)) if limit.isdecimal() else total

    def _meminfo(self, field: str) -> int:
        for line in self._text("proc/meminfo").splitlines():
            name, _, rest = line.partition(":")
            if name == field:
                return int(rest.split()[0]) * 1024
        return 0

    def _cpu_share(self) -> float:
        """Busy part of all cores since the last call; 0 at the first. Waiting for disks is not busy."""
        ticks = [int(field) for field in self._text("proc/stat").partition("\n")[0].split()[1:9]]
        if len(ticks) < 5:
            return 0.0
        every = sum(ticks)
        before, self._cpu_ticks = self._cpu_ticks, (every - ticks[3] - ticks[4], every)
        if before is None or every <= before[1]:
            return 0.0
        return min(1.0, max(0.0, (self._cpu_ticks[0] - before[0]) / (every - before[1])))

    def _temperature_c(self) -> float | None:
        found = []
        for zone in sorted(self._root.glob("sys/class/thermal/thermal_zone*/temp")):
            text = self._text(str(zone.relative_to(self._root))).strip()
            if text.lstrip("-").isdecimal() and COLDEST_C <= int(text) / 1000 <= HOTTEST_C:
                found.append(int(text) / 1000)
        return max(found, default=None)

    def _accelerators(self) -> tuple[Accelerator, ...]:
        found = [*self._nvidia(), *self._by_device_node()]
        return tuple(found[:MOST_ACCELERATORS])

    def _nvidia(self) -> list[Accelerator]:
        """As the driver tells them; nothing of NVIDIA's is loaded for it."""
        found = []
        for path in sorted(self._root.glob("proc/driver/nvidia/gpus/*/information")):
            facts = dict(_fact(line) for line in self._text(str(path.relative_to(self._root))).splitlines())
            device = f"/dev/nvidia{facts.get('Device Minor', '')}"
            found.append(Accelerator("nvidia", facts.get("Model", "NVIDIA")[:MOST_NAME], device[:MOST_NAME]))
        return found

    def _by_device_node(self) -> list[Accelerator]:
        found = []
        for pattern, kind, name in _DEVICES:
            for path in sorted((self._root / "dev").glob(pattern)):
                driver = self._driver(path.name)
                if driver == "nvidia":
                    continue  # its own driver has told it
                device = f"/{path.relative_to(self._root)}"
                found.append(Accelerator(kind, f"{name} ({driver})" if driver else name, device))
        return found

    def _driver(self, device: str) -> str:
        for kind in ("drm", "accel", "apex"):
            link = self._root / "sys" / "class" / kind / device / "device" / "driver"
            if link.is_symlink():
                return link.readlink().name[:MOST_NAME]
        return ""

    def _system(self) -> str:
        lines = self._text("etc/os-release").splitlines()
        names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")]
        return names[0] if names else os.uname().sysname

    def _text(self, path: str) -> str:
        """Empty for what cannot be read: many a file of these exists on some machines only."""
        try:
            return (self._root / path).read_text(errors="replace")
        except OSError:
            return ""


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


async def sampled(
    reader: MachineReader, machine: Machine, replicas: Callable[[], Iterable[int]], inbox: asyncio.Queue[Event]
) -> None:
    """Tells the agent what the node uses, until cancelled."""
    wait_s = FIRST_SAMPLE_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = SAMPLE_EVERY_S
        usage = await asyncio.to_thread(reader.usage, list(replicas()))
        await inbox.put(ResourcesSampled(usage, machine))
