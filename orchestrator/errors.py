"""One tree of errors. Only `Unavailable` is worth a retry, in the adapter that met it.

OrchestratorError
├── InvalidRequest     the caller's input is wrong; names each bad field, its value and a remedy
├── NotFound           no such object
│   └── NodeUnknown    the agent registers again
├── Unproven           a token is wrong, expired, revoked or used up
├── Forbidden          who asks is known, and may not
├── Conflict           the state has moved on: read it again
│   ├── RevisionStale  somebody wrote the object first
│   ├── EpochStale     a newer leader or a newer boot holds the lease: stop
│   ├── OwnerConflict  the object belongs to the other writer
│   ├── ClaimRefused   it no longer fits its site
│   ├── AlreadyEnrolled  another machine has this node's name
│   └── Compacted      the change log no longer reaches back so far: list again
├── Damaged            what is stored is not what was written: restore a backup
└── Unavailable        not now; the same call may go through later
    ├── StoreUnavailable
    ├── CloudUnavailable
    └── EdgeUnreachable
"""

from collections.abc import Iterable, Sequence


class OrchestratorError(Exception):
    """Root. The message says what failed, on what, and what would fix it."""


class InvalidRequest(OrchestratorError):
    """A field of the caller's input cannot be accepted. `more`: others beside it; the message has a line for each."""

    def __init__(self, field: str, value: object, remedy: str, more: Sequence["InvalidRequest"] = ()) -> None:
        shown = repr(value)
        self.field, self.value, self.remedy, self.more = field, value, remedy, tuple(more)
        self.sentence = f"{field}: {shown if len(shown) <= 200 else shown[:197] + '...'}: {remedy}"
        super().__init__("\n".join(one.sentence for one in self.problems))

    @property
    def problems(self) -> tuple["InvalidRequest", ...]:
        """All that is wrong, this first: each has a field, a value, a remedy and a sentence of its own."""
        return (self, *self.more)

    def at(self, place: str) -> "InvalidRequest":
        """The same, with where each field stands: `place` goes before its name."""
        return together(InvalidRequest(place + one.field, one.value, one.remedy) for one in self.problems)


def together(wrong: Iterable[InvalidRequest]) -> InvalidRequest:
    """One error for all that several say. There must be one."""
    first, *more = (problem for one in wrong for problem in one.problems)
    return InvalidRequest(first.field, first.value, first.remedy, more)


class NotFound(OrchestratorError):
    """No such object."""


class NodeUnknown(NotFound):
    """The node or its site is not registered."""


class Unproven(OrchestratorError):
    """Who asks has not shown that it may."""


class Forbidden(OrchestratorError):
    """Who asks is known, and may not."""


class Conflict(OrchestratorError):
    """The state has moved on."""


class RevisionStale(Conflict):
    """Somebody wrote the object after it was read."""


class EpochStale(Conflict):
    """A newer leader or boot holds the lease."""


class OwnerConflict(Conflict):
    """The object belongs to another writer."""


class ClaimRefused(Conflict):
    """A claim no longer fits its site."""


class AlreadyEnrolled(Conflict):
    """A node of this name is enrolled with another key."""


class Compacted(Conflict):
    """The change log was compacted past the wanted sequence."""


class Damaged(OrchestratorError):
    """What is stored is not what was written."""


class Unavailable(OrchestratorError):
    """Not now."""


class StoreUnavailable(Unavailable):
    """The database does not answer, or cannot be used as it is."""


class CloudUnavailable(Unavailable):
    """Ray or Serve does not answer."""


class EdgeUnreachable(Unavailable):
    """No front holds the node."""
