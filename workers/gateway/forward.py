"""Forwards calls to replicas: the best route first, another one when that fails, within the caller's deadline."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from workers.gateway.budget import RetryBudget
from workers.gateway.choice import Caller, Candidates, Cause, NoRoute, Route, RouteTable, ServiceKey, candidates
from workers.gateway.demand import CALLERS_FAULT, DemandCounter
from workers.gateway.health import Health
from workers.gateway.payload import Malformed, model_name
from workers.gateway.transport import Answer, Metadata, Transport, TransportError, forwarded

DEFAULT_DEADLINE_S = 30.0
PATIENCE_S = 0.5  # what a black hole costs a caller; far above any p99 that a policy asks for
PATIENCE_SHARE = 0.5  # of the remaining deadline, so that a second try has as much
PATIENCE_P99S = 4.0  # never give up on a route before this many of its predicted p99

_NO_ROUTE = {
    Cause.UNKNOWN_SERVICE: grpc.StatusCode.NOT_FOUND,
    Cause.UNKNOWN_VERSION: grpc.StatusCode.NOT_FOUND,
    Cause.NONE_READY: grpc.StatusCode.UNAVAILABLE,
}


def patience_s(route: Route, remaining_s: float) -> float:
    """How long to wait for `route` before another is tried."""
    return max(PATIENCE_P99S * route.predicted_ms / 1000, min(PATIENCE_S, PATIENCE_SHARE * remaining_s))


class PatienceLost(TransportError):
    """A route has not answered for much longer than predicted, another one is there, and the retry is paid for."""

    def __init__(self, route: Route) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, f"replica {route.replica} on {route.site} did not answer in time")


@dataclass(slots=True)
class _Call:
    """One call on its way: what is sent, where it may go, and by when it must be back."""

    method: str
    payload: bytes
    metadata: Metadata
    candidates: Candidates
    until_s: float  # on the loop's clock
    attempts: int = 0


class Gateway:
    """The data path of one process. It holds nothing that a route table would not give back."""

    def __init__(
        self,
        transport: Transport,
        zone: str,
        attached: Callable[[], frozenset[str]] = frozenset,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        """`zone` is where callers are unless they name another known one; `attached` the nodes with an open relay."""
        now_s = asyncio.get_running_loop().time()
        self._transport, self._zone, self._attached, self._random_unit = transport, zone, attached, random_unit
        self._health = Health()
        self._budget = RetryBudget(now_s)
        self.demand = DemandCounter(now_s)
        self.table: RouteTable | None = None

    def use(self, table: RouteTable) -> None:
        self.table = table

    async def infer(self, method: str, payload: bytes, metadata: Metadata, deadline_s: float | None) -> Answer:
        """Forward one OIP call; `deadline_s` from now. Raises TransportError with the code for the caller."""
        table = self.table
        if table is None:
            raise TransportError(grpc.StatusCode.UNAVAILABLE, "no route table yet: the control plane was never heard")
        caller = self._caller(table, payload, dict(metadata))
        counted = method.endswith("/ModelInfer") and caller.service in table.services
        if counted:
            self.demand.offered(caller.service, caller.zone, len(payload))
        received, failed = 0, True
        try:
            found = self._candidates(table, caller)
            until_s = asyncio.get_running_loop().time() + (DEFAULT_DEADLINE_S if deadline_s is None else deadline_s)
            answer = await self._answer(_Call(method, payload, forwarded(metadata), found, until_s))
            received, failed = len(answer.payload), False
            return answer
        except TransportError as err:
            failed = err.code not in CALLERS_FAULT
            raise
        finally:
            if counted:
                self.demand.ended(caller.service, caller.zone, received, failed)

    def _caller(self, table: RouteTable, payload: bytes, metadata: dict[str, str | bytes]) -> Caller:
        try:
            model = model_name(payload)
        except Malformed as err:
            raise TransportError(grpc.StatusCode.INVALID_ARGUMENT, f"request is not an OIP message: {err}") from err
        if not model.name:
            raise TransportError(grpc.StatusCode.INVALID_ARGUMENT, "model_name is empty; give the service's name")
        zone = metadata.get("skerry-zone")
        service = ServiceKey(str(metadata.get("skerry-namespace") or "default"), model.name)
        return Caller(service, zone if isinstance(zone, str) and zone in table.zones else self._zone, model.version)

    def _candidates(self, table: RouteTable, caller: Caller) -> Candidates:
        now_s = asyncio.get_running_loop().time()
        self._budget.offered(now_s)
        found = candidates(table, caller, self._health, self._attached(), now_s, self._random_unit())
        if isinstance(found, NoRoute):
            raise TransportError(_NO_ROUTE[found.cause], found.message)
        return found

    async def _answer(self, call: _Call) -> Answer:
        """The first answer. Later routes are tried on UNAVAILABLE or lost patience, within deadline and budget.

        A route that was only slow comes up once more, behind the others: they may turn out to be dead.
        """
        untried, slow = deque(call.candidates.routes), deque[Route]()
        while True:
            route = untried.popleft() if untried else slow.popleft()
            call.attempts += 1
            try:
                answer = await self._try(call, route, untried[0] if untried else None)
                return Answer(answer.payload, _named(answer.metadata, route, call))
            except PatienceLost:
                slow.append(route)
            except TransportError as err:
                if not (untried or slow) or not self._may_retry(call, err):
                    raise _named_error(err, route, call) from err

    def _may_retry(self, call: _Call, err: TransportError) -> bool:
        in_time = asyncio.get_running_loop().time() < call.until_s
        return err.code is grpc.StatusCode.UNAVAILABLE and in_time and self._budget.take()

    async def _try(self, call: _Call, route: Route, following: Route | None) -> Answer:
        """One route, until the caller's deadline; a slow answer is better than none.

        Raises PatienceLost where `following`, still untried and in good health, is to be tried instead.
        """
        loop = asyncio.get_running_loop()
        remaining_s = max(call.until_s - loop.time(), 0.0)
        scope = asyncio.timeout(None)

        def lose_patience() -> None:
            self._eject(route)
            if following is not None and self._is_good(following) and self._budget.take():
                scope.reschedule(loop.time())

        timer = loop.call_later(patience_s(route, remaining_s), lose_patience)
        try:
            async with scope:
                answer = await self._transport.call(route, call.method, call.payload, call.metadata, remaining_s)
        except TimeoutError as err:
            raise PatienceLost(route) from err
        except TransportError as err:
            if err.code is grpc.StatusCode.UNAVAILABLE:
                self._eject(route)
            raise
        finally:
            timer.cancel()
        self._health = self._health.answered(route.key)
        return answer

    def _eject(self, route: Route) -> None:
        self._health = self._health.failed(route.key, asyncio.get_running_loop().time())

    def _is_good(self, route: Route) -> bool:
        return not self._health.ejected(route.key, asyncio.get_running_loop().time())


def _named(sent: Metadata, route: Route, call: _Call) -> Metadata:
    """The trailing metadata: what the replica sent, and who answered; the replica's own word counts."""
    known = (
        ("skerry-site", route.site),
        ("skerry-version", route.version),
        ("skerry-decision", call.candidates.decision),
        ("skerry-replica", route.replica),
    )
    said = {key for key, _ in sent}
    theirs = [pair for pair in sent if pair[0] != "skerry-attempts"]
    return (*theirs, *(pair for pair in known if pair[0] not in said), ("skerry-attempts", str(call.attempts)))


def _named_error(err: TransportError, route: Route, call: _Call) -> TransportError:
    """A replica's own refusal passes unchanged; a failure on the way says what was tried."""
    message = err.message
    if err.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        message = f"{message} (replica {route.replica} on {route.site}, attempt {call.attempts})"
    return TransportError(err.code, message, _named(err.metadata, route, call))
