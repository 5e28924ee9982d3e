"""How many replicas start at once: a policy's limits on concurrent starts and on the bytes that a site's link takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import Digest, ReplicaId, ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase, ReplicaPhase
from orchestrator.model.specs import PolicySpec
from orchestrator.reconcile.observed import LIVE


@dataclass(frozen=True, slots=True)
class Pace:
    """One service's limits. None: no limit."""

    max_starting: int | None
    bps_per_site: float | None
    window_s: float


def pace_of(policy: PolicySpec) -> Pace:
    return Pace(policy.max_concurrent_changes, policy.rollout_bps_per_site, policy.rollout_window_s)


@dataclass(slots=True)
class Pacing:
    """What is under way, and what one diff adds to it.

    Bytes count once for a site and artifact: whoever holds it has it. They count from the start until a window after
    the replica served. One artifact may always start, however large, or it never would.
    """

    paces: Mapping[ServiceRef, Pace]
    sizes: Mapping[str, int]  # bytes by digest
    now_s: float
    starting: dict[ServiceRef, int] = field(default_factory=dict)
    since_s: dict[tuple[SiteName, Digest], float] = field(default_factory=dict)  # of the oldest that holds it

    def admit(self, service: ServiceRef, site: SiteName, digest: Digest) -> bool:
        """Whether one more may start now; if so it counts."""
        if not self.may(service, site, digest):
            return False
        self.starting[service] = self.starting.get(service, 0) + 1
        self.since_s.setdefault((site, digest), self.now_s)
        return True

    def may(self, service: ServiceRef, site: SiteName, digest: Digest) -> bool:
        """Whether one more may start now."""
        pace = self.paces.get(service)
        return pace is None or (self._few_enough(pace, service) and self._small_enough(pace, site, digest))

    def _few_enough(self, pace: Pace, service: ServiceRef) -> bool:
        return pace.max_starting is None or self.starting.get(service, 0) < pace.max_starting

    def _small_enough(self, pace: Pace, site: SiteName, digest: Digest) -> bool:
        if pace.bps_per_site is None or (site, digest) in self.since_s:
            return True
        sent = sum(
            self.sizes.get(held, 0)
            for (where, held), since_s in self.since_s.items()
            if where == site and self.now_s - since_s < pace.window_s
        )
        return sent == 0 or sent + self.sizes.get(digest, 0) <= pace.bps_per_site * pace.window_s / 8


def pacing_of(
    paces: Mapping[ServiceRef, Pace],
    sizes: Mapping[str, int],
    claims: Sequence[Claim],
    phases: Mapping[ReplicaId, ReplicaPhase],
    now_s: float,
) -> Pacing:
    """From what the claims hold and their holders report."""
    pacing = Pacing(paces, sizes, now_s)
    for claim in claims:
        if not isinstance(claim.hold, ReplicaHold) or claim.phase not in LIVE:
            continue
        key = (claim.site, claim.hold.digest)
        pacing.since_s[key] = min(claim.since_s, pacing.since_s.get(key, claim.since_s))
        if claim.phase is ClaimPhase.RESERVED and phases.get(claim.id) is not ReplicaPhase.READY:
            pacing.starting[claim.hold.service] = pacing.starting.get(claim.hold.service, 0) + 1
    return pacing
