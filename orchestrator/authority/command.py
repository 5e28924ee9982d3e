"""An authority elsewhere, spoken to by a command of the operator's."""

import datetime
import os
import shlex
import subprocess
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.authority.certificates import LIFE
from orchestrator.errors import Unavailable
from workers.identity.errors import IdentityError
from workers.identity.keys import certificates_from_pem, fingerprint
from workers.identity.names import Identity
from workers.identity.trust import proven

WAIT_S = 30.0


class CommandAuthority:
    """`COMMAND authority` prints the certificates to trust, `COMMAND certify` reads a public key and prints a chain.

    Both in PEM, by stdin and stdout. What is asked for stands in the environment: SKERRY_URI (a URI name), SKERRY_HOSTS
    (DNS names and addresses, by commas), SKERRY_DAYS. What comes back is checked before anybody gets it.
    """

    def __init__(self, command: str) -> None:
        """Raises Unavailable."""
        self._command = shlex.split(command)
        printed = self._run("authority", b"", {})
        try:
            self._certificates = certificates_from_pem(printed, f"{command} authority")
        except IdentityError as err:
            raise Unavailable(str(err)) from err

    @property
    def certificates(self) -> list[x509.Certificate]:
        return list(self._certificates)

    def certify(
        self, of: ec.EllipticCurvePublicKey, identity: Identity, hosts: Sequence[str], now: datetime.datetime
    ) -> list[x509.Certificate]:
        names = ",".join([identity.role.host, *hosts])
        asked = {"SKERRY_URI": identity.uri, "SKERRY_HOSTS": names, "SKERRY_DAYS": str(LIFE.days)}
        key = of.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        printed = self._run("certify", key, asked)
        try:
            chain = certificates_from_pem(printed, f"{self._command[0]} certify")
            found = proven(chain, self._certificates, identity.role, now)
        except IdentityError as err:
            raise Unavailable(f"authority {self._command[0]}: {err}") from err
        if found != identity or fingerprint(chain[0]) != fingerprint(of):
            raise Unavailable(
                f"authority {self._command[0]}: asked for {identity}, it certified {found} or another key"
            )
        return chain

    def _run(self, verb: str, given: bytes, asked: dict[str, str]) -> bytes:
        try:
            done = subprocess.run(
                [*self._command, verb], input=given, capture_output=True, timeout=WAIT_S, env=os.environ | asked
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise Unavailable(f"authority {self._command[0]}: {err}") from err
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise Unavailable(f"authority {self._command[0]} {verb}: exit code {done.returncode}: {said}")
        return done.stdout
