"""`skerry train` and `skerry logs`: training jobs and what they say."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import BadUsage, CommandFailed, Unreachable
from orchestrator.cli.output import API_VERSION, Output, bytes_text, columns, console, lively, say, structured
from orchestrator.cli.rows import at, text
from orchestrator.cli.targets import object_for

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document, Json
    from protos.control.v1 import control_pb2 as pb

Tell = Callable[["pb.TrainProgress"], None]
PLAIN_LINES = 20  # at most so many steps are told where no bar can be drawn

Number = int | None


def train(
    filename: Annotated[
        str | None,
        typer.Option("--filename", "-f", metavar="FILE|-", help="A TrainingJob; instead of the options below."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model that the new version belongs to.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the job [default: model and time].")] = None,
    recipe: Annotated[str, typer.Option(help="What is trained.")] = "digits-cnn",
    epochs: Annotated[Number, typer.Option(min=1)] = None,
    workers: Annotated[Number, typer.Option(min=1)] = None,
    batch_size: Annotated[Number, typer.Option(min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0)] = None,
    seed: Annotated[Number, typer.Option(min=0)] = None,
    accuracy_min: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Accuracy on held-out data that the model must reach."),
    ] = None,
    namespace: options.Namespace = "default",
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Train a model and follow the job to its end."""
    from orchestrator.cli.client import ControlClient

    if (filename is None) == (model is None):
        raise BadUsage("nothing, or too much, to train", "give either -f FILE or --model NAME")
    fields: dict[str, Json] = {
        "epochs": epochs,
        "workers": workers,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "gate": None if accuracy_min is None else {"accuracy_min": accuracy_min},
    }
    given: dict[str, Json] = {key: value for key, value in fields.items() if value is not None}
    if filename is not None and (given or name):
        raise BadUsage("with -f the file says how to train", f"leave out {', '.join(given) or 'the name'}")
    document = _job_in(filename) if filename is not None else _job(str(model), name, recipe, namespace, given)
    with ControlClient(control) as client:
        _report(_followed(client, document), output)


def _job_in(filename: str) -> "Document":
    from orchestrator.cli.reading import documents_from

    documents = documents_from(filename, check=True)
    if len(documents) != 1 or documents[0].get("kind") != "TrainingJob":
        kinds = ", ".join(text(one.get("kind")) for one in documents)
        raise CommandFailed(f"{filename}: holds {kinds}", "give one TrainingJob; `skerry apply` takes others")
    return documents[0]


def _job(model: str, name: str | None, recipe: str, namespace: str, given: "dict[str, Json]") -> "Document":
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name or f"{model}-{datetime.now(UTC):%Y%m%d-%H%M%S}", "namespace": namespace},
        "spec": {"model": model, "recipe": recipe, **given},
    }


def _followed(client: "ControlClient", document: "Document") -> "pb.TrainProgress":
    """The job's last word. Raises CommandFailed when the stream broke off: the job itself goes on."""
    one = f"trainingjob/{text(at(document, 'metadata', 'name'))}"
    remedy = f"the job goes on: `skerry wait {one} --for phase=succeeded`, `skerry logs {one} -f`"
    last: pb.TrainProgress | None = None
    try:
        with _progress(one) as tell:
            for last in client.train(document):
                tell(last)
    except Unreachable as err:
        if last is None:
            raise
        raise CommandFailed(f"lost the control plane while {one} was {last.phase}", remedy) from err
    except KeyboardInterrupt:
        say(f"\nno longer following {one}; {remedy}")
        raise
    if last is None or not last.HasField("object"):
        raise CommandFailed(f"{one}: the control plane stopped telling before its end", remedy)
    return last


def _report(last: "pb.TrainProgress", output: Output | None) -> None:
    from orchestrator.cli.client import document_in

    document = document_in(last.object)
    one = f"trainingjob/{last.object.ref.name}"
    if output in (Output.JSON, Output.YAML):
        print(structured(document, output))
    elif output is Output.NAME:
        print(one)
    else:
        version = text(at(document, "status", "version"))
        print(f"{one} {last.phase}{f': modelversion/{version}' if version != '-' else ''}")
        if table := variants_table(document):
            print(table)
    if last.phase.lower() != "succeeded":
        reason = last.message or text(at(document, "status", "message"))
        raise CommandFailed(f"{one} {last.phase}: {reason}", f"see `skerry logs {one}`")


def variants_table(document: "Document") -> str:
    """The variants of a finished job with what was measured of each; empty without any."""
    variants = at(document, "status", "result", "variants")
    rows = [
        (
            text(at(one, "variant")),
            _number(at(one, "accuracy"), "{:.4f}"),
            bytes_text(size) if isinstance(size := at(one, "size_bytes"), int) else "-",
            _number(at(one, "p50_ms"), "{:.3f} ms"),
            _number(at(one, "p99_ms"), "{:.3f} ms"),
        )
        for one in (variants if isinstance(variants, list) else [])
    ]
    return columns(("VARIANT", "ACCURACY", "SIZE", "P50", "P99"), rows) if rows else ""


def _number(value: "Json", form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "-"


@contextmanager
def _progress(title: str) -> Iterator[Tell]:
    """A bar at a terminal, some lines elsewhere; both on standard error."""
    if not lively(sys.stderr):
        yield _plain_teller()
        return
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*shown, TimeElapsedColumn(), console=console(sys.stderr)) as bar:
        task = bar.add_task(escape(title), total=None, figures="")

        def tell(now: "pb.TrainProgress") -> None:
            described = escape(f"{title} {now.phase}")
            bar.update(task, description=described, total=now.steps or None, completed=now.step, figures=figures(now))

        yield tell


def _plain_teller() -> Tell:
    told: list[tuple[str, int]] = []

    def tell(now: "pb.TrainProgress") -> None:
        mark = (now.phase, now.step * PLAIN_LINES // max(1, now.steps))
        if mark not in told:
            told.append(mark)
            say(f"{now.job} {now.phase}: step {now.step}/{now.steps} {figures(now) or now.message}".rstrip())

    return tell


def figures(now: "pb.TrainProgress") -> str:
    """Loss and accuracy first, then whatever else was measured."""
    ordered = sorted(now.metrics.items(), key=lambda pair: (pair[0] != "loss", pair[0] != "accuracy", pair[0]))
    return "  ".join(f"{name} {value:.4g}" for name, value in ordered)


def logs(
    target: options.JobTarget,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends, or Ctrl-C.")] = False,
    namespace: options.Namespace = "default",
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Print what a training job wrote."""
    from orchestrator.cli.client import ControlClient

    one = object_for(target, None, namespace)
    with ControlClient(control) as client:
        for line in client.logs(one.ref(), follow):
            print(line, flush=follow)
