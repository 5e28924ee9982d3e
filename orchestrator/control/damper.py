"""The placement loop's memory of its own changes: what waits, what is held, and what the gateways were given."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.control.codec import decision_from
from orchestrator.control.seams import Store
from orchestrator.control.snapshots import Taken
from orchestrator.errors import Damaged, NotFound
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName, VersionRef
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision
from orchestrator.reconcile.damping import Admitted, Watch, Watches, admit, hold_told, made, remembered, told, watched
from orchestrator.reconcile.flapping import WINDOW_S
from orchestrator.reconcile.observed import Observed
from orchestrator.reconcile.routes import ServiceRoutes, serving_replicas
from orchestrator.reconcile.sharing import Step, held_shares, step_service

log = logging.getLogger(__name__)

MOST_REMEMBERED = 64  # decisions read at a start: more within an hour flap anyway


@dataclass(frozen=True, slots=True)
class Held:
    """Why a service stays as it is, for its status."""

    reason: str
    message: str


@dataclass(slots=True)
class Damper:
    """In memory only.

    A restarted one derives its watches from the stored decisions. It does not know how far a move of calls had come,
    and completes it at once.
    """

    watches: Watches = field(default_factory=dict)
    _brakes: dict[ServiceRef, str] = field(default_factory=dict)
    _routes: list[ServiceRoutes] = field(default_factory=list)
    _stepped_s: float = 0.0

    async def begin(self, store: Store, now_s: float, wall_s: float) -> None:
        """A new epoch: what another leader did in the meantime counts too."""
        self.watches, self._routes = remembered(await asyncio.to_thread(_recent, store, now_s - wall_s, wall_s)), []

    async def admit(
        self,
        taken: Taken,
        inputs: DecisionInputs,
        proposed: Decision,
        running: Decision,
        decide: Callable[[DecisionInputs], Decision],
        now_s: float,
    ) -> Admitted | None:
        """What of the proposal is made now, if anything."""
        self.watches = watched(self.watches, running, proposed, taken.asked(), taken.urgent(running), now_s)
        self.watches, admitted = await asyncio.to_thread(admit, self.watches, inputs, proposed, running, decide, now_s)
        return admitted

    def made(self, before: Decision, after: Decision, now_s: float) -> None:
        self.watches = made(self.watches, before, after, now_s)

    def steps(
        self,
        current: Decision,
        judged: Decision,
        claims: tuple[Claim, ...],
        observed: Observed,
        versions: Mapping[ServiceRef, Mapping[SiteName, VersionRef]],
        now_s: float,
    ) -> dict[ServiceRef, Step]:
        """The shares that gateways get next. They count from when `publish` said that they have them."""
        held, elapsed_s = held_shares(self._routes), now_s - self._stepped_s
        fresh = {s.service: s for s in judged.services}
        return {
            s.service: step_service(
                s,
                fresh.get(s.service, s),
                serving_replicas(s, claims, observed, versions.get(s.service, {})),
                held.get(s.service, {}),
                elapsed_s,
            )
            for s in current.services
        }

    def published(self, routes: list[ServiceRoutes], now_s: float) -> None:
        self._routes, self._stepped_s = routes, now_s

    def brake(self, taken: Taken, claims: tuple[Claim, ...], observed: Observed) -> None:
        """Notes for whom it is on now: services that would have given up a node by this time."""
        found: dict[ServiceRef, dict[str, str]] = {}
        for claim in claims:
            node = observed.nodes.get(claim.node) if claim.node is not None else None
            if node is None or not isinstance(claim.hold, ReplicaHold):
                continue
            service = claim.hold.service
            outage = taken.braked.get(service, {}).get(node.node)
            if outage is not None and node.silent_s > taken.lost_after_s.get(service, float("inf")):
                said = f"{outage.silent} of {outage.nodes} nodes of failure domain {outage.domain} fell silent together"
                found.setdefault(service, {})[outage.domain] = said
        before, self._brakes = self._brakes, {s: _brake_told(domains.values()) for s, domains in found.items()}
        for service in sorted(self._brakes.keys() - before.keys()):
            log.warning("replacement braked", extra={"service": str(service), "reason": self._brakes[service]})

    def holds(self) -> Mapping[ServiceRef, Held]:
        """Services that are held as they are, for longer than a change takes to settle."""
        flapping = {s: Held("Flapping", hold_told(w)) for s, w in self.watches.items() if w.swings.held}
        return flapping | {s: Held("Braked", said) for s, said in self._brakes.items()}

    def told(self, service: ServiceRef, running: Decision) -> str:
        """What is in force instead of what the last tick would do, and why; "" where they are the same."""
        waits, brake = told(self.watches.get(service, Watch())), self._brakes.get(service, "")
        why = "; ".join(filter(None, (waits, brake)))
        sites = sorted(str(c.site) for s in running.services if s.service == service for c in s.chosen)
        return f"in force is {', '.join(sites) or 'no site'}: {why}" if why else ""


def _brake_told(domains: Iterable[str]) -> str:
    return (
        f"{'; '.join(sorted(domains))}: that looks like an outage on our side, so what they hold is waited for and not "
        "replaced: mend what they share, or set disconnect.brake_share to 1 in the policy to replace it"
    )


def _recent(store: Store, ahead_s: float, wall_s: float) -> list[tuple[float, Decision]]:
    """The last window's decisions that can be read, the oldest first, by this process's clock."""
    found: list[tuple[float, Decision]] = []
    for record in store.decisions(MOST_REMEMBERED):
        if wall_s - record.made_wall_s > WINDOW_S:
            break
        try:
            found.append((record.made_wall_s + ahead_s, decision_from(store.decision(record.id).decision_json)))
        except (Damaged, NotFound) as err:
            log.warning("stored decision left out", extra={"decision": record.id, "reason": str(err)})
    return found[::-1]
