"""control/v1 over a fake control plane: translation, statuses, streams. Real gRPC on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator import errors
from orchestrator.api.codes import ERROR_KEY, code_of
from orchestrator.api.servicer import SERVICE_NAME, bind, control_server, serve_control
from orchestrator.model.stored import Key, Owner
from protos.control.v1 import control_pb2 as pb
from protos.control.v1 import control_pb2_grpc
from tests.api.fake_control import FakeControl

ZONE = json.dumps(
    {"apiVersion": "skerry.dev/v1alpha1", "kind": "Zone", "metadata": {"name": "z"}, "spec": {"region": "r"}}
)
ZONE_KEY = Key("Zone", "", "z")
ZERO_DIGEST = "sha256:" + "0" * 64
WITHIN_S = 10.0

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
async def stub(control: FakeControl) -> AsyncIterator[control_pb2_grpc.ControlStub]:
    server = await control_server(control, ())
    port = bind(server, "127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield control_pb2_grpc.ControlStub(channel)
    await server.stop(None)


Stub = control_pb2_grpc.ControlStub  # its asynchronous form exists for type checkers only


async def refused(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize("kind", [errors.RevisionStale, errors.OwnerConflict, errors.StoreUnavailable, errors.NotFound])
async def test_an_error_arrives_with_its_sentence_and_class(
    control: FakeControl, stub: Stub, kind: type[errors.OrchestratorError]
) -> None:
    def fail(call: str) -> None:
        raise kind("Zone z: why: what helps")

    control.before = fail
    err = await refused(stub.Get(pb.ObjectRef(kind="Zone", name="z")))
    assert (err.code(), err.details()) == (code_of(kind()), "Zone z: why: what helps")
    assert dict(err.trailing_metadata() or ())[ERROR_KEY] == kind.__name__


async def test_a_bug_is_internal_without_its_stack(
    control: FakeControl, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(call: str) -> None:
        raise ZeroDivisionError("secret detail")

    control.before = fail
    err = await refused(stub.Status(pb.StatusRequest()))
    assert err.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (err.details() or "")
    assert "Traceback" not in (err.details() or "")
    assert "secret detail" in caplog.text  # but the log has it
    err = await refused(stub.Watch(pb.WatchRequest()).read())
    assert err.code() is grpc.StatusCode.INTERNAL


async def test_a_long_message_of_foreign_letters_arrives(control: FakeControl, stub: Stub) -> None:
    def fail(call: str) -> None:
        raise errors.Conflict("ж" * 50_000)

    control.before = fail
    err = await refused(stub.Status(pb.StatusRequest()))
    assert err.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (err.details() or "").startswith("жжж")


async def test_apply_get_list_delete(control: FakeControl, stub: Stub) -> None:
    reply = await stub.Apply(pb.ApplyRequest(documents_json=[ZONE], owner="command"))
    assert [one.action for one in reply.results] == ["created"]
    found = await stub.Get(pb.ObjectRef(kind="Zone", name="z"))
    document = json.loads(found.document_json)
    assert document["spec"] == {"region": "r"}
    assert (found.owner, found.revision, document["metadata"]["revision"]) == ("command", 1, 1)
    listed = await stub.List(pb.ListRequest(kind="Zone"))
    assert [one.ref.name for one in listed.objects] == ["z"]
    assert listed.sequence == 1
    stale = await refused(stub.Delete(pb.DeleteRequest(ref=found.ref, revision=9)))
    assert stale.code() is grpc.StatusCode.ABORTED
    await stub.Delete(pb.DeleteRequest(ref=found.ref))
    assert ZONE_KEY not in control.objects


async def test_a_dry_run_writes_nothing(control: FakeControl, stub: Stub) -> None:
    reply = await stub.Apply(pb.ApplyRequest(documents_json=[ZONE], owner="command", dry_run=True))
    assert reply.results[0].action == "created"
    assert control.objects == {}


async def test_the_other_owner_is_refused(control: FakeControl, stub: Stub) -> None:
    await stub.Apply(pb.ApplyRequest(documents_json=[ZONE], owner="operator"))
    err = await refused(stub.Apply(pb.ApplyRequest(documents_json=[ZONE], owner="command")))
    assert err.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "operator" in (err.details() or "")


async def test_a_hostile_document_is_refused(control: FakeControl, stub: Stub) -> None:
    for text in ("{", "[" * 100_000, json.dumps({"kind": "x" * (1 << 20)})):
        err = await refused(stub.Apply(pb.ApplyRequest(documents_json=[text], owner="command")))
        assert err.code() is grpc.StatusCode.INVALID_ARGUMENT, err.details()
        assert len(err.details() or "") < 1_000
    assert control.objects == {}


async def test_a_plan_writes_nothing_and_may_have_no_documents(control: FakeControl, stub: Stub) -> None:
    reply = await stub.Plan(pb.PlanRequest(documents_json=[ZONE], owner="command"))
    assert (reply.changed, json.loads(reply.plan_json)["objects"][0]["name"]) == (True, "z")
    assert not (await stub.Plan(pb.PlanRequest(owner="command"))).changed
    assert control.objects == {}
    for text in ("{", json.dumps({"kind": "Zome"})):
        err = await refused(stub.Plan(pb.PlanRequest(documents_json=[text], owner="command")))
        assert err.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_decisions_and_their_replay(stub: Stub) -> None:
    listed = await stub.Decisions(pb.DecisionsRequest())
    assert [(one.id, one.in_force, one.inputs_json) for one in listed.decisions] == [
        ("d-2", True, ""),
        ("d-1", False, ""),
    ]
    assert len((await stub.Decisions(pb.DecisionsRequest(limit=1))).decisions) == 1
    (one,) = (await stub.Decisions(pb.DecisionsRequest(id="d-1"))).decisions
    assert one.inputs_json
    assert (await stub.Replay(pb.ReplayRequest(decision="d-2"))).equal
    assert (await refused(stub.Replay(pb.ReplayRequest(decision="d-9")))).code() is grpc.StatusCode.NOT_FOUND
    for request in (
        pb.ReplayRequest(),
        pb.ReplayRequest(decision="d" * 65),
        pb.ReplayRequest(decision="d-\u00e9"),
        pb.ReplayRequest(decision="d-2", policy_json="["),
    ):
        assert (await refused(stub.Replay(request))).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("owner", ["", "control", "root"])
async def test_nobody_speaks_as_the_control_plane(stub: Stub, owner: str) -> None:
    err = await refused(stub.Apply(pb.ApplyRequest(documents_json=[ZONE], owner=owner)))
    assert err.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "owner" in (err.details() or "")


@pytest.mark.parametrize(
    "ref",
    [
        pb.ObjectRef(kind="", name="x"),
        pb.ObjectRef(kind="Teapot", name="x"),
        pb.ObjectRef(kind="Zone", name=""),
        pb.ObjectRef(kind="Zone", name="a\0b"),
        pb.ObjectRef(kind="Zone", name="x" * 254),
        pb.ObjectRef(kind="Zone", name="x", namespace="n"),
        pb.ObjectRef(kind="ModelService", name="x", namespace="\n"),
    ],
)
async def test_a_reference_that_names_nothing_is_refused(stub: Stub, ref: pb.ObjectRef) -> None:
    for call in (stub.Get(ref), stub.Delete(pb.DeleteRequest(ref=ref)), stub.Logs(pb.LogsRequest(ref=ref)).read()):
        assert (await refused(call)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_namespaced_kind_is_looked_up_in_default(stub: Stub) -> None:
    err = await refused(stub.Get(pb.ObjectRef(kind="ModelService", name="x")))
    assert "default/x" in (err.details() or "")


async def test_watch_resumes_after_a_sequence(control: FakeControl, stub: Stub) -> None:
    for region in "abc":
        await control.put(ZONE_KEY, {"region": region})
    call = stub.Watch(pb.WatchRequest(from_sequence=1, kind="Zone"))
    seen = [await call.read(), await call.read()]
    assert [change.sequence for change in seen] == [2, 3]
    await control.put(ZONE_KEY, {"region": "d"})
    latest = await asyncio.wait_for(call.read(), WITHIN_S)
    assert json.loads(latest.object.document_json)["spec"] == {"region": "d"}
    call.cancel()


async def test_what_the_control_plane_keeps_for_itself_stays_inside(control: FakeControl, stub: Stub) -> None:
    await control.put(Key("NodeAssignment", "", "n"), {"secret": 1})
    await control.put(ZONE_KEY, {"region": "a"})
    assert [one.ref.kind for one in (await stub.List(pb.ListRequest())).objects] == ["Zone"]
    call = stub.Watch(pb.WatchRequest())
    assert (await call.read()).object.ref.kind == "Zone"
    call.cancel()


async def test_watch_of_a_compacted_log_is_out_of_range(control: FakeControl, stub: Stub) -> None:
    control.compacted = 5
    err = await refused(stub.Watch(pb.WatchRequest(from_sequence=3)).read())
    assert err.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_caller_that_leaves_ends_the_generator(control: FakeControl, stub: Stub) -> None:
    await control.put(ZONE_KEY, {"region": "a"})
    call = stub.Watch(pb.WatchRequest())
    await call.read()
    assert not control.stream_ended.is_set()
    call.cancel()
    await asyncio.wait_for(control.stream_ended.wait(), WITHIN_S)


async def test_train_streams_to_the_job_with_its_status(stub: Stub) -> None:
    job = {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "j"},
        "spec": {"model": "digits", "recipe": "digits-cnn"},
    }
    steps = [step async for step in stub.Train(pb.TrainRequest(document_json=json.dumps(job), owner="command"))]
    assert [step.step for step in steps] == [0, 1, 2, 3, 3]
    assert json.loads(steps[-1].object.document_json)["status"]["phase"] == "succeeded"
    assert steps[0].metrics["loss"] == 1.0
    assert not steps[0].HasField("object")


async def test_explain_and_status(control: FakeControl, stub: Stub) -> None:
    await control.put(Key("ModelService", "default", "digits"), {"policy": "line"})
    reply = await stub.Explain(pb.ExplainRequest(namespace="default", service="digits"))
    assert json.loads(reply.decision_json)["chosen"][0]["site"] == "harbour"
    status = await stub.Status(pb.StatusRequest())
    assert [(part.kind, part.phase) for part in status.parts][:1] == [("control", "ready")]


def header(**changes: object) -> pb.PushChunk:
    fields: dict[str, object] = {
        "name": "digits",
        "format": "tflite",
        "digest": ZERO_DIGEST,
        "size_bytes": 4,
        "owner": "command",
        **changes,
    }
    return pb.PushChunk(header=pb.PushHeader(**fields))  # type: ignore[arg-type]


PUSHES = {
    "nothing": [],
    "data first": [pb.PushChunk(data=b"TFL3")],
    "format": [header(format="onnx")],
    "digest": [header(digest="sha256:../../etc")],
    "size 0": [header(size_bytes=0)],
    "huge": [header(size_bytes=1 << 60)],
    "accuracy": [header(accuracy=float("nan"), accuracy_given=True)],
    "accuracy above 1": [header(accuracy=1.5, accuracy_given=True)],
    "name": [header(name="")],
    "owner": [header(owner="control")],
    "too much": [header(), pb.PushChunk(data=b"12345")],
    "too little": [header(), pb.PushChunk(data=b"123")],
    "header twice": [header(), header()],
    "other bytes": [header(), pb.PushChunk(data=b"1234")],
}


@pytest.mark.parametrize("chunks", PUSHES.values(), ids=PUSHES.keys())
async def test_a_bad_push_is_refused_and_keeps_nothing(
    control: FakeControl, stub: Stub, chunks: list[pb.PushChunk]
) -> None:
    err = await refused(stub.Push(iter(chunks)))
    assert err.code() is grpc.StatusCode.INVALID_ARGUMENT, err.details()
    assert control.pushed == []


async def test_the_port_of_another_control_plane_is_refused_with_a_remedy(control: FakeControl) -> None:
    first = await control_server(control, ())
    port = bind(first, "127.0.0.1:0")
    await first.start()
    with pytest.raises(errors.Unavailable, match=r"skerry down.*--control"):
        await serve_control(control, f"127.0.0.1:{port}", ())
    await first.stop(None)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:7070", "127.0.0.1", "127.0.0.1:70700"])
async def test_off_loopback_is_refused(control: FakeControl, address: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        await serve_control(control, address, ())


async def test_health_reflection_and_extra_services_share_the_port(control: FakeControl) -> None:
    added: list[grpc.aio.Server] = []
    server = await control_server(control, [added.append])
    assert added == [server]
    port = bind(server, "127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE_NAME):
            reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        listed = await replies.read()
        assert SERVICE_NAME in [one.name for one in listed.list_services_response.service]
    await server.stop(None)


async def test_owner_of_a_push_is_kept(control: FakeControl, stub: Stub) -> None:
    import hashlib

    digest = f"sha256:{hashlib.sha256(b'data').hexdigest()}"
    chunks = [
        header(digest=digest, accuracy=0.9, accuracy_given=True),
        pb.PushChunk(data=b"da"),
        pb.PushChunk(data=b"ta"),
    ]
    message = await stub.Push(iter(chunks))
    model, content = control.pushed[0]
    assert (content, model.accuracy, model.owner, message.owner) == (b"data", 0.9, Owner.COMMAND, "command")
