"""A front's enrolment address for tests: an authority behind TLS, driven by hand."""

import datetime
from typing import Any

import grpc
import grpc.aio
from cryptography import x509

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from tests.authority import DAY, TestAuthority, now
from workers.identity.folder import IdentityFolder
from workers.identity.keys import fingerprint
from workers.identity.names import Role
from workers.identity.tls import server_credentials


class FakeEnrolment(link_pb2_grpc.EnrolmentServicer):
    """Remembers what came; certifies whoever has one of `tokens`, and renews the keys that it knows."""

    def __init__(self, authority: TestAuthority, fronts: list[str]) -> None:
        self.authority, self.fronts = authority, fronts
        self.site = "s1"
        self.tokens: set[str] = set()
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.lasts = DAY
        self.renew_in_s = 0
        self.joins: list[pb.JoinRequest] = []
        self.renewals: list[pb.RenewRequest] = []
        self.nodes: dict[str, str] = {}  # fingerprint of a key -> node
        self.asked = 0
        self.shown = authority.pem  # as its authority
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self, front: IdentityFolder, port: int = 0, callers: bool = False) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        link_pb2_grpc.add_EnrolmentServicer_to_server(self, self._server)
        self.port = self._server.add_secure_port(f"127.0.0.1:{port}", server_credentials(front, callers))
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)
            self._server = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def token(self) -> str:
        token = self.authority.token().text
        self.tokens.add(token)
        return token

    async def Authority(self, request: pb.AuthorityRequest, context: Any) -> pb.AuthorityReply:  # noqa: N802
        self.asked += 1
        return pb.AuthorityReply(authority_pem=self.shown)

    async def Join(self, request: pb.JoinRequest, context: Any) -> pb.Certified:  # noqa: N802
        self.joins.append(request)
        if self.refuse:
            await context.abort(*self.refuse)
        if request.token not in self.tokens:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not known here, or has expired")
        asked = x509.load_pem_x509_csr(request.request_pem)
        self.nodes[fingerprint(asked)] = request.node
        return self._certified(asked, request.node)

    async def Renew(self, request: pb.RenewRequest, context: Any) -> pb.Certified:  # noqa: N802
        self.renewals.append(request)
        asked = x509.load_pem_x509_csr(request.request_pem)
        if self.refuse or self.nodes.get(fingerprint(asked), "") != request.node:  # as the control plane looks it up
            await context.abort(*(self.refuse or (grpc.StatusCode.PERMISSION_DENIED, "this key is not known")))
        return self._certified(asked, self.nodes[fingerprint(asked)])

    def _certified(self, asked: x509.CertificateSigningRequest, node: str) -> pb.Certified:
        begins = now() - datetime.timedelta(minutes=5)
        return pb.Certified(
            certificate_pem=self.authority.issue(asked, Role.NODE, node, self.site, begins, now() + self.lasts),
            authority_pem=self.authority.pem,
            node=node,
            site=self.site,
            fronts=self.fronts,
            enrolments=[self.address],
            renew_in_s=self.renew_in_s,
        )
