"""An agent's process against a front on a real server."""

import asyncio
import signal
import subprocess
import sys
import time

import grpc
import psutil
import pytest
from conftest import DENSE, DENSE_V2, SKERRY_EDGE, Node, infer_request, replica, wait_for
from fake_front import WAIT_S, FakeFront, digest_of

from protos.inference.v2 import inference_pb2 as oip
from protos.inference.v2 import inference_pb2_grpc as oip_grpc
from protos.link.v1 import link_pb2 as pb

pytestmark = pytest.mark.real

OK = 0


async def serving(front: FakeFront, node: Node, lan: str = "none", *more: str) -> None:
    """One replica, assigned, fetched and ready."""
    front.assign(1, replica("r1", front.add(DENSE)))
    node.start(front.address, lan, *more)
    await front.until_phase("r1", "READY")


async def test_an_assigned_model_is_fetched_and_answers_relayed_calls(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    hello = front.hellos[0]
    assert (hello.node, hello.site, hello.lan_address, hello.held_revision) == ("n1", "s1", "", 0)
    assert hello.epoch > 0
    assert hello.software.protocol == 1
    state = front.state("r1")
    result = await front.relay("ModelInfer", infer_request(), replica="r1", incarnation=state.incarnation)
    assert result.code == OK, result.message
    assert oip.ModelInferResponse.FromString(result.payload).id == "7"
    assert dict(result.metadata) == {
        "skerry-site": "s1",
        "skerry-node": "n1",
        "skerry-version": "v1",
        "skerry-decision": "d1",
        "skerry-replica": "r1",
    }
    assert front.relay_hellos[0].session == front.fetches[0].session == "session-1"


async def test_each_class_has_a_connection_of_its_own(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    await front.until(lambda: front.peers["probe"], "a probe")
    peers = [peer for of_class in front.peers.values() for peer in of_class]
    assert len(peers) == len(set(peers)) == 4


async def test_a_node_without_lan_listens_on_nothing_at_all(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    assert node.process
    sockets = psutil.Process(node.process.pid).net_connections("all")
    assert [each for each in sockets if each.status == psutil.CONN_LISTEN or each.type == 2] == []
    assert {each.raddr.port for each in sockets if each.raddr and each.family != psutil.AF_LINK} == {front.port}
    assert (await front.relay("ModelInfer", infer_request())).code == OK


async def test_refusals_travel_with_their_code_and_reason(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    wrong_shape = await front.relay("ModelInfer", infer_request(columns=5))
    assert wrong_shape.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "5" in wrong_shape.message
    assert "4" in wrong_shape.message
    unknown = await front.relay("ModelInfer", infer_request("nobody"))
    assert unknown.code == grpc.StatusCode.NOT_FOUND.value[0]
    other = await front.relay("ModelInfer", infer_request(), incarnation="r1.9.old")
    assert other.code == grpc.StatusCode.UNAVAILABLE.value[0]
    malformed = await front.relay("ModelInfer", b"\xff\xff\xff")
    assert malformed.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    method = await front.relay("Nonsense", b"")
    assert method.code == grpc.StatusCode.UNIMPLEMENTED.value[0]


async def test_legs_are_reported_with_their_method(front: FakeFront, node: Node) -> None:
    node.start(front.address)
    await front.until(lambda: any(leg.up_bps for report in front.reports for leg in report.legs), "a throughput")
    leg = front.reports[-1].legs[0]
    assert (leg.source, leg.target, leg.method) == ("site/s1", "front/f1", "grpc-echo-min3")
    assert 0 < leg.rtt_p50_ms <= leg.rtt_p99_ms < 1000
    assert leg.down_bps > 0
    assert front.heartbeats + len(front.reports) > 1


async def test_the_machine_and_what_it_uses_are_reported(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    machine = front.hellos[0].machine
    assert machine.cpus > 0
    assert machine.memory_bytes > 0
    await front.until(lambda: front.reports[-1].HasField("usage"), "a usage")
    usage = front.reports[-1].usage
    assert usage.sample >= 1
    assert 20 << 20 < usage.agent_bytes < machine.memory_bytes
    assert 0 < usage.disk_free_bytes <= machine.disk_bytes


async def test_calls_on_the_lan_are_reported_as_totals_also_refused_ones(front: FakeFront, node: Node) -> None:
    await serving(front, node, "127.0.0.1:0")
    async with grpc.aio.insecure_channel(front.hellos[0].lan_address) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(2):
            await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request()))
        with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
            await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request(columns=5)))
    assert (await front.relay("ModelInfer", infer_request())).code == OK  # counted by its front

    def totals() -> list[tuple[str, str, int, int]]:
        return [(each.namespace, each.service, each.calls, each.failed) for each in front.reports[-1].demand]

    await front.until(lambda: totals() == [("default", "dense", 3, 0)], "a report of three calls")


@pytest.mark.parametrize("spoilt", ["wrong", "truncated", "cut off"])
async def test_a_spoilt_stream_is_fetched_again(front: FakeFront, node: Node, spoilt: str) -> None:
    seen: list[int] = []

    def spoil(offset: int, data: bytes) -> bytes | None:
        seen.append(offset)
        if len(seen) != 2:  # the second piece of the first fetch
            return data
        return {"wrong": b"x" * len(data), "truncated": data[:-1], "cut off": None}[spoilt]

    front.spoil = spoil
    await serving(front, node)
    assert len(front.fetches) == 2
    assert [fetch.offset for fetch in front.fetches] == [0, {"wrong": 0, "truncated": 1351, "cut off": 1000}[spoilt]]
    assert (await front.relay("ModelInfer", infer_request())).code == OK


async def test_an_artifact_that_is_always_spoilt_is_never_loaded(front: FakeFront, node: Node) -> None:
    front.spoil = lambda offset, data: b"x" * len(data)
    front.assign(1, replica("r1", front.add(DENSE)))
    node.start(front.address)
    await front.until(lambda: len(front.fetches) >= 2 and "digest" in front.state("r1").reason, "two refused fetches")
    assert (await front.relay("ModelInfer", infer_request())).code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert list((node.state_dir / "artifacts" / "sha256").iterdir()) == []


async def test_a_model_that_does_not_load_is_failed_and_the_running_one_stays(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    front.assign(2, replica("r2", front.add(b"this is no model" * 10), "v2"))
    state = await front.until_phase("r2", "FAILED")
    assert "does not load" in state.reason
    await front.until_phase("r1", "READY")
    result = await front.relay("ModelInfer", infer_request())
    assert result.metadata["skerry-version"] == "v1"


async def test_a_replica_with_a_process_of_its_own_answers_and_its_crash_ends_nothing_else(
    front: FakeFront, node: Node
) -> None:
    artifact = front.add(DENSE)
    other = replica("r2", front.add(DENSE_V2), "v2", service="other")
    own = replica("r1", artifact, isolation=pb.ISOLATION_PROCESS, memory_bytes=128 << 20, compute_millis=250)
    front.assign(1, own, other)
    agent = node.start(front.address, "127.0.0.1:0")
    first = await front.until_phase("r1", "READY")
    await front.until_phase("r2", "READY")
    async with grpc.aio.insecure_channel(front.hellos[0].lan_address) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request()))
        assert answer.parameters["skerry_replica"].string_param == "r1"
        (process,) = replicas_of(agent)
        process.send_signal(signal.SIGSEGV)
        failed = await front.until_phase("r1", "FAILED")
        assert "ended by signal SIGSEGV" in failed.reason
        assert "started again 1 s later" in failed.reason
        assert failed.restarts == 1
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request()))
        await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request("other")))
        again = await front.until_phase("r1", "READY")
        assert (again.restarts, again.incarnation != first.incarnation) == (1, True)
        await stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request()))
    assert len(front.hellos) == 1, "the link was never lost"
    (process,) = replicas_of(agent)
    node.stop()
    process.wait(WAIT_S)


async def test_one_that_hangs_leaves_the_agent_and_the_other_models_alone(front: FakeFront, node: Node) -> None:
    own = replica("r1", front.add(DENSE), isolation=pb.ISOLATION_PROCESS)
    front.assign(1, own, replica("r2", front.add(DENSE_V2), "v2", service="other"))
    agent = node.start(front.address, "127.0.0.1:0")
    await front.until_phase("r1", "READY")
    await front.until_phase("r2", "READY")
    (process,) = replicas_of(agent)
    process.suspend()
    stuck = [front.relay("ModelInfer", infer_request()) for _ in range(3)]
    waiting = [asyncio.ensure_future(call) for call in stuck]
    beats = front.heartbeats
    for _ in range(20):
        assert (await front.relay("ModelInfer", infer_request("other"))).code == OK
    await front.until(lambda: front.heartbeats > beats, "a heartbeat")
    assert not any(call.done() for call in waiting)
    process.kill()  # as the agent does after 60 s
    codes = {(await call).code for call in waiting}
    assert codes == {grpc.StatusCode.UNAVAILABLE.value[0]}
    await front.until_phase("r1", "FAILED")
    await front.until_phase("r1", "READY")


async def test_a_runaway_file_is_refused_before_it_shares_the_agents_process(front: FakeFront, node: Node) -> None:
    """One flipped byte makes a size of 4 one of 1.1e9: loaded in the agent it took 4.6 GB and did not return."""
    runaway = bytearray(DENSE)
    runaway[1303] = 69
    await serving(front, node)
    front.assign(2, replica("r1", front.add(DENSE)), replica("r2", front.add(bytes(runaway)), "v2", service="other"))
    state = await front.until_phase("r2", "FAILED")
    assert "raise memory_mib" in state.reason
    assert (await front.relay("ModelInfer", infer_request())).code == OK
    assert node.process
    assert psutil.Process(node.process.pid).memory_info().rss < 200 << 20


def replicas_of(agent: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(agent.pid).children()


async def test_a_successor_is_loaded_beside_and_then_takes_over(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    old = front.state("r1").incarnation
    front.assign(2, replica("r2", front.add(DENSE_V2), "v2"))
    codes: list[int] = []
    versions: set[str] = set()

    async def call() -> None:
        while front.state("r1").replica:  # until the predecessor is gone
            result = await front.relay("ModelInfer", infer_request())
            codes.append(result.code)
            versions.add(result.metadata["skerry-version"])

    async with asyncio.timeout(WAIT_S):
        await call()
    await front.until_phase("r2", "READY")
    assert set(codes) == {OK}
    assert versions == {"v1", "v2"}
    stale = await front.relay("ModelInfer", infer_request(), incarnation=old)
    assert stale.code == grpc.StatusCode.UNAVAILABLE.value[0]


async def test_a_call_routed_to_the_predecessor_is_answered_by_it(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    old = front.state("r1").incarnation
    front.assign(2, replica("r1", front.add(DENSE)), replica("r2", front.add(DENSE_V2), "v2"))
    await front.until_phase("r2", "READY")
    for incarnation, version in ((old, "v1"), (front.state("r2").incarnation, "v2"), ("", "v2")):
        result = await front.relay("ModelInfer", infer_request(), incarnation=incarnation)
        assert (result.code, result.metadata["skerry-version"]) == (OK, version)


async def test_drained_then_removed(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    front.assign(2, replica("r1", front.add(DENSE), draining=True))
    await front.until_phase("r1", "STOPPED")
    assert (await front.relay("ModelInfer", infer_request())).code == grpc.StatusCode.UNAVAILABLE.value[0]
    front.assign(3)
    await front.until(lambda: front.reports[-1].held_revision == 3, "revision 3")
    assert not front.reports[-1].replicas
    assert (await front.relay("ModelInfer", infer_request())).code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_a_lost_front_is_dialled_again_and_nothing_restarts(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    incarnation, port = front.state("r1").incarnation, front.port
    await front.stop()
    front.reports.clear()
    await front.start(port)
    state = await front.until_phase("r1", "READY")
    assert state.incarnation == incarnation
    assert front.hellos[-1].held_revision == 1
    assert front.hellos[-1].epoch == front.hellos[0].epoch
    await front.until(lambda: front.relay_hellos[-1].session == "session-2", "a new relay")
    assert len(front.fetches) == 1
    assert (await front.relay("ModelInfer", infer_request(), incarnation=incarnation)).code == OK


async def test_killed_and_started_with_no_front_it_serves_its_lan_from_disk(front: FakeFront, node: Node) -> None:
    await serving(front, node, "127.0.0.1:0")
    assert front.hellos[0].lan_address.startswith("127.0.0.1:")
    node.stop(signal.SIGKILL)
    await front.stop()
    (node.state_dir / "status.json").unlink()
    node.start(front.address, "127.0.0.1:0")
    status = await asyncio.to_thread(wait_for, lambda: ready_status(node), "ready from disk")
    assert status["link"] == "not attached"
    async with grpc.aio.insecure_channel(status["lan_address"]) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer(oip.ModelInferRequest.FromString(infer_request()), timeout=WAIT_S)
        assert (await call).model_name == "dense"
        assert ("skerry-replica", "r1") in [tuple(item) for item in await call.trailing_metadata()]
    front.reports.clear()
    await front.start(front.port)
    await front.until_phase("r1", "READY")
    assert front.hellos[-1].epoch == front.hellos[0].epoch + 1
    assert front.hellos[-1].held_revision == 1
    assert len(front.fetches) == 1


def ready_status(node: Node) -> dict | None:
    status = node.status()
    return status if any(each["phase"] == "ready" for each in status.get("replicas", [])) else None


async def test_a_file_that_rots_while_the_agent_is_down_is_fetched_again(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    node.stop(signal.SIGKILL)
    stored = node.state_dir / "artifacts" / "sha256" / digest_of(DENSE).removeprefix("sha256:")
    stored.write_bytes(DENSE[:-1])
    front.reports.clear()
    node.start(front.address)
    await front.until_phase("r1", "READY")
    assert len(front.fetches) == 2
    assert stored.read_bytes() == DENSE


async def test_half_written_state_is_ignored_with_a_warning(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    node.stop(signal.SIGKILL)
    for name in ("assignment.pb", "boots.json", "contact.json", "status.json"):
        path = node.state_dir / name
        path.write_bytes(path.read_bytes()[:-3])
    front.reports.clear()
    node.start(front.address)
    await front.until_phase("r1", "READY")
    assert front.hellos[-1].held_revision == 0
    assert front.hellos[-1].epoch > front.hellos[0].epoch
    assert "half-written" in node.log.read_text()


async def test_offline_for_longer_than_its_policy_allows_it_stops_serving(front: FakeFront, node: Node) -> None:
    front.assign(1, replica("r1", front.add(DENSE), valid_offline_s=1))
    node.start(front.address, "127.0.0.1:0")
    await front.until_phase("r1", "READY")
    await front.stop()
    status = await asyncio.to_thread(wait_for, lambda: stopped_status(node), "stopped")
    assert "valid_offline_s 1" in status["replicas"][0]["reason"]
    front.reports.clear()
    await front.start(front.port)
    await front.until_phase("r1", "READY")
    assert len(front.fetches) == 1


def stopped_status(node: Node) -> dict | None:
    status = node.status()
    return status if any(each["phase"] == "stopped" for each in status.get("replicas", [])) else None


async def test_a_newer_boot_ends_the_process(front: FakeFront, node: Node) -> None:
    front.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "epoch 9 is attached")
    process = node.start(front.address)
    assert await asyncio.to_thread(process.wait, WAIT_S) == 1
    assert "epoch 9 is attached" in node.log.read_text()


async def test_an_unknown_site_is_logged_with_the_remedy_and_retried_slowly(front: FakeFront, node: Node) -> None:
    front.refuse = (grpc.StatusCode.NOT_FOUND, "site s1 is not known")
    node.start(front.address)
    await asyncio.to_thread(wait_for, lambda: "apply a Site object" in node.log.read_text(), "the remedy")
    assert len(front.hellos) == 1
    front.refuse = None
    await front.until(lambda: front.reports, "attached after the site was applied")


async def test_a_front_that_is_away_is_told_once_and_that_it_is_back(front: FakeFront, node: Node) -> None:
    await front.stop()
    node.start(front.address)
    told = "cannot attach to the front; serving what is held and trying again"
    log = lambda: node.log.read_text().splitlines() if node.log.exists() else []  # noqa: E731
    tried = lambda: [line for line in log() if told in line]  # noqa: E731
    (line,) = await asyncio.to_thread(wait_for, tried, "a word on the front")
    assert f"front='{front.address}'" in line
    assert "reason='UNAVAILABLE: " in line
    assert "remedy='check --front, and that a front runs there: " in line
    await front.start(front.port)
    await front.until(lambda: front.reports, "attached once the front was there")
    await front.stop()
    await asyncio.to_thread(wait_for, lambda: len(tried()) == 2, "a word on the front that went")
    await front.start(front.port)
    await front.until(lambda: len(front.hellos) == 2, "attached again")
    await asyncio.to_thread(wait_for, lambda: "attached again" in "".join(log()), "a word on its return")
    assert len(tried()) == 2
    assert [line.split(": ")[1].partition(" front=")[0] for line in log() if "attached" in line] == [
        "attached",
        "attached again",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_within_three_seconds(front: FakeFront, node: Node, number: int) -> None:
    await serving(front, node, "127.0.0.1:0")
    start_s = time.monotonic()
    assert await asyncio.to_thread(node.stop, number) == 0
    assert time.monotonic() - start_s < 3
    assert "Traceback" not in node.log.read_text()


async def test_two_agents_cannot_share_a_state_folder(front: FakeFront, node: Node) -> None:
    await serving(front, node)
    assert node.process
    command = [*SKERRY_EDGE, "run", "--site", "s1", "--node", "n2", "--front", front.address, "--lan", "none"]
    second = await asyncio.to_thread(
        subprocess.run, [*command, "--state-dir", str(node.state_dir)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"process {node.process.pid}" in second.stderr
    assert "--state-dir of its own" in second.stderr


async def test_an_agent_that_serves_has_loaded_nothing_heavy(front: FakeFront, node: Node) -> None:
    script = "import sys; from workers.edge.command import main; main(); print(*sys.modules)"
    node.program = (sys.executable, "-c", script)
    await serving(front, node, "127.0.0.1:0")
    assert (await front.relay("ModelInfer", infer_request())).code == OK
    assert await asyncio.to_thread(node.stop) == 0
    loaded = {name.partition(".")[0] for name in node.log.read_text().splitlines()[-1].split()}
    heavy = {"ray", "tensorflow", "pydantic", "typer", "rich", "sqlalchemy", "fsspec", "orchestrator"}
    assert "numpy" in loaded
    assert not loaded & heavy


async def test_a_busy_lan_port_is_a_clear_refusal(front: FakeFront, node: Node) -> None:
    process = node.start(front.address, front.address)
    assert await asyncio.to_thread(process.wait, WAIT_S) == 1
    log = node.log.read_text()
    assert f"--lan {front.address}" in log
    assert "another process listens there" in log
    assert "Traceback" not in log
