"""What a node is made of and what it uses: frozen values, and when a change of them is worth its bytes. Pure."""

from dataclasses import dataclass, replace

# Steps below which nothing is announced: an idle node's uplink is bounded to 0.3 kbit/s, heartbeats included.
CPU_STEP_SHARE = 0.25
MEMORY_STEP_SHARE = 0.05  # of the machine's memory
DISK_STEP_SHARE = 0.02  # of the disk
OWN_STEP_BYTES = 16 << 20
TEMPERATURE_STEP_C = 5.0
ANNOUNCED_AT_LEAST_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """`kind`: nvidia, edgetpu, hailo, npu or gpu. `device`: the path by which it was found."""

    kind: str
    name: str
    device: str


@dataclass(frozen=True, slots=True)
class Machine:
    """As the kernel tells it, once for each boot of the agent."""

    architecture: str
    kernel: str
    system: str
    cpus: int  # that the agent may use
    memory_bytes: int  # of the machine, or of the agent's cgroup where that is less
    disk_bytes: int  # of the file system that holds the state folder
    accelerators: tuple[Accelerator, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment; `cpu_share` since the sample before it, of all cores. `temperature_c` None: no thermal zone."""

    cpu_share: float
    memory_available_bytes: int
    agent_bytes: int
    replicas_bytes: int
    disk_free_bytes: int
    temperature_c: float | None
    sample: int = 0  # rises with each that is announced


class Announced:
    """The usage that was announced last, and whether a newer one is worth announcing."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._at_s = 0.0

    def take(self, usage: Usage, machine: Machine, now_s: float) -> bool:
        """Whether it is announced: it differs by a step from the one before, or that one has become old."""
        last = self.usage
        if last and now_s - self._at_s < ANNOUNCED_AT_LEAST_EVERY_S and not _differ(last, usage, machine):
            return False
        self.usage = replace(usage, sample=last.sample + 1 if last else 1)
        self._at_s = now_s
        return True


def _differ(a: Usage, b: Usage, machine: Machine) -> bool:
    """By a whole step in anything: measured from what was announced, so that a slow drift is told in the end."""
    if (a.temperature_c is None) != (b.temperature_c is None):
        return True
    return (
        abs(a.cpu_share - b.cpu_share) >= CPU_STEP_SHARE
        or abs(a.memory_available_bytes - b.memory_available_bytes) >= MEMORY_STEP_SHARE * machine.memory_bytes
        or abs(a.disk_free_bytes - b.disk_free_bytes) >= DISK_STEP_SHARE * machine.disk_bytes
        or abs(a.agent_bytes - b.agent_bytes) >= OWN_STEP_BYTES
        or abs(a.replicas_bytes - b.replicas_bytes) >= OWN_STEP_BYTES
        or abs((a.temperature_c or 0.0) - (b.temperature_c or 0.0)) >= TEMPERATURE_STEP_C
    )
