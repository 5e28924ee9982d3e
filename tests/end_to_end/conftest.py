"""One installation for all end-to-end tests: control plane in Ray Serve, a front, two agents behind delayed links."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.demo.stage import LEGS, TRITON, Stage, stage, wait_for
from orchestrator.cloud.ray_node import MARKER, instance_of

MODEL = Path(__file__).parents[1] / "models" / "digits-fp32.tflite"
OBJECTS = """
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: local}
spec: {kind: region, jurisdiction: EU, quota: {memory_mib: 4096, cores: 4}}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: edge-a}
spec: {kind: edge, jurisdiction: EU}
---
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: edge-b}
spec: {kind: edge, jurisdiction: EU}
---
apiVersion: skerry.dev/v1alpha1
kind: Zone
metadata: {name: city}
spec: {region: local}
---
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: at-the-edge}
spec:
  required: ["site.kind == 'edge'"]
  replicas: {min: 2, max: 2, min_failure_domains: 2}
  disconnect: {lost_after_s: 600}
---
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: in-the-cloud}
spec:
  required: ["site.kind == 'region'"]
  replicas: {min: 2, max: 2}
"""
SERVICE = """
---
apiVersion: skerry.dev/v1alpha1
kind: ModelService
metadata: {name: %s}
spec: {model: digits, policy: %s, demand: [{zone: city, rate_rps: 50, request_bytes: 400, response_bytes: 300}]}
"""


def processes(on: Stage, words: str) -> list[psutil.Process]:
    """Of this installation, those whose command line has the words."""
    instance = instance_of(on.folder / "state")
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == instance and words in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def is_ready(on: Stage, service: str) -> bool:
    return bool(on.get("service", service)["status"].get("phase") == "Ready")


@pytest.fixture(scope="session")
def installation() -> Iterator[Stage]:
    assert TRITON.exists(), f"{TRITON} is missing: run `make .venvs/tritonclient/ready`"
    folder = Path(tempfile.mkdtemp(prefix="skerry-e2e-"))
    with stage(folder / "run") as on:
        from workers.training.digits import load_digits

        held_out = load_digits().test
        np.savez(on.folder / "test-images.npz", images=held_out.images.astype(np.float32), labels=held_out.labels)
        on.skerry("up", "--detach")
        objects = on.folder / "objects.yaml"
        objects.write_text(OBJECTS + SERVICE % ("digits", "at-the-edge") + SERVICE % ("cloud-digits", "in-the-cloud"))
        on.skerry("apply", "-f", str(objects))
        on.skerry("model", "push", "digits", str(MODEL))
        for leg in LEGS[:2]:
            on.join(leg.site)
            on.start_agent(leg.site, on.start_wan(leg))
        for service in ("digits", "cloud-digits"):
            wait_for(f"{service} ready", lambda name=service: is_ready(on, name), 90)
        yield on
    shutil.rmtree(folder, ignore_errors=True)
