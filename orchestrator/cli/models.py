"""`skerry model`: versions of models made elsewhere."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import Rejected
from orchestrator.cli.getting import get
from orchestrator.cli.output import Output, bytes_text, console, lively, say, structured

if TYPE_CHECKING:
    from orchestrator.cli.packing import PackedModel


def push(
    name: Annotated[str, typer.Argument(help="Of the model.")],
    path: Annotated[Path, typer.Argument(help="A .tflite file or a SavedModel folder.")],
    accuracy: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="As you measured it; policies with a minimum need it."),
    ] = None,
    namespace: options.Namespace = "default",
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Register a model made elsewhere as a new version."""
    from orchestrator.cli.client import OWNER, ControlClient, document_in
    from orchestrator.cli.packing import packed_model
    from protos.control.v1 import control_pb2 as pb

    with packed_model(path) as packed, ControlClient(control) as client:
        say(f"{path}: {packed.format}, {bytes_text(packed.size_bytes)}, {packed.digest}")
        header = pb.PushHeader(
            namespace=namespace,
            name=name,
            format=packed.format,
            digest=packed.digest,
            size_bytes=packed.size_bytes,
            owner=OWNER,
            accuracy=accuracy or 0.0,
            accuracy_given=accuracy is not None,
        )
        try:
            message = client.push(header, _shown(packed))
        except Rejected as err:  # it never saw the file's name
            raise Rejected(f"{path} was refused: {err.message}", err.remedy) from err
    if output in (Output.JSON, Output.YAML):
        print(structured(document_in(message), output))
    else:
        what = f"{message.ref.kind.lower()}/{message.ref.name}"
        print(what if output is Output.NAME else f"{what} registered, {packed.digest}")


def _shown(packed: "PackedModel") -> Iterator[bytes]:
    """The model's chunks, with a bar at a terminal."""
    if not lively(sys.stderr):
        yield from packed.chunks()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console(sys.stderr)) as bar:
        task = bar.add_task("", total=packed.size_bytes)
        for chunk in packed.chunks():
            yield chunk
            bar.advance(task, len(chunk))


def list_models(
    namespace: options.Namespace = "default",
    all_namespaces: options.AllNamespaces = False,
    output: options.OutputForm = None,
    selector: options.Selector = "",
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """List the registered versions, as `skerry get modelversions` does."""
    get("modelversions", None, namespace, all_namespaces, output, selector, False, control)
