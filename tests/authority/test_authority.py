"""An authority in files or behind a command: made once, kept together, and certifying nothing but what was asked."""

import base64
import datetime
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.authority.certificates import LIFE, RENEW_AFTER, installation_of, signed
from orchestrator.authority.files import CERTIFICATE, KEY, FileAuthority
from orchestrator.authority.opening import open_authority
from orchestrator.authority.parts import certify_part
from orchestrator.authority.requests import public_key_of
from orchestrator.errors import InvalidRequest, Unavailable
from workers.identity.errors import IdentityUnreadable, NotTrusted
from workers.identity.folder import IdentityFolder
from workers.identity.keys import certificates_from_pem, fingerprint, new_key, request_for
from workers.identity.names import Identity, Role
from workers.identity.trust import proven

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
NODE = Identity("skerry-1", Role.NODE, "oslo-1", "oslo")

SIGN = """
import datetime, os, sys
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pathlib import Path
from orchestrator.authority.files import FileAuthority
from workers.identity.keys import certificates_to_pem, new_key
from workers.identity.names import Identity, Role
now = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
authority = FileAuthority(Path(sys.argv[1]), now)
if sys.argv[2] == "authority":
    sys.stdout.buffer.write(certificates_to_pem(authority.certificates))
else:
    installation, role, *rest = os.environ["SKERRY_URI"].removeprefix("spiffe://").split("/")
    key = load_pem_public_key(sys.stdin.buffer.read())
    if MODE == "fails":
        sys.exit("the vault is sealed")
    if MODE == "other-key":
        key = new_key().public_key()
    identity = Identity(installation, Role.FRONT if MODE == "other-role" else Role(role), *rest)
    sys.stdout.buffer.write(certificates_to_pem(authority.certify(key, identity, (), now)))
"""


def test_it_is_made_once_also_by_two_at_the_same_moment(tmp_path: Path) -> None:
    made: list[FileAuthority] = []
    threads = [threading.Thread(target=lambda: made.append(FileAuthority(tmp_path, NOW))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({fingerprint(one.certificates[0]) for one in made}) == 1
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600


def test_a_certificate_leads_to_it_and_says_who_holds_it(tmp_path: Path) -> None:
    authority, key = FileAuthority(tmp_path, NOW), new_key()
    chain = authority.certify(key.public_key(), NODE, ("oslo.example", "10.0.0.7"), NOW)
    assert proven(chain, authority.certificates, Role.NODE, NOW) == NODE
    assert fingerprint(chain[0]) == fingerprint(key)
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node.skerry.internal", "oslo.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]


def test_a_certificate_is_refused_for_another_role_time_or_authority(tmp_path: Path) -> None:
    authority, stranger = FileAuthority(tmp_path / "a", NOW), FileAuthority(tmp_path / "b", NOW)
    chain = authority.certify(new_key().public_key(), NODE, (), NOW)
    with pytest.raises(NotTrusted, match="is of node oslo-1 of site oslo, not of a front"):
        proven(chain, authority.certificates, Role.FRONT, NOW)
    for when in (NOW + LIFE + datetime.timedelta(seconds=1), NOW - datetime.timedelta(days=730)):
        with pytest.raises(NotTrusted, match="set the clock"):
            proven(chain, authority.certificates, Role.NODE, when)
    with pytest.raises(NotTrusted, match="not issued by the authority"):
        proven(chain, stranger.certificates, Role.NODE, NOW)


def test_a_node_cannot_issue_for_others(tmp_path: Path) -> None:
    authority, key = FileAuthority(tmp_path, NOW), new_key()
    (node,) = authority.certify(key.public_key(), NODE, (), NOW)
    forged = signed(new_key().public_key(), Identity("skerry-1", Role.FRONT, "f"), (), (node, key), NOW)
    with pytest.raises(NotTrusted, match="not issued"):
        proven([forged, node], authority.certificates, Role.FRONT, NOW)


@pytest.mark.parametrize("gone", [KEY, CERTIFICATE])
def test_half_an_authority_is_no_reason_to_make_another(tmp_path: Path, gone: str) -> None:
    FileAuthority(tmp_path, NOW)
    (tmp_path / gone).unlink()
    with pytest.raises(Unavailable, match="restore the folder from a backup"):
        FileAuthority(tmp_path, NOW)


def test_files_of_two_authorities_are_refused(tmp_path: Path) -> None:
    FileAuthority(tmp_path / "a", NOW)
    FileAuthority(tmp_path / "b", NOW)
    (tmp_path / "a" / KEY).write_bytes((tmp_path / "b" / KEY).read_bytes())
    with pytest.raises(Unavailable, match="is not of the key"):
        FileAuthority(tmp_path / "a", NOW)


def test_a_part_is_certified_once_and_again_when_it_is_due(tmp_path: Path) -> None:
    authority, folder = FileAuthority(tmp_path / "a", NOW), IdentityFolder(tmp_path / "front-0")

    def certified(hosts: tuple[str, ...], now: datetime.datetime) -> bool:
        return certify_part(authority, folder, Role.FRONT, "front-0", hosts, now)

    assert certified(("127.0.0.1",), NOW)
    key = folder.held().fingerprint
    assert not certified(("127.0.0.1",), NOW)
    assert certified(("127.0.0.1", "front.example"), NOW)
    assert certified(("127.0.0.1", "front.example"), NOW + RENEW_AFTER)
    assert folder.held().fingerprint == key
    (folder.root / "certificate.pem").write_bytes(b"half")
    assert certified(("127.0.0.1",), NOW)
    assert str(folder.held().identity) == "front front-0"


def command(folder: Path, mode: str) -> str:
    script = folder / "sign.py"
    script.write_text(f"MODE = {mode!r}\n{SIGN}")
    return f"command:{sys.executable} {script} {folder / 'vault'}"


@pytest.mark.real
def test_a_command_signs_in_its_place(tmp_path: Path) -> None:
    authority, key = open_authority(command(tmp_path, ""), NOW), new_key()
    chain = authority.certify(key.public_key(), NODE, (), NOW)
    assert proven(chain, authority.certificates, Role.NODE, NOW) == NODE
    assert installation_of(authority.certificates) == installation_of(
        FileAuthority(tmp_path / "vault", NOW).certificates
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("mode", "said"),
    [("fails", "exit code 1: the vault is sealed"), ("other-key", "or another key"), ("other-role", "not of a node")],
)
def test_what_a_command_answers_is_checked(tmp_path: Path, mode: str, said: str) -> None:
    authority = open_authority(command(tmp_path, mode), NOW)
    with pytest.raises(Unavailable, match=said):
        authority.certify(new_key().public_key(), NODE, (), NOW)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match="/nowhere/sign"):
        open_authority("command:/nowhere/sign", NOW)


def test_a_request_gives_its_key_and_nothing_else() -> None:
    key = new_key()
    assert fingerprint(public_key_of(request_for(key, "any"))) == fingerprint(key)
    spoilt = bytearray(x509.load_pem_x509_csr(request_for(key, "any")).public_bytes(Encoding.DER))
    spoilt[-4] ^= 1
    for bad in (b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"x" * 100_000, _pem(bytes(spoilt))):
        with pytest.raises(InvalidRequest, match="PKCS #10"):
            public_key_of(bad)


def test_certificates_are_read_within_bounds() -> None:
    for bad in (b"", b"garbage", b"x" * 100_000):
        with pytest.raises(IdentityUnreadable):
            certificates_from_pem(bad, "f")


def _pem(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()
