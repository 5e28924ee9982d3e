"""Asks a front's enrolment address for certificates, and trusts nobody there before it is proven.

A machine that joins has no authority yet, only the fingerprint in its token. So it looks which certificate answers,
opens a connection that only the holder of that certificate's key can answer, asks it for the authority, and checks both
against the token. The secret is told after that.
"""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from cryptography import x509

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.edge.addresses import host_and_port
from workers.edge.errors import EnrolmentFailed, Revoked, Unreachable
from workers.identity.errors import IdentityError, NotTrusted
from workers.identity.keys import Key, certificates_from_pem, certificates_to_pem, fingerprint, request_for
from workers.identity.names import Role, identity_of
from workers.identity.tls import asking_for
from workers.identity.tokens import Token, pinned
from workers.identity.trust import proven

ANSWER_WAIT_S = 10.0
ENROLMENT_REMEDY = "give a front's enrolment address (port 7072), not its link, its gateway or the control plane"

if TYPE_CHECKING:
    from protos.link.v1.link_pb2_grpc import EnrolmentAsyncStub as Stub

Certificates = list[x509.Certificate]
Trust = Callable[[Certificates], x509.Certificate]  # which of an authority's is the one that we know; raises NotTrusted
Answer = TypeVar("Answer")


async def join(
    address: str, token: Token, key: Key, node: str, software: pb.Software, at: datetime.datetime
) -> pb.Certified:
    """Become `node`. Raises EnrolmentFailed."""
    async with _proven(address, lambda authority: pinned(token, authority), at) as stub:
        request = pb.JoinRequest(token=token.text, node=node, request_pem=request_for(key, node), software=software)
        certified = await _answered(address, stub.Join(request, timeout=ANSWER_WAIT_S))
    return _checked(certified, address, key, node, at)


@dataclass(frozen=True, slots=True)
class Renewing:
    """By an enrolled key. `authority`: empty if its file was lost, then `pins` are enough."""

    key: Key
    node: str
    pins: tuple[str, ...]
    authority: Certificates
    software: pb.Software


async def renew(address: str, asks: Renewing, at: datetime.datetime) -> pb.Certified:
    """Another certificate. Raises EnrolmentFailed."""
    door = _known(address, asks.authority, at) if asks.authority else _proven(address, _one_of(asks.pins), at)
    async with door as stub:
        request_pem = request_for(asks.key, asks.node)
        request = pb.RenewRequest(node=asks.node, request_pem=request_pem, software=asks.software)
        certified = await _answered(address, stub.Renew(request, timeout=ANSWER_WAIT_S))
    return _checked(certified, address, asks.key, asks.node, at)


async def authority(address: str, known: Certificates, at: datetime.datetime) -> None:
    """Only asks who vouches for the front there. Raises EnrolmentFailed."""
    async with _known(address, known, at) as stub:
        await _answered(address, stub.Authority(pb.AuthorityRequest(), timeout=ANSWER_WAIT_S))


async def leaf_of(address: str) -> x509.Certificate:
    """The certificate of whoever answers, which proves nothing yet. Raises Unreachable."""
    host, port = host_and_port(address)
    try:
        async with asyncio.timeout(ANSWER_WAIT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=_unverified(), server_hostname=Role.FRONT.host)
    except TimeoutError as err:
        remedy = f"check the address and what lies between; {ENROLMENT_REMEDY}"
        raise Unreachable(f"{address}: no answer within {ANSWER_WAIT_S:.0f} s: {remedy}") from err
    except (ssl.SSLError, ConnectionResetError) as err:
        raise Unreachable(f"{address}: what listens there does not speak TLS ({err}): {ENROLMENT_REMEDY}") from err
    except OSError as err:
        reason = err.strerror or str(err)
        remedy = "check the address, that a front runs there, and that a firewall lets it through"
        raise Unreachable(f"{address}: cannot be reached ({reason}): {remedy}") from err
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    try:
        return certificates_from_pem(ssl.DER_cert_to_PEM_cert(der or b"").encode(), f"the certificate of {address}")[0]
    except IdentityError as err:
        raise Unreachable(f"{err}: {ENROLMENT_REMEDY}") from err


def check_dates(certificate: x509.Certificate, address: str, at: datetime.datetime) -> None:
    """Before TLS looks, which does not say whose time it took. Raises Unreachable."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins <= at <= ends:
        return
    said = f"the certificate of {address} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    remedy = "set this machine's clock, or if it is right, see why that front did not renew its certificate"
    raise Unreachable(f"{said}, and this machine's clock says {at:%Y-%m-%d %H:%M} UTC: {remedy}")


def _check_role(leaf: x509.Certificate, address: str) -> None:
    """As TLS will, but with words for it. Raises Unreachable."""
    try:
        found = identity_of(leaf)
    except IdentityError as err:
        raise Unreachable(f"{address}: {err}: {ENROLMENT_REMEDY}") from err
    if found.role is not Role.FRONT:
        raise Unreachable(f"{address}: shows the certificate of {found}, not of a front: {ENROLMENT_REMEDY}")


@asynccontextmanager
async def _proven(address: str, trust: Trust, at: datetime.datetime) -> AsyncIterator["Stub"]:
    """To a front of the authority that `trust` knows. Raises EnrolmentFailed."""
    leaf = await leaf_of(address)
    check_dates(leaf, address, at)
    _check_role(leaf, address)
    # gRPC takes the leaf as a root (X509_V_FLAG_PARTIAL_CHAIN): nobody without its key gets through the handshake.
    async with _opened(address, [leaf]) as stub:
        reply = await _answered(address, stub.Authority(pb.AuthorityRequest(), timeout=ANSWER_WAIT_S))
        try:
            authority = certificates_from_pem(reply.authority_pem, f"the authority of {address}")
            _check_front(leaf, trust(authority), authority, at)
        except IdentityError as err:
            raise Unreachable(f"{address}: {err}") from err
        yield stub


@asynccontextmanager
async def _known(address: str, authority: Certificates, at: datetime.datetime) -> AsyncIterator["Stub"]:
    """By TLS alone. Looks at the certificate only if that fails, since TLS does not say why."""
    async with _opened(address, authority) as stub:
        try:
            yield stub
        except Unreachable:
            leaf = await leaf_of(address)
            check_dates(leaf, address, at)
            _check_role(leaf, address)
            raise


@asynccontextmanager
async def _opened(address: str, roots: Certificates) -> AsyncIterator["Stub"]:
    credentials = grpc.ssl_channel_credentials(certificates_to_pem(roots))
    options = (*asking_for(Role.FRONT), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield link_pb2_grpc.EnrolmentStub(channel)


async def _answered(address: str, call: Awaitable[Answer]) -> Answer:
    """Raises EnrolmentFailed."""
    try:
        return await call
    except grpc.aio.AioRpcError as err:
        raise _failure(address, err.code(), err.details() or err.code().name) from err


def _failure(address: str, code: grpc.StatusCode, said: str) -> EnrolmentFailed:
    match code:
        case grpc.StatusCode.UNAUTHENTICATED:
            return EnrolmentFailed(f"the token was refused: {said}: make another by `skerry token create`")
        case grpc.StatusCode.ALREADY_EXISTS:
            remedy = "choose another --node, or have the former one removed first"
            return EnrolmentFailed(f"the name is taken: {said}: {remedy}")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.NOT_FOUND:
            return EnrolmentFailed(f"the request was refused: {said}")
        case grpc.StatusCode.PERMISSION_DENIED:
            remedy = "if it should serve on, join with --anew and a new token"
            return Revoked(f"this node's key was refused: {said}: {remedy}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Unreachable(f"{address}: it answers, but enrols nobody: {ENROLMENT_REMEDY}")
        case _:
            return Unreachable(f"{address}: {code.name}: {said}: try again; {ENROLMENT_REMEDY}")


def _check_front(leaf: x509.Certificate, pin: x509.Certificate, authority: Certificates, at: datetime.datetime) -> None:
    """The leaf leads to the pinned certificate, itself or by one of the others. Raises NotTrusted."""
    between = [one for one in authority if one.subject == leaf.issuer and one != pin]
    for chain in [[leaf, *above] for above in ([], *([one] for one in between))]:
        try:
            proven(chain, [pin], Role.FRONT, at)
            return
        except NotTrusted as err:
            problem = err
    raise problem


def _one_of(pins: tuple[str, ...]) -> Trust:
    def trust(authority: Certificates) -> x509.Certificate:
        for certificate in authority:
            if fingerprint(certificate) in pins:
                return certificate
        raise NotTrusted(f"it is not of the authority {', '.join(pin[:16] for pin in pins)} that this node knows")

    return trust


def _checked(certified: pb.Certified, address: str, key: Key, node: str, at: datetime.datetime) -> pb.Certified:
    """It is a certificate for this key and name, so that a mistake there is not found at the next boot.

    Raises EnrolmentFailed.
    """
    try:
        chain = certificates_from_pem(certified.certificate_pem, f"certificate from {address}")
        authority = certificates_from_pem(certified.authority_pem, f"authority from {address}")
        found = proven(chain, authority, Role.NODE, at)
    except IdentityError as err:
        raise EnrolmentFailed(f"{address} has given a certificate that is of no use: {err}") from err
    if fingerprint(chain[0]) != fingerprint(key) or (found.name, found.site) != (node, certified.site):
        raise EnrolmentFailed(f"{address} has given a certificate of {found}, not of node {node} and this key: {_BUG}")
    return certified


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    return context


_BUG = "see that front's log"
