"""What a node is made of and what it uses: when it is announced, and what is read from a kernel's files."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from workers.edge.actions import SendReport
from workers.edge.agent import Agent
from workers.edge.assignment import Report
from workers.edge.events import ResourcesSampled, Restarted, Ticked
from workers.edge.machine import MOST_ACCELERATORS, MachineReader
from workers.edge.resources import ANNOUNCED_AT_LEAST_EVERY_S, Accelerator, Announced, Machine, Usage
from workers.edge.status import as_text, machine_facts, status_of
from workers.edge.wire import machine_to, report_to

GIB = 1 << 30
MACHINE = Machine("aarch64", "6.1", "Debian", 4, 4 * GIB, 64 * GIB, (Accelerator("hailo", "Hailo", "/dev/hailo0"),))
IDLE = Usage(0.1, 3 * GIB, 64 << 20, 0, 40 * GIB, 50.0)
STEPS = {
    "cpu_share": 0.36,
    "memory_available_bytes": 3 * GIB - GIB // 4,
    "agent_bytes": 80 << 20,
    "replicas_bytes": 16 << 20,
    "disk_free_bytes": 40 * GIB + 2 * GIB,
    "temperature_c": 55.0,
}
BELOW = {
    "cpu_share": 0.3,
    "memory_available_bytes": 3 * GIB - GIB // 8,
    "agent_bytes": 79 << 20,
    "replicas_bytes": 15 << 20,
    "disk_free_bytes": 41 * GIB,
    "temperature_c": 54.0,
}


@pytest.mark.parametrize("field", sorted(STEPS))
def test_a_change_by_a_step_is_announced_and_a_smaller_one_is_not(field: str) -> None:
    announced = Announced()
    assert announced.take(IDLE, MACHINE, 0.0)
    assert not announced.take(replace(IDLE, **{field: BELOW[field]}), MACHINE, 10.0)
    assert announced.usage == replace(IDLE, sample=1)
    changed = replace(IDLE, **{field: STEPS[field]})
    assert announced.take(changed, MACHINE, 20.0)
    assert announced.usage == replace(changed, sample=2)


def test_a_thermal_zone_that_goes_is_a_change() -> None:
    announced = Announced()
    announced.take(IDLE, MACHINE, 0.0)
    assert announced.take(replace(IDLE, temperature_c=None), MACHINE, 1.0)


def test_what_does_not_change_is_announced_every_few_minutes() -> None:
    """About 50 bytes in 300 s: 1.3 bit/s of the 300 that an idle node may send."""
    announced = Announced()
    samples = [announced.take(IDLE, MACHINE, 10.0 * number) for number in range(91)]  # 15 minutes
    assert sum(samples) == 1 + 900 // ANNOUNCED_AT_LEAST_EVERY_S
    assert len(report_to(Report(0, (), (), usage=announced.usage)).usage.SerializeToString()) < 50


def test_the_agent_reports_only_what_is_announced_and_repeats_it_in_every_report() -> None:
    agent = Agent("s1", "boot")
    agent.step(Restarted(None, 0.0), 0.0)

    def reports(usage: Usage, now_s: float) -> list[Report]:
        actions = agent.step(ResourcesSampled(usage, MACHINE), now_s)
        return [action.report for action in actions if isinstance(action, SendReport)]

    (first,) = reports(IDLE, 1.0)
    assert first.usage == replace(IDLE, sample=1)
    assert reports(replace(IDLE, cpu_share=0.2), 9.0) == []
    assert agent.step(Ticked(), 10.0) == []
    (second,) = reports(replace(IDLE, cpu_share=0.9), 21.0)
    assert second.usage is not None
    assert (second.usage.sample, second.usage.cpu_share) == (2, 0.9)


# ---- a kernel's files


def machine_files(root: Path, **files: str) -> MachineReader:
    base = {
        "proc/meminfo": "MemTotal: 4000000 kB\nMemFree: 1 kB\nMemAvailable: 3000000 kB\n",
        "proc/stat": "cpu  100 0 100 700 100 0 0 0 7 7\ncpu0 1 1 1 1 1\n",
        "proc/self/statm": "9999 1000 10 0 0 0 0\n",
        "proc/4711/statm": "9999 500 10 0 0 0 0\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    }
    for name, text in {**base, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "dev").mkdir(exist_ok=True)
    return MachineReader(root, root)


def test_memory_processes_and_the_system_are_read(tmp_path: Path) -> None:
    reader = machine_files(tmp_path)
    machine, usage = reader.machine(), reader.usage([4711, 1])
    page = os.sysconf("SC_PAGE_SIZE")
    assert (machine.system, machine.memory_bytes) == ("Debian GNU/Linux 12 (bookworm)", 4_096_000_000)
    assert usage.memory_available_bytes == 3_072_000_000
    assert (usage.agent_bytes, usage.replicas_bytes) == (1000 * page, 500 * page), "one that is gone counts nothing"
    assert machine.accelerators == ()
    assert usage.temperature_c is None


def test_a_containers_limit_is_the_memory_that_there_is(tmp_path: Path) -> None:
    reader = machine_files(tmp_path, **{"sys/fs/cgroup/memory.max": "268435456\n"})
    assert reader.machine().memory_bytes == reader.usage().memory_available_bytes == 256 << 20
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert reader.machine().memory_bytes == 4_096_000_000


def test_the_share_of_the_cores_is_of_the_time_since_the_last_sample(tmp_path: Path) -> None:
    reader = machine_files(tmp_path)
    assert reader.usage().cpu_share == 0.0, "nothing to compare with yet"
    (tmp_path / "proc/stat").write_text("cpu  150 0 125 750 125 0 0 0 99 99\n")  # 75 busy of 150
    assert reader.usage().cpu_share == pytest.approx(0.5)
    assert reader.usage().cpu_share == 0.0, "no time has passed"
    (tmp_path / "proc/stat").write_text("nonsense\n")
    assert reader.usage().cpu_share == 0.0


def test_the_hottest_zone_counts_and_one_that_is_not_connected_does_not(tmp_path: Path) -> None:
    zones = {
        f"sys/class/thermal/thermal_zone{n}/temp": text for n, text in enumerate(("41500", "62000", "-274000", ""))
    }
    assert machine_files(tmp_path, **zones).usage().temperature_c == 62.0


def test_accelerators_are_found_by_driver_and_by_device_node(tmp_path: Path) -> None:
    said = "Model: \t\t NVIDIA Orin\nIRQ:   \t\t 1\nDevice Minor: \t 0\n"
    reader = machine_files(tmp_path, **{"proc/driver/nvidia/gpus/0000:01:00.0/information": said})
    (tmp_path / "dev/dri").mkdir()
    for node in ("apex_0", "hailo0", "dri/renderD128", "dri/renderD129", "dri/card0"):
        (tmp_path / "dev" / node).touch()
    for render, driver in (("renderD128", "i915"), ("renderD129", "nvidia")):
        device = tmp_path / "sys/class/drm" / render / "device"
        device.mkdir(parents=True)
        (device / "driver").symlink_to(f"/sys/bus/pci/drivers/{driver}")
    assert reader.machine().accelerators == (
        Accelerator("nvidia", "NVIDIA Orin", "/dev/nvidia0"),
        Accelerator("edgetpu", "Coral Edge TPU", "/dev/apex_0"),
        Accelerator("hailo", "Hailo", "/dev/hailo0"),
        Accelerator("gpu", "graphics (i915)", "/dev/dri/renderD128"),
    )
    for number in range(1, 40):
        (tmp_path / "dev" / f"apex_{number}").touch()
    assert len(reader.machine().accelerators) == MOST_ACCELERATORS


def test_this_machine_is_read(tmp_path: Path) -> None:
    reader = MachineReader(tmp_path)
    machine, usage = reader.machine(), reader.usage([os.getpid()])
    assert machine.cpus == len(os.sched_getaffinity(0))
    assert 0 < usage.memory_available_bytes <= machine.memory_bytes
    assert 0 < usage.disk_free_bytes <= machine.disk_bytes
    assert usage.agent_bytes == pytest.approx(usage.replicas_bytes, rel=0.1)
    assert machine_to(machine).kernel == os.uname().release


def test_status_tells_it_for_people() -> None:
    report = Report(3, (), (), usage=replace(IDLE, sample=1))
    status = status_of(report, {"node": "n", "site": "s", "machine": machine_facts(MACHINE)}, "")
    _, machine, uses = as_text(status, 1.0).splitlines()
    assert machine == "  machine: Debian, aarch64, kernel 6.1, 4 cpus, accelerators: Hailo at /dev/hailo0"
    assert uses == (
        "  uses: cpu 10%, memory 3.0 of 4.0 GiB available, agent 64 MiB, replicas apart 0 MiB,"
        " disk 40.0 of 64.0 GiB free, 50 C"
    )
    bare = status_of(Report(3, (), ()), {"node": "n", "machine": machine_facts(replace(MACHINE, accelerators=()))}, "")
    assert as_text(bare, 1.0).splitlines()[1].endswith("accelerators: none")
