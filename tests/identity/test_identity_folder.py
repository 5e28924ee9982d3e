"""An identity on disk: whole, or refused with what would mend it."""

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.authority import DAY, TestAuthority, now
from workers.identity.errors import IdentityError, IdentityUnreadable, NotEnrolled
from workers.identity.folder import AUTHORITY, CERTIFICATE, KEY, IdentityFolder, Pems
from workers.identity.keys import fingerprint
from workers.identity.names import Identity, Role

SEAL_BYTES = 100  # without it the rest is parsed, and found whole
FILES = (KEY, CERTIFICATE, AUTHORITY)


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest.fixture(scope="module")
def enrolled(authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory) -> IdentityFolder:
    return authority.enrol(tmp_path_factory.mktemp("enrolled"), Role.NODE, "n1", "s1")


def copied(folder: IdentityFolder, into: Path) -> IdentityFolder:
    into.mkdir(exist_ok=True)
    for name in FILES:
        (into / name).write_bytes((folder.root / name).read_bytes())
    return IdentityFolder(into)


def test_a_new_folder_is_not_enrolled_and_keeps_its_first_key(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / "identity")
    for asked in (folder.held, folder.key_held):
        with pytest.raises(NotEnrolled):
            asked()
    key = folder.key()
    assert fingerprint(folder.key()) == fingerprint(key) == fingerprint(folder.key_held())
    with pytest.raises(NotEnrolled):
        folder.held()


def test_only_its_owner_may_read_it(enrolled: IdentityFolder, authority: TestAuthority, tmp_path: Path) -> None:
    folder = authority.enrol(tmp_path / "a" / "identity", Role.NODE, "n1", "s1")
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.root.iterdir()} == {0o600}


def test_what_is_held_says_who_it_is(enrolled: IdentityFolder) -> None:
    held = enrolled.held()
    assert held.identity == Identity("test", Role.NODE, "n1", "s1")
    assert held.fingerprint == fingerprint(enrolled.key())


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte_is_taken_for_the_identity_or_raises_anything_else(
    enrolled: IdentityFolder, tmp_path: Path, name: str
) -> None:
    """Every byte of every file. One that changes nothing (a line's end, an unused bit) may pass, as what it was."""
    was = enrolled.held()
    folder = copied(enrolled, tmp_path / "spoilt")
    data = (enrolled.root / name).read_bytes()
    passed = 0
    for at in range(len(data)):
        (folder.root / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            held = folder.held()
        except IdentityError:
            continue
        passed += 1
        assert (held.fingerprint, held.identity) == (was.fingerprint, was.identity)
    assert passed < len(data) / 10 + (SEAL_BYTES if name == CERTIFICATE else 0)


@pytest.mark.parametrize("name", FILES)
@given(data=st.binary(max_size=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_bytes_are_refused(enrolled: IdentityFolder, tmp_path: Path, name: str, data: bytes) -> None:
    folder = copied(enrolled, tmp_path / "any")
    (folder.root / name).write_bytes(data)
    with pytest.raises(IdentityUnreadable, match=name):
        folder.held()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8])
def test_a_half_written_file_is_refused_by_name(
    enrolled: IdentityFolder, tmp_path: Path, name: str, kept: float
) -> None:
    folder = copied(enrolled, tmp_path / "half")
    data = (enrolled.root / name).read_bytes()
    (folder.root / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(IdentityUnreadable, match=name):
        folder.held()


@pytest.mark.parametrize("name", [KEY, AUTHORITY])
def test_a_lost_file_is_refused_by_name(enrolled: IdentityFolder, tmp_path: Path, name: str) -> None:
    folder = copied(enrolled, tmp_path / "lost")
    (folder.root / name).unlink()
    with pytest.raises(IdentityUnreadable, match=name):
        folder.held()


def test_a_certificate_of_another_key_is_refused_before_anything_is_written(
    enrolled: IdentityFolder, authority: TestAuthority, tmp_path: Path
) -> None:
    folder = copied(enrolled, tmp_path / "other")
    before = folder.held()
    foreign = authority.enrol(tmp_path / "foreign", Role.NODE, "n2", "s1")
    with pytest.raises(IdentityUnreadable, match="is not of the key in"):
        folder.save(foreign.held().certificate_pem, authority.pem)
    assert folder.held() == before


def test_a_certificate_that_is_renewed_changes_the_stamp_and_keeps_the_key(
    enrolled: IdentityFolder, authority: TestAuthority, tmp_path: Path
) -> None:
    folder = copied(enrolled, tmp_path / "renewed")
    before, stamp = folder.held(), folder.stamp()
    folder.save(authority.issue(folder.key(), Role.NODE, "n1", "s1", ends=now() + 2 * DAY), authority.pem)
    after = folder.held()
    assert folder.stamp() != stamp
    assert after.fingerprint == before.fingerprint
    assert after.certificate != before.certificate


def test_whoever_reads_while_it_is_renewed_finds_a_whole_identity(
    enrolled: IdentityFolder, authority: TestAuthority, tmp_path: Path
) -> None:
    folder = copied(enrolled, tmp_path / "read")
    done, problems = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                folder.held()
                folder.stamp()
            except (IdentityError, OSError) as err:
                problems.append(err)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        folder.save(authority.issue(folder.key(), Role.NODE, "n1", "s1"), authority.pem)
    done.set()
    reader.join(10)
    assert problems == []


@pytest.mark.parametrize("name", FILES)
def test_sealed_it_is_read_without_being_parsed_and_no_flipped_byte_passes(
    enrolled: IdentityFolder, tmp_path: Path, name: str
) -> None:
    folder, held = copied(enrolled, tmp_path / "sealed"), enrolled.held()
    was = Pems(held.key_pem, held.certificate_pem, held.authority_pem)
    assert folder.pems() == was
    data = (folder.root / name).read_bytes()
    for at in range(0, len(data), 7):
        (folder.root / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            pems = folder.pems()
        except IdentityError:
            continue
        folder.held()  # what passes is whole: the seal itself was hit, or a byte that says nothing
        assert pems.key == was.key or name == KEY


def test_an_identity_from_another_hand_has_no_seal_and_is_parsed(enrolled: IdentityFolder, tmp_path: Path) -> None:
    folder, held = copied(enrolled, tmp_path / "unsealed"), enrolled.held()
    (folder.root / CERTIFICATE).write_bytes(held.certificate_pem)
    assert folder.pems().certificate == held.certificate_pem
    (folder.root / CERTIFICATE).write_bytes(held.certificate_pem[:-100])
    with pytest.raises(IdentityUnreadable):
        folder.pems()


def test_opening_connections_loads_no_cryptography(enrolled: IdentityFolder) -> None:
    script = (
        "import sys; from pathlib import Path; from workers.identity.tls import *; "
        "from workers.identity.folder import IdentityFolder; f = IdentityFolder(Path(sys.argv[1])); "
        "channel_credentials(f), server_credentials(f); print('cryptography' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(enrolled.root)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_forgotten_it_is_as_new(enrolled: IdentityFolder, tmp_path: Path) -> None:
    folder = copied(enrolled, tmp_path / "forgotten")
    folder.forget()
    folder.forget()
    with pytest.raises(NotEnrolled):
        folder.held()
    assert fingerprint(folder.key()) != fingerprint(enrolled.key())
