"""A stretch of time without an attachment: when to tell of it, and what would end it."""

from dataclasses import dataclass, field

import grpc

AGAIN_S = 60.0  # after the first word; then twice as long each time
AGAIN_MOST_S = 3_600.0

_REMEDIES = {
    grpc.StatusCode.UNAVAILABLE: "check --front, and that a front runs there: `skerry status` lists fronts; "
    "`skerry-edge doctor` tries each step to it",
    grpc.StatusCode.NOT_FOUND: "apply a Site object of this name, or correct --site",
    grpc.StatusCode.UNIMPLEMENTED: "give --front a front's link address (port 7071), not its gateway's nor the control "
    "plane's",
    grpc.StatusCode.PERMISSION_DENIED: "the node was revoked: if it should serve on, run `skerry-edge join` with "
    "--anew and a new token",
    grpc.StatusCode.UNAUTHENTICATED: "see `skerry-edge doctor`: without a certificate that can be read no front is "
    "dialled",
    grpc.StatusCode.DEADLINE_EXCEEDED: "check --front: what listens there does not answer as a front does",
}


_DATES = ("certificate is not yet valid", "certificate has expired")  # as TLS says it
_CLOCK = (
    "set this machine's clock, by which the front's certificate is not valid now: `skerry-edge doctor` shows both; if "
    "the clock is right, see why that front did not renew its certificate"
)


def remedy_for(code: grpc.StatusCode, said: str = "") -> str:
    """`said`: the failure in gRPC's words, which tell more than the code where TLS failed."""
    if any(each in said for each in _DATES):
        return _CLOCK
    return _REMEDIES.get(code, "see the front's own log")


@dataclass(slots=True)
class Outage:
    """Tells at the first failure and at the first of each other kind, then ever more seldom while it lasts."""

    tries: int = 0
    _since_s: float = 0.0
    _due_s: float = 0.0
    _wait_s: float = AGAIN_S
    _told: set[grpc.StatusCode] = field(default_factory=set)

    def failed(self, code: grpc.StatusCode, now_s: float) -> bool:
        """Whether to tell of this failure."""
        if not self.tries:
            self._since_s = now_s
        self.tries += 1
        if code not in self._told:
            self._told.add(code)
            self._due_s = now_s + self._wait_s
            return True
        if now_s < self._due_s:
            return False
        self._wait_s = min(2 * self._wait_s, AGAIN_MOST_S)
        self._due_s = now_s + self._wait_s
        return True

    def lasted_s(self, now_s: float) -> float:
        return now_s - self._since_s if self.tries else 0.0
