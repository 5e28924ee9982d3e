"""Keeps the node's certificate young: renewed by its key, while everything goes on."""

import asyncio
import datetime
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.disk import sync_folder
from workers.edge import enrolling, membership
from workers.edge.channels import Backoff
from workers.edge.clock import Clock
from workers.edge.dialling import Fronts
from workers.edge.enrolling import Certificates, Renewing
from workers.edge.errors import EdgeError, EnrolmentFailed, Revoked
from workers.edge.membership import Membership
from workers.edge.state import read_json
from workers.identity.errors import IdentityError
from workers.identity.folder import AUTHORITY, IdentityFolder
from workers.identity.keys import certificates_from_pem, fingerprint

RENEWAL = "renewal.json"
EARLIER = 0.1  # of the wait, at most, by chance: nodes that joined together do not all come back together
LOOK_EVERY_S = 30.0  # the wall clock may be set, and a machine may sleep
RETRY_FIRST_S, RETRY_MOST_S = 5.0, 600.0
REVOKED_WAIT_S = 600.0
LEFT_WHEN_DUE = 1 / 3  # of a certificate's life, where nobody has said when

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """`due_s`: since 1970; 0: nobody has said. `revoked`: what the front said when it refused the key, else empty."""

    due_s: float = 0.0
    revoked: str = ""
    failed: str = ""  # why the last try came to nothing


def plan_of(root: Path) -> Plan:
    saved = read_json(root / RENEWAL)
    due_s, revoked, failed = saved.get("due_s"), saved.get("revoked"), saved.get("failed")
    due_s = float(due_s) if isinstance(due_s, int | float) and 0 < due_s < 1e11 else 0.0
    return Plan(due_s, revoked if isinstance(revoked, str) else "", failed if isinstance(failed, str) else "")


def save_plan(root: Path, plan: Plan) -> None:
    """Raises OSError."""
    passing = root / f".{RENEWAL}.new"
    passing.write_text(json.dumps({"due_s": round(plan.due_s, 1), "revoked": plan.revoked, "failed": plan.failed}))
    passing.replace(root / RENEWAL)
    sync_folder(root)


def keep(root: Path, joined: Membership, certified: pb.Certified, chance: random.Random) -> None:
    """Writes down all that a front has certified. Raises IdentityError, EdgeError, OSError."""
    certificate = folder_of(root).save(certified.certificate_pem, certified.authority_pem).certificate
    authority = certificates_from_pem(certified.authority_pem, "the authority")
    pins = tuple(fingerprint(one) for one in authority)
    told = joined.told(tuple(certified.fronts), tuple(certified.enrolments))
    membership.save(root, replace(told, pins=pins))
    left_s = certificate.not_valid_after_utc.timestamp() - time.time()
    wait_s = certified.renew_in_s or max(1.0, left_s * (1 - LEFT_WHEN_DUE))
    save_plan(root, Plan(time.time() + wait_s * chance.uniform(1 - EARLIER, 1)))
    Clock(root).learn(certificate.not_valid_before_utc)


class Renewal:
    """One node's. `learn` is told of the fronts; `retry`: how long to wait after a failure."""

    def __init__(
        self,
        root: Path,
        software: pb.Software,
        learn: Callable[[Fronts], Awaitable[None]],
        retry: Backoff | None = None,
    ) -> None:
        self._root, self._software, self._learn = root, software, learn
        self._folder, self._clock = folder_of(root), Clock(root)
        self._chance = random.Random()
        self._retry = retry or Backoff(self._chance, RETRY_FIRST_S, RETRY_MOST_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while (left_s := self._due_s() - self._clock.now().timestamp()) > 0:
                await asyncio.sleep(min(left_s, LOOK_EVERY_S))
                self._note_time()
            await asyncio.sleep(await self.try_once())

    async def try_once(self) -> float:
        """Renew; answers how long to leave it at that, in seconds: 0 when it was renewed."""
        try:
            ends = await self._renewed()
        except Revoked as err:
            self._noted(Plan(revoked=str(err), failed=str(err)))
            _log.error("the certificate is not renewed: the node was revoked", extra={"reason": str(err)})
            return REVOKED_WAIT_S * self._chance.uniform(0.5, 1)
        except (EdgeError, IdentityError, OSError) as err:
            wait_s = self._retry.next_s()
            self._noted(replace(plan_of(self._root), failed=str(err)))
            _log.warning("the certificate is not renewed yet", extra={"reason": str(err), "again_in_s": round(wait_s)})
            return wait_s
        self._retry.reset()
        _log.info("the certificate is renewed", extra={"ends": f"{ends:%Y-%m-%d %H:%M} UTC"})
        return 0.0

    async def _renewed(self) -> datetime.datetime:
        """When the new one ends. Raises EdgeError, IdentityError, OSError."""
        joined = membership.load(self._root)
        if joined is None:
            raise EnrolmentFailed(f"{self._root}: what joining told is gone: join again with a new token")
        certified = await self._certified(joined)
        keep(self._root, joined, certified, self._chance)
        await self._learn(tuple(certified.fronts))
        return self._folder.held().certificate.not_valid_after_utc

    async def _certified(self, joined: Membership) -> pb.Certified:
        """From the first enrolment address that answers. Raises EnrolmentFailed, IdentityError, OSError."""
        problem: EnrolmentFailed = EnrolmentFailed("no enrolment address is known: join again with a new token")
        for address in joined.enrolments:
            at = datetime.datetime.now(datetime.UTC)  # not the clock's floor: TLS goes by the wall as well
            request = Renewing(self._folder.key_held(), joined.node, joined.pins, self._authority(), self._software)
            try:
                return await enrolling.renew(address, request, at)
            except Revoked:
                raise
            except EnrolmentFailed as err:
                problem = err
        raise problem

    def _authority(self) -> Certificates:
        """Empty: its file is lost."""
        path = self._folder.root / AUTHORITY
        try:
            return certificates_from_pem(path.read_bytes(), str(path))
        except (IdentityError, OSError) as err:
            _log.warning("the authority cannot be read; it is known by its fingerprint", extra={"reason": str(err)})
            return []

    def _due_s(self) -> float:
        """Since 1970; at once if there is no certificate that can be read."""
        try:
            certificate = self._folder.held().certificate
        except (IdentityError, OSError) as err:
            _log.error("there is no certificate that can be read; asking for another", extra={"reason": str(err)})
            return 0.0
        return due_s(certificate, plan_of(self._root))

    def _note_time(self) -> None:
        try:
            self._clock.note()
        except OSError as err:
            _log.error("cannot write down the time: free space on the disk", extra={"error": str(err)})

    def _noted(self, plan: Plan) -> None:
        try:
            save_plan(self._root, plan)
        except OSError as err:
            _log.error("cannot write down the renewal: free space on the disk", extra={"error": str(err)})


def folder_of(root: Path) -> IdentityFolder:
    return IdentityFolder(root / "identity")


def due_s(certificate: x509.Certificate, plan: Plan) -> float:
    """When to renew, since 1970: as the front has said, at the latest when it ends."""
    begins_s, ends_s = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return min(plan.due_s, ends_s) if plan.due_s else ends_s - (ends_s - begins_s) * LEFT_WHEN_DUE
