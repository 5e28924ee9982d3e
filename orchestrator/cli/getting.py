"""`skerry get`: objects as columns, JSON, YAML or names, once or as they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import completing, decisions, options
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.output import Output, columns, listed, say, structured
from orchestrator.cli.rows import Column, at, columns_for, rows_of, text
from orchestrator.cli.targets import Object, kind_for, node_for, object_for

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects. `kind` "": all kinds; `namespace` "": all of them; `one`: a single object by name.

    `within`: of namespaced kinds only this namespace, beside what belongs to the whole installation.
    """

    kind: str
    namespace: str
    labels: Mapping[str, str]
    one: Object | None
    within: str = ""

    def wants(self, document: "Document") -> bool:
        if self.within and at(document, "metadata", "namespace") not in (None, self.within):
            return False
        if self.one and at(document, "metadata", "name") != self.one.name:
            return False
        return all(at(document, "metadata", "labels", key) == value for key, value in self.labels.items())

    @property
    def spans_namespaces(self) -> bool:
        return not self.namespace and (not self.kind or kind_for(self.kind).namespaced)


def labels_in(selector: str) -> dict[str, str]:
    """Raises BadUsage."""
    wanted: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in selector.split(","))):
        key, equals, value = part.replace("==", "=").partition("=")
        if not (key and equals) or key.endswith("!"):
            raise BadUsage(f"-l {part!r} is no label", "give KEY=VALUE, several with commas")
        wanted[key] = value
    return wanted


def query_for(kind: str, name: str | None, namespace: str, everywhere: bool, selector: str) -> Query:
    """Raises BadUsage."""
    if name or "/" in kind:
        if everywhere or selector:
            raise BadUsage("one object by name needs no -A and no -l", "leave them out, or leave out the name")
        one = object_for(kind, name, namespace)
        return Query(one.kind.name, one.namespace, {}, one)
    if kind.lower() == "all":
        return Query("", "", labels_in(selector), None, "" if everywhere else namespace)
    found = kind_for(kind)
    return Query(found.name, namespace if found.namespaced and not everywhere else "", labels_in(selector), None)


@dataclass(slots=True)
class Printer:
    """Prints objects, and later changes under the same columns."""

    output: Output | None
    shown: Sequence[Column]
    widths: list[int] = field(default_factory=list)

    def line(self, document: "Document") -> str:
        if self.output in (Output.JSON, Output.YAML):
            return ("---\n" if self.output is Output.YAML else "") + structured(document, self.output)
        if self.output is Output.NAME:
            return f"{text(document.get('kind')).lower()}/{text(at(document, 'metadata', 'name'))}"
        cells = rows_of([document], self.shown)[0]
        return "   ".join(cell.ljust(width) for cell, width in zip(cells, self.widths, strict=True)).rstrip()

    def show(self, documents: "Sequence[Document]") -> None:
        if self.output in (None, Output.WIDE):
            heads, rows = [column.head for column in self.shown], rows_of(documents, self.shown)
            self.widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
            print(columns(heads, rows), flush=True)
        else:
            for document in documents:
                print(self.line(document), flush=True)


def get(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            autocompletion=completing.gettable,
            help="Kind: any case, plural or short (svc, jobs, nodes); or decisions.",
        ),
    ],
    name: options.Name = None,
    namespace: options.Namespace = "default",
    all_namespaces: options.AllNamespaces = False,
    output: options.OutputForm = None,
    selector: options.Selector = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with changes until Ctrl-C.")] = False,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Show objects of a kind; the kind "all" means every kind, and "nodes" the edge machines that were seen."""
    from orchestrator.cli.client import ControlClient, document_in

    if (node := node_for(kind, name)) is not None:
        from orchestrator.cli.nodes import get_nodes

        wanted = labels_in(selector)
        with ControlClient(control) as client:
            get_nodes(client, node, output, wanted, watch)
        return
    word, _, after = kind.partition("/")
    if word.lower() in decisions.WORDS:
        if watch or selector or (after and name):
            raise BadUsage("decisions are listed whole or one by its id", "leave out -w and -l")
        with ControlClient(control) as client:
            decisions.show_decisions(client, name or after, output)
        return
    query = query_for(kind, name, namespace, all_namespaces, selector)
    printer = Printer(output, columns_for(query.kind, query.spans_namespaces, output is Output.WIDE))
    with ControlClient(control) as client:
        if watch:
            _follow(client, query, printer)
        elif query.one:
            _print(printer, [document_in(client.get(query.one.ref()))], query)
        else:
            found = [document_in(one) for one in client.list_objects(query.kind, query.namespace).objects]
            _print(printer, [document for document in found if query.wants(document)], query)


def _print(printer: Printer, documents: "list[Document]", query: Query) -> None:
    if printer.output in (Output.JSON, Output.YAML):
        print(structured(documents[0] if query.one else listed(documents), printer.output))
    elif documents:
        printer.show(documents)
    else:
        say(f"no {kind_for(query.kind).plural if query.kind else 'objects'} found")


def _follow(client: "ControlClient", query: Query, printer: Printer) -> None:
    from orchestrator.cli.client import document_in
    from orchestrator.cli.following import follow

    first = client.list_objects(query.kind, query.namespace)
    printer.show([found for one in first.objects if query.wants(found := document_in(one))])
    for change in follow(client, first, query.kind, query.namespace, None):
        if query.wants(document := document_in(change.object)):
            print(printer.line(document) + (" (deleted)" if change.type == "delete" else ""), flush=True)
