"""The loops and the API over the real store and the real wire; the region, the cluster and the front are played."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from orchestrator.model.phases import JobPhase
from orchestrator.model.running import JobProgress
from orchestrator.model.stored import Batch, Key, Owner, Put
from orchestrator.store import open_store
from tests.control.fakes import FrontInHand, Running, control_plane, until, until_status
from workers.artifacts.digest import digest_of_file

pytestmark = pytest.mark.real

DIGEST = "sha256:" + "a" * 64
PLACES = """
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
"""
POLICY = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec:
  latency: {p99_ms: %s}
  preferred: [{weight: 10, expression: "site.kind == 'edge'"}]
  replicas: {min: 1, max: 2}
"""
SERVICE = """
apiVersion: skerry.dev/v1alpha1
kind: ModelService
metadata: {name: digits}
spec: {model: digits, policy: near, demand: [{zone: city, rate_rps: 10, request_bytes: 400, response_bytes: 100}]}
"""


def version(name: str) -> str:
    return f"""
apiVersion: skerry.dev/v1alpha1
kind: ModelVersion
metadata: {{name: {name}}}
spec:
  model: digits
  variants:
    - variant: litert-fp32
      artifact: {{digest: "{DIGEST[:-1]}{name[-1]}", size_bytes: 1000, format: tflite}}
      memory_mib: 32
      cores: 0.25
      accuracy: 0.97
      latency: {{p50_ms: 0.1, p99_ms: 0.2}}
"""


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
async def front(address: str) -> AsyncIterator[FrontInHand]:
    held = FrontInHand(address, rtt_ms={"edge-a": 8.0, "edge-b": 14.0})
    task = asyncio.create_task(held.run())
    yield held
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def running(tmp_path: Path, address: str) -> AsyncIterator[Running]:
    async with control_plane(tmp_path, address) as plane:
        yield plane


async def place_digits(running: Running, front: FrontInHand, p99_ms: float = 40) -> None:
    await running.apply(PLACES + "---" + POLICY % p99_ms + "---" + version("digits-1") + "---" + SERVICE)
    await until("a route to edge-a", lambda: front.sites_in_use().get("edge-a") == 1.0)
    await until_status(running, "ModelService", "digits", "Ready")


async def test_applied_service_runs_on_the_nearest_edge_site_and_says_why(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    status = await running.status_of("ModelService", "digits")
    assert [r["site"] for r in status["replicas"]] == ["edge-a"]  # type: ignore[attr-defined]
    assert any("took edge-a" in str(cause) for cause in status["causes"])  # type: ignore[attr-defined]
    assert running.region is not None
    assert running.region.wanted == []


async def test_a_slow_leg_moves_the_replica_after_its_successor_is_ready(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    served_without_break: list[bool] = []

    async def watch() -> None:
        while True:
            served_without_break.append(sum(front.sites_in_use().values()) > 0.99)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    front.rtt_ms["edge-a"] = 120.0
    await until("all calls on edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
    watching.cancel()
    assert all(served_without_break)
    status = await until_status(running, "ModelService", "digits", "Ready")
    assert any(str(c).startswith("left edge-a: too-slow") for c in status["causes"])  # type: ignore[attr-defined]
    await until("edge-a emptied", lambda: not front.assignments["edge-a-1"].replicas)


async def test_a_single_slow_report_moves_nothing(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    before = list(front.revisions)
    front.rtt_ms["edge-a"] = 120.0
    await asyncio.sleep(0.3)  # less than it takes to settle
    front.rtt_ms["edge-a"] = 8.0
    await asyncio.sleep(2.0)
    assert front.revisions == before
    assert front.sites_in_use() == {"edge-a": 1.0}


async def test_a_restarted_control_plane_takes_over_and_changes_nothing(
    tmp_path: Path, address: str, front: FrontInHand
) -> None:
    async with control_plane(tmp_path, address) as first:
        await place_digits(first, front)
        decision = (await first.status_of("ModelService", "digits"))["decision"]
        held, epoch = dict(front.assignments), front.epoch
    async with control_plane(tmp_path, address) as second:
        await until("orders of the next epoch", lambda: front.epoch > epoch)
        await asyncio.sleep(1.0)
        assert (await second.status_of("ModelService", "digits"))["decision"] == decision
        assert {n: a.revision for n, a in front.assignments.items()} == {n: a.revision for n, a in held.items()}
        assert front.sites_in_use() == {"edge-a": 1.0}


async def test_a_node_that_held_more_from_a_lost_store_obeys_again(running: Running, front: FrontInHand) -> None:
    front.held["edge-a-1"] = 5_000_000
    await place_digits(running, front)
    assert front.assignments["edge-a-1"].revision > 5_000_000
    settled = len(front.revisions)
    await asyncio.sleep(1.0)
    assert len(front.revisions) == settled


async def test_only_one_of_two_control_planes_decides(tmp_path: Path, address: str, front: FrontInHand) -> None:
    host, _, port = address.rpartition(":")
    other = f"{host}:{int(port) + 1 if int(port) < 65535 else int(port) - 1}"
    async with control_plane(tmp_path, address) as first, control_plane(tmp_path, other) as second:
        await place_digits(first, front)
        from protos.control.v1 import control_pb2

        epochs = [(await plane.control.Status(control_pb2.StatusRequest())).epoch for plane in (first, second)]
        assert sorted(epochs)[0] == 0
        assert sorted(epochs)[1] > 0


async def test_a_version_that_does_not_load_is_marked_and_the_running_one_stays(
    running: Running, front: FrontInHand
) -> None:
    await place_digits(running, front)
    front.broken.add("digits-2")
    await running.apply(version("digits-2"))
    failed = await until_status(running, "ModelVersion", "digits-2", "Failed")
    assert "the file is cut short" in str(failed["conditions"])
    assert front.sites_in_use() == {"edge-a": 1.0}
    await until("the running version alone", lambda: front.versions_assigned() == {"digits-1"})


async def test_an_impossible_policy_is_told_at_once_with_the_nearest_site(running: Running, front: FrontInHand) -> None:
    await running.apply(PLACES)
    await until("nodes known", lambda: front.epoch > 0)
    reply = await running.apply(POLICY % 1.5 + "---" + version("digits-1") + "---" + SERVICE)
    warning = next(w for r in reply.results for w in r.warnings)
    assert "nearest site" in warning
    assert "1.5" in warning
    status = await until_status(running, "ModelService", "digits", "Unplaceable")
    assert "NoSiteFits" in str(status["conditions"])


async def test_a_dry_run_writes_nothing(running: Running) -> None:
    reply = await running.apply(PLACES, dry_run=True)
    assert {r.action for r in reply.results} == {"created"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.status_of("Site", "local", "")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_one_bad_document_refuses_all(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.apply(PLACES + "---" + (POLICY % 40).replace("p99_ms", "p99") + "---" + version("d_1"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    first, second = str(refused.value.details()).split("\n")
    assert first.startswith("document 5 (PlacementPolicy near): spec.latency.p99: ")
    assert second.startswith("document 6 (ModelVersion d_1): metadata.name: ")
    with pytest.raises(grpc.aio.AioRpcError):
        await running.status_of("Site", "local", "")


async def test_every_object_that_cannot_be_changed_is_named(running: Running) -> None:
    both = version("digits-1") + "---" + version("digits-2")
    await running.apply(both)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.apply(both.replace("cores: 0.25", "cores: 0.5"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert [line.split()[1] for line in str(refused.value.details()).split("\n")] == [
        "default/digits-1",
        "default/digits-2",
    ]


async def test_a_deleted_policy_stops_nothing(running: Running, front: FrontInHand) -> None:
    await place_digits(running, front)
    from protos.control.v1 import control_pb2

    ref = control_pb2.ObjectRef(kind="PlacementPolicy", namespace="default", name="near")
    await running.control.Delete(control_pb2.DeleteRequest(ref=ref))
    await asyncio.sleep(2.0)
    assert front.sites_in_use() == {"edge-a": 1.0}


async def write_as_newer_release(running: Running, *changed: tuple[str, str]) -> None:
    """Into the store, past this release's checks: kind and name, and a field that nobody here knows."""
    store = await asyncio.to_thread(open_store, running.settings.store)
    found = {(one.key.kind, one.key.name): one for one in store.list_objects("")[0]}
    puts = []
    for kind, name in changed:
        before = found.get((kind, name))
        spec = {**(before.spec if before else {"kind": "edge", "jurisdiction": "EU"}), "orbit": "low"}
        key = before.key if before else Key(kind, "", name)
        puts.append(Put(key, Owner.COMMAND, None, spec=spec, labels={}))
    await asyncio.to_thread(store.commit, Batch(writes=tuple(puts)))
    store.close()


async def unreadable_parts(running: Running) -> dict[str, str]:
    from protos.control.v1 import control_pb2

    parts = (await running.control.Status(control_pb2.StatusRequest())).parts
    return {f"{part.kind}/{part.name}": part.detail for part in parts if part.phase == "unreadable"}


async def test_an_object_of_a_newer_release_is_left_out_and_all_else_goes_on(
    running: Running, front: FrontInHand, caplog: pytest.LogCaptureFixture
) -> None:
    await running.apply(PLACES)
    await write_as_newer_release(running, ("Site", "edge-x"), ("Zone", "suburb"))
    await place_digits(running, front)
    found = await unreadable_parts(running)
    assert sorted(found) == ["site/edge-x", "zone/suburb"]
    assert found["site/edge-x"].startswith("spec.orbit: 'low': unknown field; accepted here: kind, jurisdiction")
    assert "another one wrote" in found["site/edge-x"]
    told = [record for record in caplog.records if record.getMessage() == "object cannot be read and is left out"]
    assert sorted(record.__dict__["object"] for record in told) == ["Site edge-x", "Zone suburb"]  # in many ticks
    reply = await running.apply(SERVICE.replace("rate_rps: 10", "rate_rps: 11"))  # its warnings come of a snapshot
    assert [list(one.warnings) for one in reply.results] == [[]]
    await running.apply(PLACES.replace("edge-b", "edge-x").replace("city", "suburb"))
    await until("a tick", lambda: front.sites_in_use() == {"edge-a": 1.0})
    end_s = asyncio.get_running_loop().time() + 10
    while await unreadable_parts(running):
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.05)


async def test_a_replica_moves_from_a_site_that_cannot_be_read_but_never_to_nowhere(
    running: Running, front: FrontInHand
) -> None:
    await place_digits(running, front)
    await write_as_newer_release(running, ("Site", "edge-a"))
    await until("all calls on edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")
    await write_as_newer_release(running, ("Site", "edge-b"), ("Site", "local"))
    await until_status(running, "ModelService", "digits", "Degraded")
    await asyncio.sleep(2.0)  # longer than it takes to settle and to drain
    assert front.sites_in_use() == {"edge-b": 1.0}


@pytest.mark.parametrize(
    ("kind", "name"), [("ModelService", "digits"), ("PlacementPolicy", "near"), ("ModelVersion", "digits-1")]
)
async def test_a_service_whose_parts_cannot_be_read_goes_on_and_says_why(
    running: Running, front: FrontInHand, kind: str, name: str
) -> None:
    await place_digits(running, front)
    held = {node: list(one.replicas) for node, one in front.assignments.items()}
    await write_as_newer_release(running, (kind, name))
    status = await until_status(running, "ModelService", "digits", "Degraded")
    assert "spec.orbit" in str(status["conditions"])
    await asyncio.sleep(1.0)
    assert front.sites_in_use() == {"edge-a": 1.0}
    now = {node: list(one.replicas) for node, one in front.assignments.items()}
    assert [r.artifact for r in now["edge-a-1"]] == [r.artifact for r in held["edge-a-1"]]


async def test_a_model_is_pushed_beside_a_version_that_cannot_be_read(running: Running) -> None:
    from protos.control.v1 import control_pb2

    await running.apply(version("digits-1"))
    await write_as_newer_release(running, ("ModelVersion", "digits-1"))
    file = Path(__file__).parents[1] / "models" / "digits-int8.tflite"
    digest, size_bytes = digest_of_file(file)
    header = control_pb2.PushHeader(
        name="digits", format="tflite", digest=digest, size_bytes=size_bytes, owner="command"
    )

    async def chunks() -> AsyncIterator[control_pb2.PushChunk]:
        yield control_pb2.PushChunk(header=header)
        yield control_pb2.PushChunk(data=file.read_bytes())

    made = await running.control.Push(chunks())
    assert made.ref.name == f"digits-{digest.removeprefix('sha256:')[:12]}"


async def test_a_job_claims_its_workers_and_frees_them(running: Running) -> None:
    await running.apply(PLACES)
    job = """
apiVersion: skerry.dev/v1alpha1
kind: TrainingJob
metadata: {name: %s}
spec: {model: digits, recipe: digits-cnn, workers: 3, batch_size: 33}
"""
    await running.apply(job % "one" + "---" + job % "two")
    await until_status(running, "TrainingJob", "one", "Running")
    waiting = await until_status(running, "TrainingJob", "two", "Pending")
    assert "local" in str(waiting["message"])  # four cores, of which three are claimed
    (one,) = [name for name in running.cluster.jobs if name.startswith("default.one.")]
    running.cluster.jobs[one] = JobProgress(JobPhase.REJECTED, 10, 10, "0.91 < 0.95", {"a": 1.0}, "{}")
    await until_status(running, "TrainingJob", "one", "Rejected")
    await until_status(running, "TrainingJob", "two", "Running")


async def test_another_variant_of_the_running_version_is_taken_over_in_place(
    running: Running, front: FrontInHand
) -> None:
    """The decision in force names a variant that the changed service does not have any more."""
    small = version("digits-1").split("  variants:")[1].replace("litert-fp32", "litert-int8").replace("a1", "b1")
    await running.apply(PLACES + "---" + POLICY % 40 + "---" + version("digits-1") + small + "---" + SERVICE)
    await until("a route", lambda: front.sites_in_use().get("edge-a") == 1.0)
    before = {r.artifact.digest for a in front.assignments.values() for r in a.replicas}
    pinned = "litert-fp32" if "b1" in "".join(before)[-2:] else "litert-int8"
    await running.apply(SERVICE.replace("spec: {model", f"spec: {{variant: {pinned}, model"))
    digests = lambda: {r.artifact.digest for a in front.assignments.values() for r in a.replicas}  # noqa: E731
    await until("the other variant alone", lambda: len(digests()) == 1 and digests() != before)
    assert sum(front.sites_in_use().values()) == pytest.approx(1.0)


async def test_a_node_that_a_killed_front_does_not_list_again_is_silent(running: Running, front: FrontInHand) -> None:
    policy = (POLICY % 40).replace("replicas:", "disconnect: {lost_after_s: 1}\n  replicas:")
    await running.apply(PLACES + "---" + policy + "---" + version("digits-1") + "---" + SERVICE)
    await until("a route to edge-a", lambda: front.sites_in_use().get("edge-a") == 1.0)
    del front.rtt_ms["edge-a"]
    await until("all calls on edge-b", lambda: front.sites_in_use() == {"edge-b": 1.0})
    await until_status(running, "ModelService", "digits", "Ready")
    decided = (await running.status_of("ModelService", "digits"))["decision"]
    await asyncio.sleep(4.0)  # a lost node must not look tempting again
    assert (await running.status_of("ModelService", "digits"))["decision"] == decided
    assert front.sites_in_use() == {"edge-b": 1.0}


async def test_nodes_are_listed_with_what_they_hold_attached_and_silent(running: Running, front: FrontInHand) -> None:
    from protos.control.v1 import control_pb2

    await place_digits(running, front)
    status = await running.control.Status(control_pb2.StatusRequest())
    first, second = status.nodes
    assert (first.name, first.site, first.front, first.phase, first.silent_s) == (
        "edge-a-1",
        "edge-a",
        "f",
        "attached",
        0.0,
    )
    assert (first.memory_bytes, first.compute_millis) == (1 << 30, 4000)
    assert [one.phase for one in first.replicas] == ["ready"]
    assert (second.name, len(second.replicas)) == ("edge-b-1", 0)
    del front.rtt_ms["edge-b"]
    end_s = asyncio.get_running_loop().time() + 10
    while (second := (await running.control.Status(control_pb2.StatusRequest())).nodes[1]).phase != "unknown":
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.02)
    assert (second.name, second.front) == ("edge-b-1", "f")
    assert second.silent_s > 0


async def test_a_node_that_is_away_at_a_restart_is_waited_for(tmp_path: Path, address: str, front: FrontInHand) -> None:
    """Its policy says 60 s; a control plane that has just begun does not know better."""
    async with control_plane(tmp_path, address) as first:
        await place_digits(first, front)
        rtt_ms = front.rtt_ms.pop("edge-a")
        held = front.assignments["edge-a-1"]
    async with control_plane(tmp_path, address) as second:
        end_s = asyncio.get_running_loop().time() + 13  # longer than the grace for reports
        while asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(0.2)
            assert not front.assignments["edge-b-1"].replicas
        status = await until_status(second, "ModelService", "digits", "Degraded")
        assert "edge-a-1 has not been heard of" in str(status["conditions"])
        front.rtt_ms["edge-a"] = rtt_ms
        await until_status(second, "ModelService", "digits", "Ready")
        assert front.assignments["edge-a-1"] == held


CLOUD = (POLICY % 40).replace("edge", "region").replace("min: 1", "min: 2").replace("name: near", "name: cloud")


async def test_cloud_replicas_stay_routed_over_a_restart(tmp_path: Path, address: str, front: FrontInHand) -> None:
    service = SERVICE.replace("policy: near", "policy: cloud")
    async with control_plane(tmp_path, address) as first:
        await first.apply(PLACES + "---" + CLOUD + "---" + version("digits-1") + "---" + service)
        await until_status(first, "ModelService", "digits", "Ready")
        await until("routes", lambda: front.sites_in_use().get("local") is not None)
        region, epoch = first.region, front.epoch
        first.region = None  # its replicas outlive this control plane
    async with control_plane(tmp_path, address, region) as second:
        seen: list[bool] = []
        end_s = asyncio.get_running_loop().time() + 4
        while asyncio.get_running_loop().time() < end_s:
            seen.append("local" in front.sites_in_use())
            await asyncio.sleep(0.02)
        assert all(seen)
        assert front.epoch > epoch
        await until_status(second, "ModelService", "digits", "Ready")


async def test_a_job_created_anew_is_another_job(running: Running) -> None:
    from protos.control.v1 import control_pb2

    await running.apply(PLACES)
    job = """
apiVersion: skerry.dev/v1alpha1
kind: TrainingJob
metadata: {name: one}
spec: {model: digits, recipe: digits-cnn, workers: 3, batch_size: 33}
"""
    await running.apply(job)
    await until_status(running, "TrainingJob", "one", "Running")
    first = set(running.cluster.jobs)
    ref = control_pb2.ObjectRef(kind="TrainingJob", namespace="default", name="one")
    await running.control.Delete(control_pb2.DeleteRequest(ref=ref))
    await running.apply(job)
    await until_status(running, "TrainingJob", "one", "Running")
    assert first.isdisjoint(running.cluster.jobs)


async def test_a_newest_version_that_its_policy_refuses_stops_nothing(running: Running, front: FrontInHand) -> None:
    policy = (POLICY % 40).replace("replicas:", "accuracy: {min: 0.95}\n  replicas:")
    await running.apply(PLACES + "---" + policy + "---" + version("digits-1") + "---" + SERVICE)
    await until_status(running, "ModelService", "digits", "Ready")
    await running.apply(version("digits-2").replace("      accuracy: 0.97\n", ""))
    await asyncio.sleep(2.0)
    status = await until_status(running, "ModelService", "digits", "Ready")
    assert status["version"] == "digits-1"


async def test_what_the_control_plane_made_its_operator_may_delete(running: Running) -> None:
    from protos.control.v1 import control_pb2

    await running.apply(PLACES)
    await running.apply(
        """
apiVersion: skerry.dev/v1alpha1
kind: TrainingJob
metadata: {name: one}
spec: {model: digits, recipe: digits-cnn}
"""
    )
    await until_status(running, "TrainingJob", "one", "Running")
    (job,) = running.cluster.jobs
    running.cluster.finish(job, running.settings.state_dir / "jobs")
    status = await until_status(running, "TrainingJob", "one", "Succeeded")
    ref = control_pb2.ObjectRef(kind="ModelVersion", namespace="default", name=str(status["version"]))
    await running.control.Delete(control_pb2.DeleteRequest(ref=ref))
