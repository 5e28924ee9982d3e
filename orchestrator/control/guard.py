"""Which parts may call what of the control plane, where they prove themselves. On loopback nobody does, and all may."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from workers.identity.errors import NotTrusted
from workers.identity.names import Role
from workers.identity.tls import caller

CALLERS: Mapping[str, frozenset[Role]] = {
    "skerry.control.v1.Control": frozenset({Role.OPERATOR}),
    "skerry.link.v1.FrontLink": frozenset({Role.FRONT}),
    "skerry.link.v1.Enrolment": frozenset({Role.FRONT}),
    "skerry.link.v1.Probe": frozenset({Role.FRONT}),
    "skerry.link.v1.ReplicaLink": frozenset({Role.REPLICA}),
}
ANYBODY = frozenset(Role)  # health and reflection: of whoever has a certificate at all

Context = grpc.aio.ServicerContext[Any, Any]


class Guard(grpc.aio.ServerInterceptor):
    """Refuses callers whose certificate is of another role than the service is for."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        service = handler_call_details.method.split("/")[1]
        return _guarded(handler, service, CALLERS.get(service, ANYBODY))


def _guarded(handler: Any, service: str, roles: frozenset[Role]) -> Any:
    """The same handler, behind a look at the caller."""
    kind = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    behaviour = getattr(handler, kind)
    make: Callable[..., Any] = getattr(grpc, f"{kind}_rpc_method_handler")

    async def one(request: Any, context: Context) -> Any:
        await _check(context, service, roles)
        return await behaviour(request, context)

    async def many(request: Any, context: Context) -> AsyncIterator[Any]:
        await _check(context, service, roles)
        async for answer in behaviour(request, context):
            yield answer

    wrapped = many if inspect.isasyncgenfunction(behaviour) else one
    return make(wrapped, handler.request_deserializer, handler.response_serializer)


async def _check(context: Context, service: str, roles: frozenset[Role]) -> None:
    auth_context = context.auth_context()
    if "x509_pem_cert" not in auth_context:
        return  # plain text, which is bound to loopback only
    try:
        role = caller(auth_context)[0].role
    except NotTrusted as err:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(err))
    if role not in roles:
        allowed = " or ".join(sorted(roles))
        said = f"{service} is for the role {allowed}, and this certificate is of a {role}"
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, said)
