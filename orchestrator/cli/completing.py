"""What a Tab offers: kinds from here, names from the control plane, if it answers at once.

The shell waits meanwhile and has nowhere to show an error: whatever goes wrong offers nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import typer

from orchestrator.objects.kinds import DEFAULT_NAMESPACE, KINDS, STORED, Kind, kind_named

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient

WAIT_S = 0.5
T = TypeVar("T")
Offer = tuple[str, str]  # a word, and what it is


def _option(context: typer.Context, name: str, variable: str, default: str) -> str:
    """What stands on the line, else in the environment: here nothing is filled in yet."""
    return str(context.params.get(name) or os.environ.get(variable) or default)


def _kind(word: str) -> Kind | None:
    from orchestrator.errors import InvalidRequest

    with suppress(InvalidRequest):
        return kind_named(word)
    return None


def _names(context: typer.Context, kind: Kind) -> list[str]:
    """Of the objects of a kind in the namespace that is meant; empty unless a control plane says so in time."""
    namespace = _option(context, "namespace", "SKERRY_NAMESPACE", DEFAULT_NAMESPACE)

    def ask(client: "ControlClient") -> list[str]:
        found = client.list_objects(kind.name, namespace if kind.namespaced else "")
        return [one.ref.name for one in found.objects]

    return _asked(context, ask)


def _asked(context: typer.Context, ask: "Callable[[ControlClient], list[T]]") -> list[T]:
    """What a control plane says to it in time; else nothing."""
    from orchestrator.cli.failures import CommandFailed
    from orchestrator.cli.options import CONTROL_ADDRESS
    from orchestrator.errors import OrchestratorError

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own words would land on the line that is being typed
    address = _option(context, "control", "SKERRY_CONTROL", CONTROL_ADDRESS)
    try:
        from orchestrator.cli.client import ControlClient

        with ControlClient(address, WAIT_S) as client:
            return ask(client)
    except (CommandFailed, OrchestratorError, ModuleNotFoundError):
        return []


def _kinds(incomplete: str) -> list[Kind]:
    return [kind for kind in STORED.values() if kind.plural.startswith(incomplete.lower())]


def _offers(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Kinds; behind a slash the names of one."""
    word, slash, start = incomplete.partition("/")
    if not slash:
        yield from ((kind.plural, kind.summary) for kind in _kinds(incomplete))
    elif kind := _kind(word):
        yield from ((f"{word}/{name}", kind.name) for name in _names(context, kind) if name.startswith(start))


def kinds(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """KIND or KIND/NAME."""
    return _offers(context, incomplete)


def gettable(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """What `skerry get` shows: those, and decisions."""
    yield from kinds(context, incomplete)
    if "decisions".startswith(incomplete.lower()):
        yield "decisions", "what was decided, with its inputs"


def targets(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """KIND/NAME: a kind that is certain is followed by its names at once, since a Tab would end the word."""
    found = _kinds(incomplete)
    if _kind(incomplete):
        return _offers(context, f"{incomplete}/")
    return _offers(context, f"{found[0].plural}/" if len(found) == 1 else incomplete)


def jobs(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """KIND/NAME of what has logs."""
    kind, said = KINDS["TrainingJob"], _kind(incomplete.partition("/")[0])
    if said is not kind:
        return _offers(context, f"{kind.plural}/") if kind.plural.startswith(incomplete.lower()) else iter(())
    return _offers(context, incomplete if "/" in incomplete else f"{incomplete}/")


def names(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """NAME behind a KIND."""
    word = str(context.params.get("kind") or "")
    if kind := _kind(word):  # with a slash in it it names an object already, and no kind
        yield from ((name, kind.name) for name in _names(context, kind) if name.startswith(incomplete))


def services(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    return _of("ModelService", context, incomplete)


def sites(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    return _of("Site", context, incomplete)


def tokens(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    return ((id, f"of site {site}") for id, site in _asked(context, _tokens) if id.startswith(incomplete))


def _tokens(client: "ControlClient") -> list[Offer]:
    return [(one.id, one.site) for one in client.tokens()]


def nodes(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    return _of("Node", context, incomplete)


def _of(kind: str, context: typer.Context, incomplete: str) -> Iterator[Offer]:
    return ((name, kind) for name in _names(context, STORED[kind]) if name.startswith(incomplete))
