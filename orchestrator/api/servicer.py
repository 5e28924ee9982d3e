"""The operators' API on its own gRPC server: translates between the wire and the control plane, decides nothing."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.api import token_wire, wire
from orchestrator.api.codes import translated
from orchestrator.api.seams import ControlPlane
from orchestrator.errors import Unavailable
from orchestrator.model.ids import NodeName, ServiceRef, SiteName
from orchestrator.model.stored import Owner
from orchestrator.settings import loopback
from protos.control.v1 import control_pb2 as pb
from protos.control.v1 import control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.api.codes import Context

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Control"].full_name
MAX_MESSAGE_BYTES = 64 << 20
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # With SO_REUSEPORT a second control plane would silently take half of the calls.
    ("grpc.so_reuseport", 0),
    # Cloud replicas and fronts ping every 10 s on streams that are silent for hours; the default answers GOAWAY.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)
T = TypeVar("T")


def _ended_with_call(source: AsyncIterator[T]) -> "aclosing[AsyncGenerator[T, None]]":
    """A caller that went away ends the control plane's generator at once, not at the next garbage collection."""
    return aclosing(cast("AsyncGenerator[T, None]", source))


class ControlServicer(control_pb2_grpc.ControlServicer):
    """control/v1 over a ControlPlane."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def Apply(self, request: pb.ApplyRequest, context: "Context") -> pb.ApplyReply:
        async with translated(context, "Apply"):
            documents = wire.documents_from(request.documents_json)
            return wire.apply_reply(await self._control.apply(documents, wire.owner_of(request.owner), request.dry_run))

    async def Get(self, request: pb.ObjectRef, context: "Context") -> pb.Object:
        async with translated(context, "Get"):
            return wire.object_message(await self._control.get(wire.key_of(request)))

    async def List(self, request: pb.ListRequest, context: "Context") -> pb.ListReply:
        async with translated(context, "List"):
            objects, sequence = await self._control.list_objects(*wire.scope_of(request.kind, request.namespace))
            return pb.ListReply(
                objects=[wire.object_message(one) for one in objects if wire.published(one, request.kind)],
                sequence=sequence,
            )

    async def Delete(self, request: pb.DeleteRequest, context: "Context") -> pb.Object:
        async with translated(context, "Delete"):
            # The message names no caller yet: whoever deletes through it is the command.
            key, revision = wire.key_of(request.ref), request.revision or None
            return wire.object_message(await self._control.delete(key, Owner.COMMAND, revision))

    async def ScheduleNode(self, request: pb.ScheduleNodeRequest, context: "Context") -> pb.Object:
        async with translated(context, "ScheduleNode"):
            node, action = NodeName(wire.name_of("node", request.node)), wire.schedule_of(request.action)
            return wire.object_message(await self._control.schedule_node(node, action))

    async def Watch(self, request: pb.WatchRequest, context: "Context") -> AsyncIterator[pb.Change]:
        async with translated(context, "Watch"):
            kind, namespace = wire.scope_of(request.kind, request.namespace)
            async with _ended_with_call(self._control.watch(request.from_sequence, kind, namespace)) as changes:
                async for change in changes:
                    if wire.published(change.object, request.kind):
                        yield wire.change_message(change)

    async def Explain(self, request: pb.ExplainRequest, context: "Context") -> pb.ExplainReply:
        async with translated(context, "Explain"):
            key = wire.key_of(pb.ObjectRef(kind="ModelService", namespace=request.namespace, name=request.service))
            site = SiteName(wire.name_of("site", request.site)) if request.site else None
            ref = ServiceRef(key.namespace, key.name)
            return wire.explain_reply(await self._control.explain(ref, site, request.view, request.remedies))

    async def Plan(self, request: pb.PlanRequest, context: "Context") -> pb.PlanReply:
        async with translated(context, "Plan"):
            documents = wire.documents_from(request.documents_json) if request.documents_json else []
            owner = wire.owner_of(request.owner)
            return wire.plan_reply(await self._control.plan(documents, owner, request.view))

    async def Decisions(self, request: pb.DecisionsRequest, context: "Context") -> pb.DecisionsReply:
        async with translated(context, "Decisions"):
            id = wire.decision_id("id", request.id) if request.id else None
            limit = min(request.limit or wire.DECISIONS, wire.MAX_DECISIONS)
            return wire.decisions_reply(await self._control.decisions(id, limit))

    async def Replay(self, request: pb.ReplayRequest, context: "Context") -> pb.ReplayReply:
        async with translated(context, "Replay"):
            id = wire.decision_id("decision", request.decision)
            policy = wire.document_from("policy_json", request.policy_json) if request.policy_json else None
            return wire.replay_reply(await self._control.replay(id, policy))

    async def Status(self, request: pb.StatusRequest, context: "Context") -> pb.StatusReply:
        async with translated(context, "Status"):
            return wire.status_reply(await self._control.status())

    async def Train(self, request: pb.TrainRequest, context: "Context") -> AsyncIterator[pb.TrainProgress]:
        async with translated(context, "Train"):
            document = wire.document_from("document_json", request.document_json)
            async with _ended_with_call(self._control.train(document, wire.owner_of(request.owner))) as steps:
                async for step in steps:
                    yield wire.progress_message(step)

    async def Logs(self, request: pb.LogsRequest, context: "Context") -> AsyncIterator[pb.LogLine]:
        async with translated(context, "Logs"):
            key = wire.key_of(request.ref)
            async with _ended_with_call(self._control.logs(key, request.follow)) as lines:
                async for line in lines:
                    yield pb.LogLine(line=line)

    async def Push(self, request_iterator: AsyncIterator[pb.PushChunk], context: "Context") -> pb.Object:
        async with translated(context, "Push"):
            chunks = aiter(request_iterator)
            model = wire.pushed_model(await anext(chunks, None))
            data = wire.pushed_data(chunks, model.size_bytes)
            return wire.object_message(await self._control.push(model, data))

    async def CreateToken(self, request: pb.CreateTokenRequest, context: "Context") -> pb.CreateTokenReply:
        async with translated(context, "CreateToken"):
            asked = (request.site, request.uses or 1, request.ttl_s, token_wire.labels_of(request), request.tokens or 1)
            return token_wire.create_token_reply(*await self._control.create_tokens(*asked))

    async def Certify(self, request: pb.CertifyRequest, context: "Context") -> pb.CertifyReply:
        async with translated(context, "Certify"):
            asked = (request.role, request.name, request.request_pem, tuple(request.hosts))
            certificate_pem, authority_pem = await self._control.certify(*asked)
            return pb.CertifyReply(certificate_pem=certificate_pem, authority_pem=authority_pem)

    async def ListTokens(self, request: pb.ListTokensRequest, context: "Context") -> pb.ListTokensReply:
        async with translated(context, "ListTokens"):
            return pb.ListTokensReply(tokens=map(token_wire.token_message, await self._control.tokens()))

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: "Context") -> pb.Token:
        async with translated(context, "RevokeToken"):
            return token_wire.token_message(await self._control.revoke_token(request.id))


async def control_server(
    control: ControlPlane,
    extra: Sequence[Callable[[grpc.aio.Server], None]],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """The control API with health and reflection, not yet bound. `extra` adds further services to the same port."""
    server = grpc.aio.server(options=OPTIONS, interceptors=interceptors)
    control_pb2_grpc.add_ControlServicer_to_server(ControlServicer(control), server)
    for add in extra:
        add(server)
    watcher = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(watcher, server)
    for name in ("", SERVICE_NAME):
        await watcher.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server


def bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """The port. Without credentials plain text. Raises InvalidRequest for that off loopback, Unavailable when taken."""
    try:
        if credentials is None:
            return server.add_insecure_port(loopback("control address", address))
        return server.add_secure_port(address, credentials)
    except RuntimeError as err:
        raise Unavailable(
            f"control address {address}: cannot listen there, another program may hold the port: stop it "
            "(`skerry down` stops a control plane) or choose another address with --control"
        ) from err


async def serve_control(
    control: ControlPlane,
    address: str,
    extra: Sequence[Callable[[grpc.aio.Server], None]],
    credentials: grpc.ServerCredentials | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """Bind and start. The caller stops it with `server.stop(grace_s)`. Raises what `bind` raises."""
    server = await control_server(control, extra, interceptors)
    bind(server, address, credentials)
    await server.start()
    return server
