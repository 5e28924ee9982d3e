"""The picture of the docs, by the real command: `python -m tests.control.draw_example docs/images/placement.png`.

The control plane, its store and its wire are the real ones. A front, its nodes and a region are played: a city, a mill
with callers of its own, a port, and a lighthouse far out.
"""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from orchestrator.cli.main import main
from tests.control.fakes import FrontInHand, RegionOnPaper, control_plane, until_status

RTT_MS = {"harbour": 6.0, "north-quay": 9.0, "mill": 13.0, "depot": 17.5, "airfield": 24.0, "lighthouse": 121.0}
PLACES = """
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: local}
spec: {kind: region, jurisdiction: EU, price_usd_per_hour: 0.1, quota: {memory_mib: 2048, cores: 4}}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: us-east}
spec: {kind: region, jurisdiction: US, price_usd_per_hour: 0.04, quota: {memory_mib: 65536, cores: 32}}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: harbour}
spec: {kind: edge, jurisdiction: EU, failure_domain: port, price_usd_per_hour: 0.02}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: north-quay}
spec: {kind: edge, jurisdiction: EU, failure_domain: port, price_usd_per_hour: 0.02}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: mill}
spec: {kind: edge, jurisdiction: EU, failure_domain: valley, price_usd_per_hour: 0.03}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: depot}
spec: {kind: edge, jurisdiction: EU, failure_domain: valley, price_usd_per_hour: 0.03}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: airfield}
spec: {kind: edge, jurisdiction: CH, price_usd_per_hour: 0.03}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: lighthouse}
spec: {kind: edge, jurisdiction: EU, price_usd_per_hour: 0.01}
---
apiVersion: skerry.dev/v1alpha1
kind: Zone
metadata: {name: city}
spec: {region: local}
---
apiVersion: skerry.dev/v1alpha1
kind: Zone
metadata: {name: plant}
spec: {site: mill}
---
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: line}
spec:
  latency: {p99_ms: 40}
  preferred: [{weight: 10, expression: "site.kind == 'edge'"}]
  residency: {jurisdictions: [EU, CH]}
  replicas: {min: 2, max: 20, min_failure_domains: 2}
"""


def version(model: str, number: int, service_ms: float) -> str:
    digest = f"{model}{number}".encode().hex().ljust(64, "0")
    return f"""
apiVersion: skerry.dev/v1alpha1
kind: ModelVersion
metadata: {{name: {model}-{number}}}
spec:
  model: {model}
  variants:
    - variant: litert-int8
      artifact: {{digest: "sha256:{digest}", size_bytes: 4000000, format: tflite}}
      memory_mib: 96
      cores: 1
      accuracy: 0.97
      latency: {{p50_ms: {service_ms}, p99_ms: {2 * service_ms}}}
"""


def service(model: str, city_rps: int, plant_rps: int) -> str:
    return f"""
apiVersion: skerry.dev/v1alpha1
kind: ModelService
metadata: {{name: {model}}}
spec:
  model: {model}
  policy: line
  demand:
    - {{zone: city, rate_rps: {city_rps}, request_bytes: 4000, response_bytes: 400}}
    - {{zone: plant, rate_rps: {plant_rps}, request_bytes: 4000, response_bytes: 400}}
"""


BEFORE = "---".join((PLACES, version("welds", 1, 3), service("welds", 700, 120), version("pallets", 1, 2),
                     service("pallets", 300, 60)))  # fmt: skip
# Three times the calls, and a new version of the other model.
CHANGE = "---".join((service("welds", 2200, 240), version("pallets", 2, 2)))


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def draw(out: str) -> int:
    """What the command ends with."""
    address = free_address()
    with tempfile.TemporaryDirectory() as folder:
        change = Path(folder) / "change.yaml"
        change.write_text(CHANGE)
        async with control_plane(Path(folder), address, RegionOnPaper(address)) as running:
            front = asyncio.create_task(FrontInHand(address, rtt_ms=dict(RTT_MS)).run())
            try:
                await running.apply(BEFORE)
                for name in ("welds", "pallets"):
                    await until_status(running, "ModelService", name, "Ready", 30.0)
                arguments = ["plan", "-f", str(change), "--png", out, "--control", address]
                return await asyncio.to_thread(main, arguments)
            finally:
                front.cancel()
                await asyncio.gather(front, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(draw(sys.argv[1])) == 2 else 1)  # 2: there are changes
