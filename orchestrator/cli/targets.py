"""Which objects a verb means: KIND, KIND/NAME or KIND NAME, in the words that people type."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cli.failures import BadUsage
from orchestrator.errors import InvalidRequest
from orchestrator.objects.kinds import DEFAULT_NAMESPACE, STORED, Kind, kind_named, names_node

if TYPE_CHECKING:
    from orchestrator.cli.client import Document
    from protos.control.v1 import control_pb2 as pb


@dataclass(frozen=True, slots=True)
class Object:
    """One object by name; `namespace` is "" for kinds of the whole installation."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}/{self.name}"

    def ref(self) -> "pb.ObjectRef":
        from protos.control.v1 import control_pb2 as pb

        return pb.ObjectRef(kind=self.kind.name, namespace=self.namespace, name=self.name)


def kind_for(word: str) -> Kind:
    """Raises BadUsage."""
    try:
        return kind_named(word)
    except InvalidRequest as err:
        raise BadUsage(f"there is no kind {word!r}", err.remedy) from err


def object_for(word: str, name: str | None, namespace: str) -> Object:
    """`word` KIND with `name`, or KIND/NAME without. Raises BadUsage."""
    kind_word, slash, after = word.partition("/")
    if bool(after) == bool(name) or (slash and not after):
        raise BadUsage(f"{word!r} names no object", "give KIND/NAME or KIND NAME, for example svc/digits")
    kind = kind_for(kind_word)
    return Object(kind, namespace if kind.namespaced else "", name or after)


def object_of(document: "Document") -> Object:
    """What a document is about. Raises BadUsage when it does not say."""
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    kind, name = document.get("kind"), found.get("name")
    if not isinstance(kind, str) or kind not in STORED or not isinstance(name, str):
        raise BadUsage("a document names no object", f"give kind (one of {', '.join(STORED)}) and metadata.name")
    namespace = str(found.get("namespace") or DEFAULT_NAMESPACE)
    return Object(STORED[kind], namespace if STORED[kind].namespaced else "", name)


def node_for(word: str, name: str | None) -> str | None:
    """The node that is meant by KIND/NAME or KIND NAME, "" for all of them; None: another kind is. Raises BadUsage."""
    kind_word, slash, after = word.partition("/")
    if not names_node(kind_word):
        return None
    if (after and name) or (slash and not after):
        raise BadUsage(f"{word!r} names no node", "give node/NAME or node NAME, for example node/harbour-1")
    return name or after
