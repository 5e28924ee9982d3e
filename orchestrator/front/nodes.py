"""Which nodes are attached to this front, and what each of them should hold.

There may be tens of thousands, nearly all of them idle. What is kept of each is therefore its messages' bytes, which
take a fifth of the memory of parsed ones, and they are parsed when somebody looks.
"""

import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from orchestrator.errors import EdgeUnreachable, EpochStale, Forbidden, InvalidRequest, NodeUnknown, OrchestratorError
from orchestrator.front.merging import merged, news_in
from protos.link.v1 import link_pb2

HEARTBEAT_MS = 10_000
# A single writer is replaced as if its node noticed a cut within a minute of the last beat that the front heard; behind
# a proxy it takes an unanswered ping to notice, 40 s.
MOST_HEARTBEAT_S = 20.0
SILENT_BEATS = 3
FORGOTTEN_AFTER_S = 24 * 3600.0  # of silence; by then every policy has decided
MOST_KEPT = 64  # reports of one node, made while it was alone, that wait for the control plane to hear of them
MOST_REPORT_BYTES = 1 << 20  # of one node, as merged: a hundred times what a node of many replicas says


class Attends(Protocol):
    def attend(self) -> None:
        """There is something to tell the node: an assignment, that its report was taken, or the end."""
        ...


class Session:
    """One attachment of a node: its stream is the lease."""

    __slots__ = (
        "_hello",
        "_report",
        "attends",
        "boot",
        "ended",
        "epoch",
        "heard_s",
        "key",
        "name",
        "node",
        "reported_s",
        "site",
    )

    def __init__(self, hello: link_pb2.NodeHello, now_s: float, key: str = "") -> None:
        """`key`: of the certificate that it attached with; empty in plain text."""
        self.name = secrets.token_hex(8)
        self.key = key
        self.node, self.site, self.epoch = sys.intern(hello.node), sys.intern(hello.site), hello.epoch
        self.boot = hello.boot
        self._hello = hello.SerializeToString()
        self._report: bytes | None = None
        self.heard_s = self.reported_s = now_s
        self.ended: OrchestratorError | None = None
        self.attends: Attends | None = None

    @property
    def hello(self) -> link_pb2.NodeHello:
        return link_pb2.NodeHello.FromString(self._hello)

    @property
    def report(self) -> link_pb2.NodeReport | None:
        return None if self._report is None else link_pb2.NodeReport.FromString(self._report)

    def reported(self, report: link_pb2.NodeReport, now_s: float) -> None:
        self._report, self.reported_s = report.SerializeToString(), now_s

    def call(self) -> None:
        if self.attends is not None:
            self.attends.attend()

    def end(self, why: OrchestratorError) -> None:
        if self.ended is None:
            self.ended = why
            self.call()

    def state(self, now_s: float) -> link_pb2.NodeState:
        state = link_pb2.NodeState(
            attached=self.ended is None,
            silent_ms=_ms(now_s - self.heard_s),
            link_error="" if self.ended is None else str(self.ended),
            report_age_ms=_ms(now_s - self.reported_s),
        )
        state.hello.ParseFromString(self._hello)
        if self._report is not None:
            state.report.ParseFromString(self._report)
        return state


class Nodes:
    """The sessions by node. The last state of a node that went silent is kept: unknown is not dead."""

    def __init__(self, changed: Callable[[], None], heartbeat_ms: int = HEARTBEAT_MS) -> None:
        """`changed` is called when a node attaches, detaches, or its replicas change their phase."""
        self.heartbeat_ms = heartbeat_ms
        self._changed = changed
        self._sessions: dict[str, Session] = {}
        self._assignments: dict[str, bytes] = {}
        self._sites: frozenset[str] | None = None  # None: never heard, so any is accepted
        self._news: dict[str, list[link_pb2.KeptReport]] = {}  # nodes that changed, with what they kept while alone
        self._forgotten: set[str] = set()

    def attach(self, hello: link_pb2.NodeHello, now_s: float, key: str = "") -> Session:
        """Raises NodeUnknown for an unknown site, EpochStale when a newer boot or another site's node is attached."""
        self._check_site(hello.node, hello.site)
        held = self._sessions.get(hello.node)
        if held is not None and held.ended is None:
            if hello.site != held.site:
                taken = f"node {hello.node} is attached for site {held.site}"
                raise EpochStale(f"{taken}; give the agent of site {hello.site} another --node")
            if hello.epoch < held.epoch:
                raise EpochStale(f"node {hello.node}: epoch {hello.epoch} is older than {held.epoch}, attached now")
            # A disk that knows of no boot before is a new one in the same machine.
            if hello.boots_before and held.boot and held.boot not in (hello.boot, *hello.boots_before):
                raise EpochStale(
                    f"node {hello.node}: another machine with this node's identity is attached (boot {held.boot}): its "
                    "disk was cloned; give one a name of its own, with `skerry-edge join --anew --node NAME`"
                )
            held.end(EpochStale(f"node {hello.node}: epoch {hello.epoch} has attached in place of {held.epoch}"))
        session = Session(hello, now_s, key)
        self._sessions[session.node] = session
        self._note(session)
        self._changed()
        return session

    def heard(self, session: Session, now_s: float) -> None:
        session.heard_s = now_s

    def reported(self, session: Session, report: link_pb2.NodeReport, now_s: float) -> None:
        """Take a report over, whole or as changes. Raises InvalidRequest for one that is too large; DeltaUnfounded."""
        session.heard_s = now_s
        kept = list(report.kept)
        before = session.report
        whole = merged(before, report)
        size_bytes = whole.ByteSize()
        if size_bytes > MOST_REPORT_BYTES:
            remedy = f"at most {MOST_REPORT_BYTES} are taken: look for a replica with an endless reason"
            raise InvalidRequest("report", f"{size_bytes} bytes", remedy)
        if session.ended is not None:
            return
        session.reported(whole, now_s)
        self._note(session, kept)
        if before is None or news_in(before, whole):
            self._changed()

    def detach(self, session: Session, why: OrchestratorError) -> None:
        """The stream is gone. Harmless when the session had ended before."""
        session.end(why)
        if self._sessions.get(session.node) is session:
            self._note(session)
            self._changed()

    def sweep(self, now_s: float) -> list[str]:
        """End the sessions that are silent for too long; answers their nodes."""
        limit_s = SILENT_BEATS * self.heartbeat_ms / 1000
        silent = [s for s in self._sessions.values() if s.ended is None and now_s - s.heard_s > limit_s]
        for session in silent:
            self.detach(session, EdgeUnreachable(f"node {session.node}: silent for over {limit_s:g} s; dial again"))
        for node in [n for n, s in self._sessions.items() if s.ended and now_s - s.heard_s > FORGOTTEN_AFTER_S]:
            del self._sessions[node]
            self._news.pop(node, None)
            self._forgotten.add(node)
        return [session.node for session in silent]

    def is_current(self, node: str, session_name: str) -> bool:
        session = self._sessions.get(node)
        return session is not None and session.ended is None and session.name == session_name

    def assign(self, assignments: Mapping[str, bytes]) -> None:
        """Take over the assignments of these nodes, as serialised; attached ones are told."""
        self._assignments.update(assignments)
        for node in assignments:
            if (session := self._sessions.get(node)) is not None:
                session.call()

    def assignment(self, node: str) -> bytes | None:
        return self._assignments.get(node)

    def know_sites(self, sites: Iterable[str]) -> None:
        """Nodes of other sites are refused from now on, attached ones too."""
        known = frozenset(sites)
        if known == self._sites:
            return
        self._sites = known
        for session in [s for s in self._sessions.values() if s.ended is None]:
            try:
                self._check_site(session.node, session.site)
            except NodeUnknown as err:
                self.detach(session, err)

    def revoke(self, keys: Collection[str]) -> list[str]:
        """End the sessions of these keys; answers their nodes."""
        ended = [s for s in self._sessions.values() if s.ended is None and s.key in keys]
        for session in ended:
            said = f"node {session.node}: its enrolment was ended: join again with --anew and a new token"
            self.detach(session, Forbidden(said))
        return [session.node for session in ended]

    def states(self, now_s: float) -> list[link_pb2.NodeState]:
        """Of all nodes. What changed until now is told by it, too."""
        self._forgotten.clear()
        news, self._news = self._news, {}
        return [_told(session, news.get(node, ()), now_s) for node, session in sorted(self._sessions.items())]

    def changes(self, now_s: float) -> tuple[list[link_pb2.NodeState], list[str]]:
        """Of the nodes that changed since they were asked for last; and the names of those that were forgotten."""
        news, self._news = self._news, {}
        forgotten, self._forgotten = sorted(self._forgotten), set()
        return [_told(self._sessions[node], kept, now_s) for node, kept in sorted(news.items())], forgotten

    def _note(self, session: Session, kept: Iterable[link_pb2.KeptReport] = ()) -> None:
        """Bounded by the number of nodes and MOST_KEPT: a slow control plane finds the newest state, and no queue."""
        held = self._news.setdefault(session.node, [])
        held += kept
        del held[:-MOST_KEPT]
        self._forgotten.discard(session.node)

    def _check_site(self, node: str, site: str) -> None:
        if self._sites is not None and site not in self._sites:
            raise NodeUnknown(f"node {node}: site {site!r} is not known; apply a Site named {site!r}, then dial again")


def _told(session: Session, kept: Sequence[link_pb2.KeptReport], now_s: float) -> link_pb2.NodeState:
    state = session.state(now_s)
    if kept:
        state.report.kept.extend(kept)
    return state


def _ms(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), 2**32 - 1)
