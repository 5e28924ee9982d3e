"""Options that several verbs share, in kubectl's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.output import Output

CONTROL_ADDRESS = "127.0.0.1:7070"
GATEWAY_ADDRESS = "127.0.0.1:8001"


def complete_kind(incomplete: str) -> Iterator[tuple[str, str]]:
    """Kinds as one types them, with what they are."""
    from orchestrator.objects.kinds import KINDS

    for kind in KINDS.values():
        if kind.plural.startswith(incomplete.lower()):
            yield kind.plural, kind.summary


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
    typer.Argument(metavar="KIND", autocompletion=complete_kind, help="Kind: any case, plural or short (svc, jobs)."),
]
Target = Annotated[
    str, typer.Argument(metavar="KIND/NAME", autocompletion=complete_kind, help="For example svc/digits.")
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="State folder [default: SKERRY_HOME, else the user's]."),
]
