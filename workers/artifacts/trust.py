"""Who may say that an artifact is what it should be: keys, what of them was revoked, and the check before each load.

A signature is an OpenSSF model-signing bundle made with a key: a Sigstore bundle around a DSSE envelope around an
in-toto statement that lists files by digest. The check needs no network. Everything in a bundle is somebody else's
bytes until its signature was right.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workers.artifacts.digest import hex_of
from workers.artifacts.errors import SignatureRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
MANIFEST_NAME: Final = "manifest"  # of the manifest among the signed files
BUNDLE_MOST_BYTES: Final = 64 << 10
SIGNATURES_MOST: Final = 8
REMEDY: Final = "register the version again with a trusted key, or have its key trusted"


@dataclass(frozen=True, slots=True)
class Trust:
    """No keys: nothing need be signed. Revocations hold for `valid_s` after the last contact with a front."""

    keys: tuple[bytes, ...] = ()  # DER
    revoked_keys: frozenset[str] = frozenset()  # `key_id`s
    revoked_artifacts: frozenset[str] = frozenset()
    valid_s: int = 0


def key_id(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def check(artifact: str, manifest: str, bundle: bytes | None, trust: Trust, silent_s: float) -> None:
    """Whether the artifact may be loaded. Raises SignatureRefused.

    `manifest`: the digest of the one it came by, or empty. `silent_s`: how old the revocations are.
    """
    if (signed := to_verify(artifact, bundle, trust, silent_s)) is not None:
        verify(artifact, manifest, signed, trust)


def to_verify(artifact: str, bundle: bytes | None, trust: Trust, silent_s: float) -> bytes | None:
    """What takes no signature to know; answers the bundle whose signature is left to verify.

    Raises SignatureRefused.
    """
    if artifact in trust.revoked_artifacts:
        raise SignatureRefused(artifact, "it was revoked: assign another version")
    if not trust.keys:
        return None
    if silent_s > trust.valid_s:
        old = f"revocations are {silent_s:.0f} s old, they hold for {trust.valid_s} s: restore the link to a front"
        raise SignatureRefused(artifact, old)
    if bundle is None:
        raise SignatureRefused(artifact, f"it is not signed: {REMEDY}")
    return bundle


def verify(artifact: str, manifest: str, bundle: bytes, trust: Trust) -> None:
    """Whether a trusted key signed the artifact, and the manifest if it signed one. Raises SignatureRefused."""
    _check_names(artifact, manifest, _signed_payload(artifact, bundle, trust))


def pae(payload: bytes) -> bytes:
    """What a DSSE signature signs (github.com/secure-systems-lab/dsse, protocol.md)."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _signed_payload(artifact: str, bundle: bytes, trust: Trust) -> bytes:
    """What a trusted key signed."""
    payload, signatures = _opened(artifact, bundle)
    for der in trust.keys:
        if key_id(der) not in trust.revoked_keys and any(_signs(der, each, payload) for each in signatures):
            return payload
    revoked = any(key_id(der) in trust.revoked_keys and _signs(der, signatures[0], payload) for der in trust.keys)
    said = "its key was revoked" if revoked else "no trusted key signed what it says"
    raise SignatureRefused(artifact, f"{said}: {REMEDY}")


def _opened(artifact: str, bundle: bytes) -> tuple[bytes, list[bytes]]:
    try:
        if len(bundle) > BUNDLE_MOST_BYTES:
            raise ValueError(f"it has {len(bundle)} bytes")
        found = json.loads(bundle)
        envelope = found["dsseEnvelope"]
        if (found["mediaType"], envelope["payloadType"]) != (BUNDLE_TYPE, PAYLOAD_TYPE):
            raise ValueError("it is of another type")
        signatures = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
        if not 0 < len(signatures) <= SIGNATURES_MOST:
            raise ValueError(f"it has {len(signatures)} signatures")
        return base64.b64decode(envelope["payload"], validate=True), signatures
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, binascii.Error) as err:
        problem = f"its signature is no bundle ({type(err).__name__}: {str(err)[:100]}): {REMEDY}"
        raise SignatureRefused(artifact, problem) from err


def _signs(der: bytes, signature: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # not above: a node that checks nothing need not load it
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    key = _public_key(der)
    if key is None:
        return False
    try:
        key.verify(signature, pae(payload), ECDSA(hash_for(key)))
    except InvalidSignature:
        return False
    return True


def _public_key(der: bytes) -> "EllipticCurvePublicKey | None":
    """None: of a kind that a newer release knows; it signs nothing here."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and key.curve.key_size in (256, 384, 521) else None


def hash_for(key: "EllipticCurvePublicKey") -> "HashAlgorithm":
    """As Sigstore's registry of algorithms pairs curves and hashes."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    match key.curve.key_size:
        case 256:
            return SHA256()
        case 384:
            return SHA384()
    return SHA512()


def _check_names(artifact: str, manifest: str, payload: bytes) -> None:
    """The statement must list the artifact, and if it lists a manifest, this one."""
    listed = dict(_resources(artifact, payload))
    if hex_of(artifact) not in listed.values():
        raise SignatureRefused(artifact, f"a trusted key signed something else: {REMEDY}")
    if manifest and listed.get(MANIFEST_NAME, hex_of(manifest)) != hex_of(manifest):
        raise SignatureRefused(artifact, f"a trusted key signed another manifest: {REMEDY}")


def _resources(artifact: str, payload: bytes) -> Iterator[tuple[str, str]]:
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError("it is of another type")
        for each in statement["predicate"]["resources"]:
            if each["algorithm"] == "sha256":
                yield str(each["name"]), str(each["digest"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as err:
        raise SignatureRefused(artifact, f"the signed statement cannot be read ({type(err).__name__})") from err
