"""What a person carries from the control plane to a machine, so that each knows the other.

`skerry1.ID.SECRET.PIN`: which token, what proves that it was given, and the fingerprint of the authority's key, so that
a machine never tells the secret to anybody else.
"""

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass

from cryptography import x509

from workers.identity.errors import NotTrusted, TokenInvalid
from workers.identity.keys import fingerprint

PREFIX = "skerry1"
SECRET_BYTES = 24
_ID = re.compile(r"[a-z0-9]{8}")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # none that a reader takes for another


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    secret: str = ""  # never in a repr that a log might show: see __repr__
    pin: str = ""  # of the authority's key, hex

    def __repr__(self) -> str:
        return f"Token({self.id})"

    @property
    def text(self) -> str:
        return ".".join((PREFIX, self.id, self.secret, _short(bytes.fromhex(self.pin))))

    @property
    def secret_hash(self) -> str:
        """What the control plane keeps. The secret is 192 random bits, which no slow hash would protect better."""
        return hashlib.sha256(f"{self.id}.{self.secret}".encode()).hexdigest()


def new_token(pin: str) -> Token:
    id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return Token(id, _short(secrets.token_bytes(SECRET_BYTES)), pin)


def token_from(text: str) -> Token:
    """Raises TokenInvalid, without repeating the secret."""
    parts = text.strip().split(".")
    remedy = "copy it whole from `skerry token create`"
    if len(parts) != 4 or parts[0] != PREFIX:
        raise TokenInvalid(f"token of {len(text.strip())} characters: it is not {PREFIX}.ID.SECRET.PIN: {remedy}")
    _, id, secret, pin = parts
    if not _ID.fullmatch(id) or _bytes(secret, SECRET_BYTES) is None or (digest := _bytes(pin, 32)) is None:
        shown = id if _ID.fullmatch(id) else "of another form"  # whatever stands in its place may be the secret
        raise TokenInvalid(f"token {shown}: it is cut short or mistyped: {remedy}")
    return Token(id, secret, digest.hex())


def pinned(token: Token, authority: list[x509.Certificate]) -> x509.Certificate:
    """The certificate of the authority that the token names. Raises NotTrusted."""
    for certificate in authority:
        if secrets.compare_digest(fingerprint(certificate), token.pin):
            return certificate
    found = ", ".join(fingerprint(one)[:16] for one in authority) or "none"
    raise NotTrusted(
        f"token {token.id}: it was made by the authority {token.pin[:16]}, and {found} answers: "
        "check the address, or make a token there"
    )


def _short(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str, length: int) -> bytes | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One text for one token: base64's last character has bits to spare.
    return data if len(data) == length and _short(data) == text else None
