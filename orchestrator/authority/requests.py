"""Requests for certificates, as anybody may send them."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.errors import InvalidRequest
from workers.identity.keys import MOST_PEM_BYTES

REMEDY = "send a PKCS #10 request in PEM, of an ECDSA key on P-256 or P-384 and signed by it"
KEY_BITS = (256, 384)


def public_key_of(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key that signed the request; nothing else of it counts. Raises InvalidRequest."""
    if len(request_pem) > MOST_PEM_BYTES:
        raise InvalidRequest("request_pem", f"{len(request_pem)} bytes", REMEDY)
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key, proven = request.public_key(), request.is_signature_valid
    except Exception as err:  # the parser names some dozen errors for what is not a request
        raise InvalidRequest("request_pem", request_pem[:60], f"{REMEDY} ({err})") from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size not in KEY_BITS or not proven:
        raise InvalidRequest("request_pem", request_pem[:60], REMEDY)
    return key
