"""Checks one signature in a process of its own: what that takes, `cryptography`, is 11 MiB that an agent would keep.

Nothing but the word of a process that ended well lets a model pass.
"""

import base64
import json
import subprocess
import sys
from typing import Final

from workers.artifacts.errors import CheckBroken, SignatureRefused
from workers.artifacts.trust import Trust, to_verify, verify

WAIT_S: Final = 30.0  # it takes a tenth of a second
RIGHT: Final = "right"


def check_apart(artifact: str, manifest: str, bundle: bytes | None, trust: Trust, silent_s: float) -> None:
    """As `trust.check`. Blocks. Raises SignatureRefused, CheckBroken."""
    signed = to_verify(artifact, bundle, trust, silent_s)
    if signed is None:
        return
    told = {
        "artifact": artifact,
        "manifest": manifest,
        "bundle": base64.b64encode(signed).decode(),
        "keys": [base64.b64encode(der).decode() for der in trust.keys],
        "revoked_keys": sorted(trust.revoked_keys),
    }
    answer = _asked(artifact, json.dumps(told))
    if answer.get("verdict") != RIGHT:
        raise SignatureRefused(artifact, str(answer.get("problem")))


def _asked(artifact: str, told: str) -> dict[str, str]:
    """Raises CheckBroken."""
    command = [sys.executable, "-P", "-m", "workers.artifacts.checking"]
    try:
        done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=WAIT_S, check=True)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as err:
        raise CheckBroken(artifact, f"{type(err).__name__}: {err}"[:300]) from err
    return found if isinstance(found, dict) else {}


def main() -> None:
    told = json.loads(sys.stdin.read())
    trust = Trust(
        tuple(base64.b64decode(der) for der in told["keys"]), revoked_keys=frozenset(told["revoked_keys"]), valid_s=1
    )
    try:
        verify(told["artifact"], told["manifest"], base64.b64decode(told["bundle"]), trust)
    except SignatureRefused as err:
        print(json.dumps({"verdict": "refused", "problem": err.problem}))
    else:
        print(json.dumps({"verdict": RIGHT}))


if __name__ == "__main__":
    main()
