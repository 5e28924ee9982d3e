"""`python -m benchmarks.wan`: a site behind NAT, on the testbed (tests/testbed), against a whole `skerry up`.

Join: from exec of `skerry-edge join` to the first OK answer, to a caller on the node and to one at the cloud's gateway,
which is relayed. Every round is a machine that nobody knew, at a site of its own, and a service that waits for it.
Cut: callers on the node at a steady rate, while the WAN is cut again and again, silently and by reset. A call counts as
made in a cut when it was due between the cut and a second after its mending. Beside it: those that were due otherwise.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.testbed.installation import (
    GATEWAY,
    LINK,
    Agent,
    Call,
    Installation,
    Load,
    answered_at_s,
    installed,
    service_document,
    serving,
    site_documents,
)
from tests.testbed.network import Network, Site, Wan, network

JOIN_BOUND_S = 10.0
WAN = Wan(up_mbps=10, down_mbps=20, one_way_ms=15, jitter_ms=3, ports=(LINK,))
SETTLED_S = 5.0  # before calls are timed
CUT_S, BETWEEN_S, AFTER_S = 3.0, 5.0, 1.0
FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Span:
    begin_s: float
    end_s: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wan", description=__doc__)
    parser.add_argument("--joins", type=int, default=5)
    parser.add_argument("--calls", type=int, default=12_000)
    parser.add_argument("--rate-rps", type=float, default=200.0)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, network(Path(folder) / "logs", options.seed) as net:
        net.site("warm-up", WAN)
        on = installed(net, Path(folder), "warm-up", whole=True)
        agent = joined(on, net.sites["warm-up"])
        print(f"machine: {platform.node()}, {os.cpu_count()} cores, load {load:.1f}, {platform.platform()}")
        print(f"WAN: {WAN.up_mbps:g} Mbit/s up, {WAN.down_mbps:g} down, {2 * WAN.one_way_ms:g} ms round trip, NAT")
        good = joins(on, net, options.joins)
        good &= cuts(agent, net.sites["warm-up"], options.calls, options.rate_rps, options.callers)
    return 0 if good else 1


def joined(on: Installation, site: Site) -> Agent:
    agent = on.agent(site)
    agent.join(on.token(site.name))
    serving(agent, 60)
    return agent


def joins(on: Installation, net: Network, rounds: int) -> bool:
    took: list[tuple[float, float]] = []
    for number in range(rounds):
        name = f"site-{number}"
        site = net.site(name, WAN)
        on.documents(site_documents(name) + service_document(f"digits-{number}", name))
        agent, token = on.agent(site), on.token(name)
        agent.join(token)
        on_lan_s = agent.answered_at_s(f"digits-{number}", 60) - agent.joining_at_s
        relayed_s = answered_at_s(on.net.cloud, GATEWAY, f"digits-{number}", 60) - agent.joining_at_s
        took.append((on_lan_s, relayed_s))
        agent.running.end()
    for where, seconds in zip(("on the node", "at the gateway"), zip(*took, strict=True), strict=True):
        said = f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s of {rounds}"
        print(f"join to first answer {where:<15} {said}, <= {JOIN_BOUND_S:g} {verdict(max(seconds) <= JOIN_BOUND_S)}")
    return all(each <= JOIN_BOUND_S for pair in took for each in pair)


def cuts(agent: Agent, site: Site, calls: int, rate_rps: float, callers: int) -> bool:
    time.sleep(SETTLED_S)
    load, before = Load.start(agent, "digits", callers, rate_rps, calls), agent.status()
    spans: list[Span] = []
    while load.program.running:
        time.sleep(BETWEEN_S)
        begin_s = time.monotonic()
        (site.cut_by_reset if len(spans) % 2 else site.cut_silently)()
        time.sleep(CUT_S)
        site.mend()
        spans.append(Span(begin_s, time.monotonic() + AFTER_S))
    return told(load.calls(), spans) and agent.status()["process"] == before["process"]


def told(calls: Sequence[Call], spans: Sequence[Span]) -> bool:
    """None lost, and none slower than FACTOR x p99 beyond those that the machine itself makes slow."""
    answered_ms = {True: list[float](), False: list[float]()}
    for call in calls:
        if call.said == "OK":
            in_a_cut = any(span.begin_s <= call.due_s <= span.end_s for span in spans)
            answered_ms[in_a_cut].append(call.took_s * 1000)
    limit_ms = FACTOR * float(np.percentile(answered_ms[False], 99))
    lost = len(calls) - sum(map(len, answered_ms.values()))
    print(f"WAN cut {len(spans)} times under load: {lost} of {len(calls)} calls lost {verdict(not lost)}")
    shares = {}
    for in_a_cut, where in ((False, "link there"), (True, "link cut")):
        times = answered_ms[in_a_cut]
        slow = sum(each > limit_ms for each in times)
        shares[in_a_cut] = slow / len(times)
        quantiles = ", ".join(f"p{q} {np.percentile(times, q):.2f}" for q in (50, 95, 99))
        print(f"  {where:<10} {len(times)} calls, ms {quantiles}, most {max(times):.2f}; {slow} over {limit_ms:.2f} ms")
    said = f"{shares[True]:.2%} in cuts, {shares[False]:.2%} without"
    good = shares[True] <= shares[False]
    print(f"slower than {FACTOR:g} x p99 of the link being there: {said}; none through a cut {verdict(good)}")
    return not lost and good


def verdict(good: bool) -> str:
    return "ok" if good else "MISSED"


if __name__ == "__main__":
    raise SystemExit(main())
