"""Renews a node's certificate once: `python -m workers.edge.renewing STATE_DIR`, a process of its own.

What it takes to make a request and to check an answer, `cryptography`, is 14 MiB that an agent would hold for weeks.
"""

import asyncio
import datetime
import json
import logging
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from protos.link.v1 import link_pb2 as pb
from workers.edge import enrolling, membership
from workers.edge.clock import Clock
from workers.edge.enrolling import Certificates, Renewing
from workers.edge.errors import EdgeError, EnrolmentFailed, Revoked
from workers.edge.membership import Membership
from workers.edge.plan import Plan, plan_of, save_plan
from workers.edge.software import own_software
from workers.identity.errors import IdentityError
from workers.identity.folder import AUTHORITY, IdentityFolder, folder_of
from workers.identity.keys import certificates_from_pem, fingerprint

EARLIER = 0.1  # of the wait, at most, by chance: nodes that joined together do not all come back together
LEFT_WHEN_DUE = 1 / 3  # of what a certificate lasts, where nobody has said when

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of `renewed`, `revoked`, `failed`; what was told goes to the agent, which writes it down."""

    kind: str
    said: str = ""
    fronts: tuple[str, ...] = ()
    enrolments: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()


def main(root: Path) -> None:
    print(json.dumps(asdict(asyncio.run(renewed(root)))))


async def renewed(root: Path) -> Outcome:
    """Leaves the certificate and the plan on disk."""
    try:
        joined = membership.load(root)
        if joined is None:
            raise EnrolmentFailed(f"{root}: what joining told is gone: join again with a new token")
        certified = await _certified(folder_of(root), joined)
        return keep(root, certified, random.Random())
    except Revoked as err:
        return _ended(root, Outcome("revoked", str(err)))
    except (EdgeError, IdentityError, OSError) as err:
        return _ended(root, Outcome("failed", str(err)))


def keep(root: Path, certified: pb.Certified, chance: random.Random) -> Outcome:
    """Writes down what a front has certified; the membership is left to the caller. Raises IdentityError, OSError."""
    certificate = folder_of(root).save(certified.certificate_pem, certified.authority_pem).certificate
    authority = certificates_from_pem(certified.authority_pem, "the authority")
    ends_s = certificate.not_valid_after_utc.timestamp()
    wait_s = certified.renew_in_s or max(1.0, (ends_s - time.time()) * (1 - LEFT_WHEN_DUE))
    save_plan(root, Plan(time.time() + wait_s * chance.uniform(1 - EARLIER, 1), ends_s))
    Clock(root).learn(certificate.not_valid_before_utc)
    pins = tuple(fingerprint(one) for one in authority)
    said = f"valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return Outcome("renewed", said, tuple(certified.fronts), tuple(certified.enrolments), pins)


async def _certified(folder: IdentityFolder, joined: Membership) -> pb.Certified:
    """From the first enrolment address that answers. Raises EnrolmentFailed, IdentityError, OSError."""
    problem = EnrolmentFailed("no enrolment address is known: join again with a new token")
    asks = Renewing(folder.key_held(), joined.node, joined.pins, _authority(folder), own_software())
    for address in joined.enrolments:
        try:
            # Not the clock's floor: TLS goes by the wall as well.
            return await enrolling.renew(address, asks, datetime.datetime.now(datetime.UTC))
        except Revoked:
            raise
        except EnrolmentFailed as err:
            problem = err
    raise problem


def _authority(folder: IdentityFolder) -> Certificates:
    """Empty: its file is lost, and it is known by its fingerprint."""
    path = folder.root / AUTHORITY
    try:
        return certificates_from_pem(path.read_bytes(), str(path))
    except (IdentityError, OSError):
        return []


def _ended(root: Path, outcome: Outcome) -> Outcome:
    revoked = outcome.said if outcome.kind == "revoked" else plan_of(root).revoked
    try:
        save_plan(root, replace(plan_of(root), revoked=revoked, failed=outcome.said))
    except OSError as err:
        return replace(outcome, said=f"{outcome.said}; nor can it be written down: {err}")
    return outcome


if __name__ == "__main__":
    main(Path(sys.argv[1]))
