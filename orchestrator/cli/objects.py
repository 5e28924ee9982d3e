"""Writing objects: apply and delete."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import completing, options
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.output import Output, listed, say, structured
from orchestrator.cli.targets import Object, object_for, object_of

if TYPE_CHECKING:
    from protos.control.v1 import control_pb2 as pb

FILE = typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="YAML or JSON; - reads standard input.")


def apply(
    filename: Annotated[str, FILE],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Create objects, or bring existing ones to what a file says."""
    from orchestrator.cli.client import ControlClient, document_in
    from orchestrator.cli.reading import documents_from

    documents = documents_from(filename, check=True)
    with ControlClient(control) as client:
        results = client.apply(documents, dry_run)
    for result in results:
        for warning in result.warnings:
            say(f"warning: {_name(result.object)}: {warning}")
    if output in (Output.JSON, Output.YAML):
        found = [document_in(result.object) for result in results]
        print(structured(found[0] if len(found) == 1 else listed(found), output))
        return
    for result in results:
        done = "" if output is Output.NAME else f" {result.action}{' (dry run)' if dry_run else ''}"
        print(f"{_name(result.object)}{done}")


def _name(message: "pb.Object") -> str:
    return f"{message.ref.kind.lower()}/{message.ref.name}"


def delete(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", autocompletion=completing.kinds, help="KIND NAME or KIND/NAME."),
    ] = None,
    name: options.Name = None,
    filename: Annotated[str | None, FILE] = None,
    namespace: options.Namespace = "default",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="Absent is fine.")] = False,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Delete an object, or all objects of a file."""
    from orchestrator.cli.client import ControlClient
    from orchestrator.cli.failures import Missing

    targets = _targets(kind, name, filename, namespace)
    with ControlClient(control) as client:
        for target in targets:
            try:
                client.delete(target.ref())
            except Missing:
                if not ignore_not_found:
                    raise
            else:
                print(f"{target} deleted")


def _targets(kind: str | None, name: str | None, filename: str | None, namespace: str) -> list[Object]:
    """Raises BadUsage. A file's objects go in reverse order: what was applied last may need what came first."""
    if (kind is None) == (filename is None):
        raise BadUsage("nothing, or too much, to delete", "give KIND NAME, or -f FILE")
    if kind is not None:
        return [object_for(kind, name, namespace)]
    from orchestrator.cli.reading import documents_from

    return [object_of(document) for document in reversed(documents_from(str(filename)))]
