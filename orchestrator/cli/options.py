"""Options that several verbs share, in kubectl's words."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import completing
from orchestrator.cli.output import Output

CONTROL_ADDRESS = "127.0.0.1:7070"
GATEWAY_ADDRESS = "127.0.0.1:8001"

Control = Annotated[
    str,
    typer.Option("--control", envvar="SKERRY_CONTROL", metavar="HOST:PORT", help="Where the control plane listens."),
]
Gateway = Annotated[
    str,
    typer.Option("--gateway", envvar="SKERRY_GATEWAY", metavar="HOST:PORT", help="A gateway or an agent's own port."),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", envvar="SKERRY_NAMESPACE", help="Namespace.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in every namespace.")]
OutputForm = Annotated[Output | None, typer.Option("--output", "-o", help="Print in another form.")]
Selector = Annotated[
    str, typer.Option("--selector", "-l", metavar="KEY=VALUE,...", help="Only objects with these labels.")
]
KindWord = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        autocompletion=completing.kinds,
        help="Kind: any case, plural or short (svc, jobs, nodes).",
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(autocompletion=completing.names, help="One object; KIND/NAME names it too."),
]
Target = Annotated[
    str, typer.Argument(metavar="KIND/NAME", autocompletion=completing.targets, help="For example svc/digits.")
]
Node = Annotated[str, typer.Argument(autocompletion=completing.nodes, help="Name of a node.")]
JobTarget = Annotated[
    str, typer.Argument(metavar="KIND/NAME", autocompletion=completing.jobs, help="For example job/digits-1.")
]
Picture = Annotated[
    str | None, typer.Option("--png", metavar="FILE", help="Draw it as well, into a .png or .svg file.")
]
Service = Annotated[str, typer.Argument(autocompletion=completing.services, help="Name of a model service.")]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="State folder [default: SKERRY_HOME, else the user's]."),
]
