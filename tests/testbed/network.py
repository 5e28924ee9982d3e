"""The networks of a testbed: a cloud, and sites behind NAT."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.namespaces import Namespace, Namespaces, wire
from tests.testbed.processes import Programs
from tests.testbed.toxiproxy import Toxiproxy

CLOUD = "203.0.113.1"
ROUTER_LAN, FIRST_NODE = "192.168.1.1", 11  # the same at each site, as in life
MIN_BURST_BYTES = 32 << 10

_UNCUT = "table inet cut {}\n"
_ROUTER_RULES = """
table inet cut {}
table ip nat {
  chain leaving { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
table inet firewall {
  chain through {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state established,related accept
    iifname "lan" accept
  }
}
"""
_MEND = "delete table inet cut\ntable inet cut {}\n"
# Before connection tracking on the way in: a router that hears nothing. All is dropped, so no end is told.
_SILENT = """
delete table inet cut
table inet cut {
  chain arriving { type filter hook prerouting priority -300; iifname "wan" drop; }
  chain leaving { type filter hook postrouting priority -300; oifname "wan" drop; }
}
"""
_RESET = """
delete table inet cut
table inet cut {
  chain through {
    type filter hook forward priority -10;
    oifname "wan" meta l4proto tcp reject with tcp reset
    iifname "wan" meta l4proto tcp reject with tcp reset
    iifname "wan" drop
    oifname "wan" drop
  }
}
"""
# To a proxy at the same port, unknown to whoever dials.
_REDIRECT = """
table ip delayed {
  chain arriving {
    type nat hook prerouting priority dstnat;
    iifname "site" ip daddr %s tcp dport { %s } redirect
  }
}
"""


@dataclass(frozen=True, slots=True)
class Wan:
    """A site's link. None: without a limit. Without delay, Toxiproxy is not there at all."""

    up_mbps: float | None = None
    down_mbps: float | None = None
    one_way_ms: float = 0.0
    jitter_ms: float = 0.0
    ports: tuple[int, ...] = ()  # of the cloud, that are delayed
    nat_idle_s: int | None = None  # after which the router forgets a flow; None: the kernel's 5 days


@dataclass(slots=True)
class Site:
    """A router with its WAN link, and nodes behind it."""

    name: str
    router: Namespace
    provider: Namespace
    nodes: list[Namespace] = field(default_factory=list)
    toxiproxy: Toxiproxy | None = None

    def cut_silently(self) -> None:
        """Nothing passes any more, and nobody is told; also not at the ends of open connections."""
        self.router.nft(_SILENT)

    def cut_behind_the_proxy(self) -> None:
        """As silent, but what Toxiproxy takes of a node's bytes it acknowledges: TCP there sees nothing amiss."""
        assert self.toxiproxy, f"site {self.name} has no Toxiproxy: give its Wan ports"
        self.provider.nft(_SILENT.replace('"wan"', '"cloud"'))

    def cut_by_reset(self) -> None:
        """Whoever sends is told by a TCP reset: open connections break at their next packet, new ones are refused."""
        self.router.nft(_RESET)

    def mend(self) -> None:
        """The link is there again, and so is the router's memory of its flows."""
        for namespace in (self.router, self.provider):
            namespace.nft(_MEND)


@dataclass(slots=True)
class Network:
    """One testbed: `cloud` has the address CLOUD."""

    namespaces: Namespaces
    programs: Programs
    seed: int
    cloud: Namespace
    sites: dict[str, Site] = field(default_factory=dict)

    def site(self, name: str, wan: Wan | None = None, nodes: int = 1) -> Site:
        wan, number = wan or Wan(), len(self.sites)
        make = self.namespaces.make
        built = Site(name, make(f"{name}-router"), make(f"{name}-provider"))
        self._provide(built, number)
        _route(built, wan)
        for index in range(nodes):
            built.nodes.append(make(f"{name}-{index + 1}"))
            _attach_node(built, index)
        for device, namespace, mbps in (("wan", built.router, wan.up_mbps), ("site", built.provider, wan.down_mbps)):
            if mbps is not None:
                limit_rate(namespace, device, mbps)
        if wan.ports:
            self._delay(built, wan)
        self.sites[name] = built
        return built

    def _provide(self, site: Site, number: int) -> None:
        """Cables and routes from the router to the cloud."""
        ours, theirs = f"198.18.{number}", f"198.51.100.{4 * number}"
        wire(self.cloud, f"site{number}", site.provider, "cloud")
        wire(site.provider, "site", site.router, "wan")
        self.cloud.ip("addr", "add", f"{ours}.1/30", "dev", f"site{number}")
        site.provider.ip("addr", "add", f"{ours}.2/30", "dev", "cloud")
        public = theirs.rpartition(".")[0]
        site.provider.ip("addr", "add", f"{public}.{4 * number + 1}/30", "dev", "site")
        site.router.ip("addr", "add", f"{public}.{4 * number + 2}/30", "dev", "wan")
        self.cloud.ip("route", "add", f"{theirs}/30", "via", f"{ours}.2")
        site.provider.ip("route", "add", CLOUD, "via", f"{ours}.1")
        site.router.ip("route", "add", "default", "via", f"{public}.{4 * number + 1}")
        site.provider.setting("net/ipv4/ip_forward", 1)
        site.provider.nft(_UNCUT)

    def _delay(self, site: Site, wan: Wan) -> None:
        site.provider.nft(_REDIRECT % (CLOUD, ", ".join(str(port) for port in wan.ports)))
        site.toxiproxy = Toxiproxy.start(self.programs, site.provider, site.name, self.seed)
        for port in wan.ports:
            site.toxiproxy.pass_on(port, CLOUD)
        if wan.one_way_ms or wan.jitter_ms:
            site.toxiproxy.delay(wan.one_way_ms, wan.jitter_ms)


def _route(site: Site, wan: Wan) -> None:
    router = site.router
    router.ip("link", "add", "lan", "type", "bridge")
    router.ip("addr", "add", f"{ROUTER_LAN}/24", "dev", "lan")
    router.ip("link", "set", "lan", "up")
    router.setting("net/ipv4/ip_forward", 1)
    router.nft(_ROUTER_RULES)
    # A flow that was forgotten is not taken up again in its middle: as NAT cannot, since the port was given away.
    router.setting("net/netfilter/nf_conntrack_tcp_loose", 0)
    if wan.nat_idle_s is not None:
        router.setting("net/netfilter/nf_conntrack_tcp_timeout_established", wan.nat_idle_s)


def _attach_node(site: Site, index: int) -> None:
    node, port = site.nodes[index], f"port{index}"
    wire(node, "eth0", site.router, port)
    site.router.ip("link", "set", port, "master", "lan")
    node.ip("addr", "add", f"{node_address(index)}/24", "dev", "eth0")
    node.ip("route", "add", "default", "via", ROUTER_LAN)


def node_address(index: int) -> str:
    """On its LAN."""
    return f"{ROUTER_LAN.rpartition('.')[0]}.{FIRST_NODE + index}"


def limit_rate(namespace: Namespace, device: str, mbps: float) -> None:
    """Of what leaves there, by a token bucket that lets 10 ms of it pass at once."""
    burst_bytes = max(MIN_BURST_BYTES, round(mbps * 1e6 / 8 / 100))
    kbit = round(mbps * 1000)
    bucket = ("tbf", "rate", f"{kbit}kbit", "burst", str(burst_bytes), "latency", "100ms")
    namespace.run("tc", "qdisc", "replace", "dev", device, "root", *bucket)


@contextlib.contextmanager
def network(folder: Path, seed: int) -> Iterator[Network]:
    """With a cloud and no site yet. All is taken down again, whatever happened."""
    print(f"testbed: seed {seed}")
    namespaces, programs = Namespaces(), Programs(folder)
    try:
        cloud = namespaces.make("cloud")
        cloud.ip("addr", "add", f"{CLOUD}/32", "dev", "lo")
        yield Network(namespaces, programs, seed, cloud)
    finally:
        programs.close()
        namespaces.close()
