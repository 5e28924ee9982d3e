"""What is told to whom before a machine has a certificate, against servers that are not what they should be."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from fake_enrolment import FakeEnrolment

from protos.link.v1 import link_pb2 as pb
from tests.authority import DAY, TestAuthority, foreign_leaf, now
from workers.edge import enrolling
from workers.edge.enrolling import Renewing
from workers.edge.errors import EnrolmentFailed, Revoked, Unreachable
from workers.identity.folder import IdentityFolder
from workers.identity.keys import Key, certificates_from_pem, new_key
from workers.identity.names import Identity, Role, identity_of
from workers.identity.tls import server_credentials
from workers.identity.tokens import token_from

pytestmark = pytest.mark.real

SOFTWARE = pb.Software(version="1")


@pytest.fixture
def authority() -> TestAuthority:
    return TestAuthority()


@pytest.fixture
def front(authority: TestAuthority, tmp_path: Path) -> IdentityFolder:
    return authority.enrol(tmp_path / "front", Role.FRONT, "f1")


@pytest.fixture
async def enrolment(authority: TestAuthority) -> AsyncIterator[FakeEnrolment]:
    """Not started: each test says whose certificate it shows."""
    enrolment = FakeEnrolment(authority, ["127.0.0.1:7071"])
    yield enrolment
    await enrolment.stop()


async def joined(
    enrolment: FakeEnrolment, token: str, key: Key | None = None, at: datetime.datetime | None = None
) -> pb.Certified:
    return await enrolling.join(enrolment.address, token_from(token), key or new_key(), "n1", SOFTWARE, at or now())


async def test_a_token_buys_a_certificate_for_the_own_key(enrolment: FakeEnrolment, front: IdentityFolder) -> None:
    await enrolment.start(front)
    certified = await joined(enrolment, enrolment.token())
    certificate = certificates_from_pem(certified.certificate_pem, "certified")[0]
    assert identity_of(certificate) == Identity("test", Role.NODE, "n1", "s1")
    (request,) = enrolment.joins
    assert (request.node, request.software.version) == ("n1", "1")
    assert b"PRIVATE" not in request.SerializeToString()


async def test_a_front_whose_authority_hands_over_is_known_by_the_older_one(
    authority: TestAuthority, enrolment: FakeEnrolment, front: IdentityFolder
) -> None:
    enrolment.shown = TestAuthority("next").pem + authority.pem
    await enrolment.start(front)
    assert (await joined(enrolment, enrolment.token())).site == "s1"


@pytest.mark.parametrize(
    ("shows", "role", "remedy"),
    [
        ("another authority", Role.FRONT, "check the address, or make a token there"),
        ("the authority of the token, which it cannot prove", Role.FRONT, "was not issued by the authority"),
        ("a node's certificate", Role.NODE, "the certificate of node x of site s1, not of a front"),
        ("a service's certificate", Role.SERVICE, "the certificate of service x of site s1, not of a front"),
    ],
)
async def test_whoever_is_in_the_middle_never_hears_the_secret(
    authority: TestAuthority, enrolment: FakeEnrolment, tmp_path: Path, shows: str, role: Role, remedy: str
) -> None:
    signer = authority if role is not Role.FRONT else TestAuthority()
    await enrolment.start(signer.enrol(tmp_path / "middle", role, "x", "s1" if role is not Role.FRONT else ""))
    enrolment.shown = signer.pem if shows == "another authority" else authority.pem
    with pytest.raises(Unreachable, match=remedy):
        await joined(enrolment, enrolment.token())
    assert enrolment.joins == []


async def test_a_server_that_is_nothing_of_ours_never_hears_the_secret(enrolment: FakeEnrolment) -> None:
    key, certificate = foreign_leaf()
    server = grpc.aio.server()
    enrolment.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    await server.start()
    with pytest.raises(Unreachable, match=r"names no part of Skerry.*port 7072"):
        await joined(enrolment, enrolment.token())
    await server.stop(None)


@pytest.mark.parametrize("port", ["link", "gateway", "plain"])
async def test_another_port_of_a_front_is_told_from_the_enrolment_address(
    enrolment: FakeEnrolment, front: IdentityFolder, port: str
) -> None:
    """The link asks for the caller's certificate, the gateway enrols nobody, and plain text is no TLS."""
    server = grpc.aio.server()
    if port == "plain":
        enrolment.port = server.add_insecure_port("127.0.0.1:0")
    else:
        enrolment.port = server.add_secure_port("127.0.0.1:0", server_credentials(front, port == "link"))
    await server.start()
    with pytest.raises(Unreachable, match=r"give a front's enrolment address \(port 7072\)"):
        await joined(enrolment, enrolment.token())
    await server.stop(None)


async def test_nobody_there_is_told_with_the_remedy(enrolment: FakeEnrolment, front: IdentityFolder) -> None:
    await enrolment.start(front)
    await enrolment.stop()
    with pytest.raises(Unreachable, match=rf"{enrolment.address}: cannot be reached .*check the address"):
        await joined(enrolment, enrolment.token())
    enrolment.token()
    with pytest.raises(Unreachable, match=r"no-such-host\.invalid:7072: cannot be reached"):
        await enrolling.leaf_of("no-such-host.invalid:7072")


@pytest.mark.parametrize("off", [-730 * DAY, 730 * DAY], ids=["behind", "ahead"])
async def test_a_clock_two_years_off_is_told_with_both_times(
    enrolment: FakeEnrolment, front: IdentityFolder, off: datetime.timedelta
) -> None:
    await enrolment.start(front)
    with pytest.raises(Unreachable) as refused:
        await joined(enrolment, enrolment.token(), at=now() + off)
    said = str(refused.value)
    assert f"this machine's clock says {now() + off:%Y-%m-%d}" in said
    assert f"valid from {now():%Y-%m-%d}" in said
    assert "set this machine's clock" in said
    assert enrolment.asked == 0


async def test_a_front_whose_certificate_ended_is_told_so(
    authority: TestAuthority, enrolment: FakeEnrolment, tmp_path: Path
) -> None:
    await enrolment.start(
        authority.enrol(tmp_path / "ended", Role.FRONT, "f1", begins=now() - 3 * DAY, ends=now() - DAY)
    )
    with pytest.raises(Unreachable, match="see why that front did not renew its certificate"):
        await joined(enrolment, enrolment.token())


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "make another by `skerry token create`"),
        (grpc.StatusCode.ALREADY_EXISTS, "choose another --node"),
        (grpc.StatusCode.INVALID_ARGUMENT, "the request was refused: so it is"),
        (grpc.StatusCode.UNAVAILABLE, "try again"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "try again"),
    ],
)
async def test_every_refusal_has_its_reason_and_remedy(
    enrolment: FakeEnrolment, front: IdentityFolder, code: grpc.StatusCode, remedy: str
) -> None:
    await enrolment.start(front)
    enrolment.refuse = (code, "so it is")
    token = enrolment.token()
    with pytest.raises(EnrolmentFailed, match=remedy) as refused:
        await joined(enrolment, token)
    assert "so it is" in str(refused.value)
    assert token_from(token).secret not in str(refused.value)


async def test_a_certificate_for_another_key_name_or_role_is_not_taken(
    authority: TestAuthority, enrolment: FakeEnrolment, front: IdentityFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrolment.start(front)
    key = new_key()
    for pem, said in (
        (authority.issue(new_key(), Role.NODE, "n1", "s1"), "not of node n1 and this key"),
        (authority.issue(key, Role.NODE, "n2", "s1"), "not of node n1 and this key"),
        (authority.issue(key, Role.NODE, "n1", "s2"), "not of node n1 and this key"),
        (authority.issue(key, Role.CONTROL, "n1", "s1"), "not of a node"),
        (TestAuthority().issue(key, Role.NODE, "n1", "s1"), "was not issued by the authority"),
        (b"garbage", "no certificate can be read"),
    ):
        given = pb.Certified(certificate_pem=pem, authority_pem=authority.pem, node="n1", site="s1")
        monkeypatch.setattr(enrolment, "_certified", lambda *_, given=given: given)
        with pytest.raises(EnrolmentFailed, match=said):
            await joined(enrolment, enrolment.token(), key)


@pytest.mark.parametrize("lost", [False, True], ids=["by the authority", "by its fingerprint"])
async def test_a_known_key_renews_and_an_unknown_one_does_not(
    authority: TestAuthority, enrolment: FakeEnrolment, front: IdentityFolder, lost: bool
) -> None:
    await enrolment.start(front)
    key = new_key()
    known = [] if lost else [authority.certificate]
    with pytest.raises(Revoked, match="join with --anew and a new token"):
        await enrolling.renew(enrolment.address, Renewing(key, "n1", (authority.pin,), known, SOFTWARE), now())
    await joined(enrolment, enrolment.token(), key)
    asks = Renewing(key, "n1", (authority.pin,), known, SOFTWARE)
    certified = await enrolling.renew(enrolment.address, asks, now())
    assert len(certificates_from_pem(certified.certificate_pem, "it")) == 1


@pytest.mark.parametrize("lost", [False, True], ids=["by the authority", "by its fingerprint"])
async def test_a_renewal_is_asked_of_no_other_authority(
    authority: TestAuthority, enrolment: FakeEnrolment, tmp_path: Path, lost: bool
) -> None:
    other = TestAuthority()
    await enrolment.start(other.enrol(tmp_path / "other", Role.FRONT, "f1"))
    enrolment.shown = other.pem
    known = [] if lost else [authority.certificate]
    with pytest.raises(Unreachable):
        await enrolling.renew(enrolment.address, Renewing(new_key(), "n1", (authority.pin,), known, SOFTWARE), now())
    assert enrolment.renewals == []
