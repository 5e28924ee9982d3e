"""Enrolment where fronts bring it: translates, and decides nothing."""

from typing import TYPE_CHECKING

from orchestrator.api.codes import translated
from orchestrator.authority.parts import Authority
from orchestrator.control.joining import Joining
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.identity.keys import certificates_to_pem

if TYPE_CHECKING:
    from orchestrator.api.codes import Context


class EnrolmentServicer(link_pb2_grpc.EnrolmentServicer):
    """link/v1 Enrolment over Joining."""

    def __init__(self, joining: Joining, authority: Authority) -> None:
        self._joining, self._authority = joining, authority

    async def Authority(self, request: link_pb2.AuthorityRequest, context: "Context") -> link_pb2.AuthorityReply:
        return link_pb2.AuthorityReply(authority_pem=certificates_to_pem(self._authority.certificates))

    async def Join(self, request: link_pb2.JoinRequest, context: "Context") -> link_pb2.Certified:
        async with translated(context, "Join"):
            return await self._joining.join(request)

    async def Renew(self, request: link_pb2.RenewRequest, context: "Context") -> link_pb2.Certified:
        async with translated(context, "Renew"):
            return await self._joining.renew(request)
