"""Which nodes are attached to this front, and what each of them should hold."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping

from orchestrator.errors import EdgeUnreachable, EpochStale, Forbidden, NodeUnknown, OrchestratorError
from protos.link.v1 import link_pb2

HEARTBEAT_MS = 1000
SILENT_BEATS = 3
FORGOTTEN_AFTER_S = 24 * 3600.0  # of silence; by then every policy has decided


class Session:
    """One attachment of a node: its stream is the lease."""

    def __init__(self, hello: link_pb2.NodeHello, now_s: float, key: str = "") -> None:
        """`key`: of the certificate that it attached with; empty in plain text."""
        self.name = secrets.token_hex(8)
        self.key = key
        self.hello = hello
        self.report: link_pb2.NodeReport | None = None
        self.heard_s = now_s
        self.ended: OrchestratorError | None = None
        self.wake = asyncio.Event()  # there is something to tell the node: an assignment, or the end

    def end(self, why: OrchestratorError) -> None:
        if self.ended is None:
            self.ended = why
            self.wake.set()


class Nodes:
    """The sessions by node. The last state of a node that went silent is kept: unknown is not dead."""

    def __init__(self, changed: Callable[[], None], heartbeat_ms: int = HEARTBEAT_MS) -> None:
        """`changed` is called when a node attaches, detaches, or its replicas change their phase."""
        self.heartbeat_ms = heartbeat_ms
        self._changed = changed
        self._sessions: dict[str, Session] = {}
        self._assignments: dict[str, link_pb2.Assignment] = {}
        self._sites: frozenset[str] | None = None  # None: never heard, so any is accepted

    def attach(self, hello: link_pb2.NodeHello, now_s: float, key: str = "") -> Session:
        """Raises NodeUnknown for an unknown site, EpochStale when a newer boot or another site's node is attached."""
        self._check_site(hello.node, hello.site)
        held = self._sessions.get(hello.node)
        if held is not None and held.ended is None:
            if hello.site != held.hello.site:
                taken = f"node {hello.node} is attached for site {held.hello.site}"
                raise EpochStale(f"{taken}; give the agent of site {hello.site} another --node")
            if hello.epoch < held.hello.epoch:
                raise EpochStale(
                    f"node {hello.node}: epoch {hello.epoch} is older than {held.hello.epoch}, attached now"
                )
            held.end(EpochStale(f"node {hello.node}: epoch {hello.epoch} has attached in place of {held.hello.epoch}"))
        session = self._sessions[hello.node] = Session(hello, now_s, key)
        session.wake.set()
        self._changed()
        return session

    def heard(self, session: Session, now_s: float, report: link_pb2.NodeReport | None = None) -> None:
        session.heard_s = now_s
        if report is not None:
            news = session.report is None or _phases(session.report) != _phases(report)
            session.report = report
            if news and session.ended is None:
                self._changed()

    def detach(self, session: Session, why: OrchestratorError) -> None:
        """The stream is gone. Harmless when the session had ended before."""
        session.end(why)
        if self._sessions.get(session.hello.node) is session:
            self._changed()

    def sweep(self, now_s: float) -> list[str]:
        """End the sessions that are silent for too long; answers their nodes."""
        limit_s = SILENT_BEATS * self.heartbeat_ms / 1000
        silent = [s for s in self._sessions.values() if s.ended is None and now_s - s.heard_s > limit_s]
        for session in silent:
            self.detach(
                session, EdgeUnreachable(f"node {session.hello.node}: silent for over {limit_s:g} s; dial again")
            )
        for node in [n for n, s in self._sessions.items() if s.ended and now_s - s.heard_s > FORGOTTEN_AFTER_S]:
            del self._sessions[node]
        return [session.hello.node for session in silent]

    def is_current(self, node: str, session_name: str) -> bool:
        session = self._sessions.get(node)
        return session is not None and session.ended is None and session.name == session_name

    def assign(self, assignments: Mapping[str, link_pb2.Assignment]) -> None:
        """Take over the assignments of these nodes; attached ones are told."""
        self._assignments.update(assignments)
        for node in assignments:
            if (session := self._sessions.get(node)) is not None:
                session.wake.set()

    def assignment(self, node: str) -> link_pb2.Assignment | None:
        return self._assignments.get(node)

    def know_sites(self, sites: Iterable[str]) -> None:
        """Nodes of other sites are refused from now on, attached ones too."""
        self._sites = frozenset(sites)
        for session in [s for s in self._sessions.values() if s.ended is None]:
            try:
                self._check_site(session.hello.node, session.hello.site)
            except NodeUnknown as err:
                self.detach(session, err)

    def revoke(self, keys: Collection[str]) -> list[str]:
        """End the sessions of these keys; answers their nodes."""
        ended = [s for s in self._sessions.values() if s.ended is None and s.key in keys]
        for session in ended:
            node = session.hello.node
            self.detach(
                session, Forbidden(f"node {node}: its enrolment was ended: join again with --anew and a new token")
            )
        return [session.hello.node for session in ended]

    def states(self, now_s: float) -> list[link_pb2.NodeState]:
        return [_state(session, now_s) for _, session in sorted(self._sessions.items())]

    def _check_site(self, node: str, site: str) -> None:
        if self._sites is not None and site not in self._sites:
            raise NodeUnknown(f"node {node}: site {site!r} is not known; apply a Site named {site!r}, then dial again")


def _phases(report: link_pb2.NodeReport) -> dict[str, tuple[str, int]]:
    return {replica.replica: (replica.incarnation, replica.phase) for replica in report.replicas}


def _state(session: Session, now_s: float) -> link_pb2.NodeState:
    return link_pb2.NodeState(
        hello=session.hello,
        report=session.report,
        attached=session.ended is None,
        silent_ms=min(max(0, round((now_s - session.heard_s) * 1000)), 2**32 - 1),
        link_error="" if session.ended is None else str(session.ended),
    )
