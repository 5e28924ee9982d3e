"""The testbed itself, with small TCP programs: it must be what it says before anything is shown on it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed import namespaces
from tests.testbed.namespaces import Namespace, Namespaces, small_disk
from tests.testbed.network import CLOUD, Network, Wan, network, node_address
from tests.testbed.processes import Program, until
from tests.testbed.tools import ROOT

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

PORT = 4000
TALK = (sys.executable, "-m", "tests.testbed.talk")
MBPS, DELAY_MS = 8.0, 40.0
FEW_BYTES = 2 << 20


def serving(net: Network, where: Namespace, name: str = "server") -> Program:
    server = net.programs.start(where, name, *TALK, "serve", str(PORT))
    server.says("listening")
    return server


def dial(from_: Namespace, host: str, limit_s: float = 5.0) -> str:
    return from_.run(*TALK, "dial", host, str(PORT), str(limit_s)).strip()


def measured_s(from_: Namespace, order: str, count: int) -> float:
    return float(from_.run(*TALK, "measure", CLOUD, str(PORT), order, str(count)))


def received_bytes(node: Namespace) -> int:
    return int(node.run("cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def test_a_node_dials_out_and_cannot_be_dialled(net: Network) -> None:
    site = net.site("plant", nodes=2)
    serving(net, net.cloud, "cloud-server")
    serving(net, site.nodes[0], "node-server")
    assert dial(site.nodes[0], CLOUD) == "hello 198.51.100.2", "the cloud sees the router, not the node"
    assert dial(site.nodes[1], node_address(0)) == f"hello {node_address(1)}", "a LAN has no NAT"
    assert dial(net.cloud, node_address(0), 1.0) == "OSError", "no way to a private address"
    assert dial(net.cloud, "198.51.100.2", 1.0) in {"ConnectionRefusedError", "TimeoutError"}


def test_sites_may_use_the_same_addresses(net: Network) -> None:
    one, other = net.site("plant"), net.site("depot")
    serving(net, net.cloud)
    assert dial(one.nodes[0], CLOUD) == "hello 198.51.100.2"
    assert dial(other.nodes[0], CLOUD) == "hello 198.51.100.6"


def test_rates_are_held_each_way_within_a_tenth(net: Network) -> None:
    site = net.site("plant", Wan(up_mbps=MBPS, down_mbps=2 * MBPS))
    serving(net, net.cloud)
    for order, mbps in (("take", MBPS), ("send", 2 * MBPS)):
        reached_mbps = FEW_BYTES * 8e-6 / measured_s(site.nodes[0], order, FEW_BYTES)
        assert 0.9 * mbps <= reached_mbps <= 1.1 * mbps, f"{order}: {reached_mbps:.2f} Mbit/s of {mbps}"


def test_delay_is_what_was_asked_and_ends(net: Network) -> None:
    site = net.site("plant", Wan(one_way_ms=DELAY_MS, ports=(PORT,)))
    serving(net, net.cloud)
    exchanges = 5
    rtt_ms = measured_s(site.nodes[0], "line", exchanges) * 1000 / exchanges
    assert 2 * DELAY_MS <= rtt_ms <= 2 * DELAY_MS + 20
    assert site.toxiproxy
    site.toxiproxy.undelay()
    assert measured_s(site.nodes[0], "line", exchanges) * 1000 / exchanges < DELAY_MS


@pytest.mark.parametrize("delayed", [False, True])
def test_a_silent_cut_is_silent_and_what_was_open_goes_on_after_it(net: Network, delayed: bool) -> None:
    site = net.site("plant", Wan(one_way_ms=5, ports=(PORT,)) if delayed else None)
    server = serving(net, net.cloud)
    held = net.programs.start(site.nodes[0], "held", *TALK, "hold", CLOUD, str(PORT), "0.05")
    held.says("heard")
    site.cut_silently()
    assert dial(site.nodes[0], CLOUD, 1.0) == "TimeoutError"
    before = held.said().count("heard")
    assert held.running
    assert "Error" not in held.said() + server.said()
    site.mend()
    until("the held connection goes on", lambda: held.said().count("heard") > before + 2)


def test_a_cut_by_reset_is_told_to_whoever_sends(net: Network) -> None:
    site = net.site("plant", Wan(down_mbps=MBPS))
    server = serving(net, net.cloud)
    node = site.nodes[0]
    held = net.programs.start(node, "held", *TALK, "hold", CLOUD, str(PORT), "0.05")
    held.says("heard")
    taking = net.programs.start(node, "taking", *TALK, "measure", CLOUD, str(PORT), "send", str(100 * FEW_BYTES))
    until("bytes are under way", lambda: received_bytes(node) > FEW_BYTES // 4)
    site.cut_by_reset()
    held.says("ConnectionResetError")
    server.says("198.51.100.2: ConnectionResetError")
    assert dial(node, CLOUD) == "ConnectionRefusedError"
    assert taking.running
    site.mend()
    assert dial(node, CLOUD).startswith("hello")


def test_toxiproxy_ends_what_is_open_and_resets_what_is_new_for_a_while(net: Network) -> None:
    site = net.site("plant", Wan(ports=(PORT,)))
    serving(net, net.cloud)
    held = net.programs.start(site.nodes[0], "held", *TALK, "hold", CLOUD, str(PORT), "0.05")
    held.says("heard")
    assert site.toxiproxy
    with site.toxiproxy.resetting():
        held.says("closed")
        assert dial(site.nodes[0], CLOUD) == "ConnectionResetError"
    assert dial(site.nodes[0], CLOUD).startswith("hello")


def test_a_router_forgets_an_idle_flow_without_a_word(net: Network) -> None:
    site = net.site("plant", Wan(nat_idle_s=1))
    serving(net, net.cloud)
    busy = net.programs.start(site.nodes[0], "busy", *TALK, "hold", CLOUD, str(PORT), "0.2")
    idle = net.programs.start(site.nodes[0], "idle", *TALK, "hold", CLOUD, str(PORT), "2.5")
    until("the busy one outlives the idle one", lambda: busy.said().count("heard") > 20)
    assert idle.said().count("heard") == 1
    assert idle.running


def test_nothing_of_a_network_is_left_and_programs_are_ended(tmp_path: Path) -> None:
    with network(tmp_path, 1) as net:
        site = net.site("plant")
        server = serving(net, site.nodes[0])
        names = [one.name for one in net.namespaces.made]
        assert len(names) == 4
    assert not server.running
    assert not [name for name in names if (Path("/run/netns") / name).exists()]


def test_what_a_killed_run_left_is_removed_and_what_a_running_one_has_is_not(tmp_path: Path) -> None:
    """A run of its own, killed: its namespace, the program in it and its mount are still there until the next one."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.testbed.namespaces import Namespaces, small_disk\n"
        "from tests.testbed.processes import Programs\n"
        "one = Namespaces().make('cloud')\n"
        "with small_disk(Path(sys.argv[1]) / 'disk', 64):\n"
        "    left = Programs(Path(sys.argv[1])).start(one, 'left', 'sleep', '600')\n"
        "    print(one.name, left.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        name, left = run.stdout.readline().split()
        Namespaces()  # its owner lives
        assert (Path("/run/netns") / name).exists()
        assert namespaces.owner_name(int(left))
        run.send_signal(signal.SIGKILL)
        run.wait(10)
    Namespaces()
    assert not (Path("/run/netns") / name).exists()
    assert namespaces.owner_name(int(left)) is None
    assert str(tmp_path / "disk") not in Path("/proc/self/mounts").read_text()


def test_a_small_disk_is_full_when_it_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk, pytest.raises(OSError, match="No space left"):
        (disk / "file").write_bytes(bytes(128 << 10))
