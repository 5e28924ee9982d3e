"""What control's Cloud and Trainer seams promise, on the parts that tests play and on a real Ray with Serve."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from orchestrator.cloud.ray_node import ray_temp_dir, start_embedded_ray
from orchestrator.control.seams import Cloud, Trainer
from orchestrator.model.phases import JobPhase
from orchestrator.model.running import CloudReplicas
from protos.link.v1 import link_pb2, link_pb2_grpc
from tests.control.fakes import ClusterOnPaper, RegionOnPaper
from workers.artifacts.library import ArtifactLibrary

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(300),
    # Ray's own, at import and at shutdown.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

MODEL = Path(__file__).parents[1] / "models" / "digits-int8.tflite"
JOB = """{"model": "digits", "recipe": "digits-cnn", "data": {"source": "sklearn-digits"}, "workers": 1, "epochs": 1,
"batch_size": 32, "seed": 0, "learning_rate": 0.005, "gate": {"accuracy_min": 0.0}, "variants": ["litert-fp32"]}"""
LIMIT_S = 60.0


@dataclass
class Registrations(link_pb2_grpc.ReplicaLinkServicer):
    """The control plane's end: which replicas hold their registration open."""

    held: dict[str, link_pb2.ReplicaReport] = field(default_factory=dict)

    async def Register(  # noqa: N802 - named by the wire
        self, request_iterator: AsyncIterator[link_pb2.ReplicaReport], context: object
    ) -> AsyncIterator[link_pb2.ReplicaOrders]:
        report = await anext(aiter(request_iterator))
        if report.phase == link_pb2.REPLICA_PHASE_READY:
            self.held[report.incarnation] = report
        try:
            yield link_pb2.ReplicaOrders()
            async for _later in request_iterator:
                pass
        finally:
            self.held.pop(report.incarnation, None)


@dataclass
class Region:
    cloud: Cloud
    registrations: Registrations
    good: str
    bad: str

    def replicas(self, count: int, service: str = "digits", digest: str = "") -> CloudReplicas:
        return CloudReplicas("default", service, "v1", digest or self.good, "tflite", count, 64 << 20, 250)

    async def until_held(self, service: str, count: int) -> set[str]:
        def held() -> set[str]:
            return {i for i, r in self.registrations.held.items() if r.service == service}

        await until(f"{count} replicas of {service}", lambda: len(held()) == count)
        return held()


async def until(what: str, holds: Callable[[], bool]) -> None:
    end_s = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < end_s, f"{what}: not within {LIMIT_S} s"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def ray_with_serve() -> Iterator[None]:
    import ray
    from ray import serve

    start_embedded_ray("contract")
    serve.start(http_options={"location": "NoServer"})
    yield
    serve.shutdown()
    ray.shutdown()
    shutil.rmtree(ray_temp_dir("contract"), ignore_errors=True)


@pytest.fixture(params=["on paper", "Ray Serve"])
async def region(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Region]:
    if request.param != "on paper":
        request.getfixturevalue("ray_with_serve")
    registrations = Registrations()
    server = grpc.aio.server()
    link_pb2_grpc.add_ReplicaLinkServicer_to_server(registrations, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    library = ArtifactLibrary(str(tmp_path / "artifacts"))
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(MODEL.read_bytes()[:1000])
    good, bad = library.add(MODEL)[0], library.add(cut)[0]
    cloud: Cloud
    if request.param == "on paper":
        cloud = RegionOnPaper(address, broken=frozenset({bad}))
    else:
        from orchestrator.cloud.serve import EmbeddedServe, ReplicaHome

        cloud = EmbeddedServe(ReplicaHome("local", address, str(tmp_path / "artifacts"), str(tmp_path / "cache")))
    yield Region(cloud, registrations, good, bad)
    await cloud.deploy([])
    await until("an empty region", lambda: not registrations.held)
    await server.stop(0)


async def test_a_region_runs_what_is_wanted_in_place(region: Region) -> None:
    await region.cloud.deploy([region.replicas(1)])
    first = await region.until_held("digits", 1)
    await region.cloud.deploy([region.replicas(2), region.replicas(1, "other")])
    assert first < await region.until_held("digits", 2)
    other = await region.until_held("other", 1)
    await region.cloud.deploy([region.replicas(1, "other")])
    await region.until_held("digits", 0)
    assert await region.until_held("other", 1) == other
    assert await region.cloud.problems() == {}


async def test_a_model_that_does_not_load_is_a_problem_with_a_name(region: Region) -> None:
    await region.cloud.deploy([region.replicas(1, "broken", region.bad), region.replicas(1)])
    await region.until_held("digits", 1)
    end_s = asyncio.get_running_loop().time() + LIMIT_S
    while ("default", "broken") not in await region.cloud.problems():
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.2)
    assert await region.until_held("broken", 0) == set()


@pytest.fixture(params=["on paper", "Ray Train"])
def trainer(request: pytest.FixtureRequest) -> Trainer:
    if request.param == "on paper":
        return ClusterOnPaper()
    request.getfixturevalue("ray_with_serve")
    from orchestrator.cloud.trainer import EmbeddedRayTrainer

    return EmbeddedRayTrainer()


async def test_a_cluster_knows_a_job_from_submission_to_stop(trainer: Trainer, tmp_path: Path) -> None:
    assert await trainer.progress("default.one") is None
    await trainer.submit("default.one", JOB, tmp_path / "one")
    seen = await trainer.progress("default.one")
    assert seen is not None
    assert seen.phase is JobPhase.RUNNING
    await trainer.submit("default.one", JOB, tmp_path / "one")
    lines, offset = await trainer.logs("default.one", 0)
    assert isinstance(lines, Sequence)
    assert offset >= 0
    await trainer.stop("default.one")
    assert await trainer.progress("default.one") is None
