"""Whom a certificate proves, and whom it does not."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.authority import DAY, TestAuthority, foreign_leaf, now
from workers.identity.errors import IdentityUnreadable, NotTrusted
from workers.identity.keys import certificates_from_pem, key_from_pem, key_to_pem, new_key, request_for
from workers.identity.names import Identity, Role, identity_of
from workers.identity.trust import proven

AUTHORITY = TestAuthority()
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?", fullmatch=True)


def leaf(authority: TestAuthority = AUTHORITY, role: Role = Role.FRONT, **dates: datetime.datetime) -> x509.Certificate:
    return certificates_from_pem(authority.issue(new_key(), role, "f1", **dates), "leaf")[0]


def test_a_certificate_of_the_authority_and_role_is_proven() -> None:
    assert proven([leaf()], [AUTHORITY.certificate], Role.FRONT, now()) == Identity("test", Role.FRONT, "f1")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.FRONT])
def test_another_role_is_not(role: Role) -> None:
    with pytest.raises(NotTrusted, match="not of a front"):
        proven([leaf(role=role)], [AUTHORITY.certificate], Role.FRONT, now())


def test_another_authority_of_the_same_name_is_not() -> None:
    with pytest.raises(NotTrusted, match="was not issued by the authority"):
        proven([leaf(TestAuthority())], [AUTHORITY.certificate], Role.FRONT, now())
    with pytest.raises(NotTrusted, match="was not issued by the authority"):
        proven([leaf()], [], Role.FRONT, now())


def test_what_a_node_issues_is_not() -> None:
    """Its certificate says CA:FALSE, which a look at signatures alone would miss."""
    node = TestAuthority()
    node.certificate = certificates_from_pem(AUTHORITY.issue(node.key, Role.NODE, "n1", "s1"), "node")[0]
    with pytest.raises(NotTrusted, match="was not issued by the authority"):
        proven([leaf(node), node.certificate], [AUTHORITY.certificate], Role.FRONT, now())


@pytest.mark.parametrize("off", [-730 * DAY, 730 * DAY], ids=["behind", "ahead"])
def test_a_clock_two_years_off_is_told_with_both_times(off: datetime.timedelta) -> None:
    with pytest.raises(NotTrusted) as refused:
        proven([leaf()], [AUTHORITY.certificate], Role.FRONT, now() + off)
    assert f"{now() + off:%Y-%m-%d}" in str(refused.value)
    assert f"{now():%Y-%m-%d}" in str(refused.value)
    assert "set the clock" in str(refused.value)


def test_a_certificate_of_another_world_names_no_part() -> None:
    _, pem = foreign_leaf()
    with pytest.raises(NotTrusted, match="names no part of Skerry"):
        identity_of(certificates_from_pem(pem, "leaf")[0])


@given(NAMES, NAMES | st.just(""), st.sampled_from(Role))
def test_names_are_read_back_as_they_were_written(name: str, site: str, role: Role) -> None:
    pem = AUTHORITY.issue(AUTHORITY.key, role, name, site)
    assert identity_of(certificates_from_pem(pem, "leaf")[0]) == Identity("test", role, name, site)


@given(st.text(st.characters(codec="ascii"), max_size=80))
def test_any_other_uri_names_no_part(uri: str) -> None:
    pem = AUTHORITY.issue(AUTHORITY.key, Role.NODE, f"x/y{uri}", "s1/../control")
    with pytest.raises(NotTrusted, match="names no part of Skerry"):
        identity_of(certificates_from_pem(pem, "leaf")[0])


def test_keys_are_read_back_and_others_refused() -> None:
    key = new_key()
    assert key_from_pem(key_to_pem(key), "it").private_numbers() == key.private_numbers()
    for other in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()):
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(IdentityUnreadable, match="another kind than ECDSA"):
            key_from_pem(pem, "it")


def test_a_request_is_signed_by_its_key_and_a_long_name_does_not_break_it() -> None:
    request = x509.load_pem_x509_csr(request_for(new_key(), "n" * 253))
    assert request.is_signature_valid


@given(st.binary(max_size=300) | st.just(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
def test_any_bytes_are_no_certificate_and_no_key(data: bytes) -> None:
    with pytest.raises(IdentityUnreadable, match="file"):
        certificates_from_pem(data, "file")
    with pytest.raises(IdentityUnreadable, match="file"):
        key_from_pem(data, "file")


def test_more_than_any_chain_is_not_read() -> None:
    with pytest.raises(IdentityUnreadable, match="more than"):
        certificates_from_pem(AUTHORITY.pem * 200, "file")
