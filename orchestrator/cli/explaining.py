"""`skerry explain`: why a service's replicas are where they are."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import completing, options
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.output import Output, age_text, console, structured

if TYPE_CHECKING:
    from protos.control.v1 import control_pb2 as pb


def explain(
    service: options.Service,
    site: Annotated[
        str | None, typer.Option(autocompletion=completing.sites, help="Only what concerns this site.")
    ] = None,
    why_not: Annotated[
        str | None,
        typer.Option(
            "--why-not",
            metavar="SITE",
            autocompletion=completing.sites,
            help="Why this site does not serve, and what would help.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List every refused site, also where they are many; so does -o wide.")
    ] = False,
    png: options.Picture = None,
    namespace: options.Namespace = "default",
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Show where a service runs, and why.

    The chosen sites with their measured legs and the next best one; why each other site was refused; and for calls that
    nobody serves the cheapest single change that would serve them, verified by a plan, with its price.
    """
    from orchestrator.cli.client import ControlClient

    name = service.rpartition("/")[2]
    if not name:
        raise BadUsage(f"{service!r} names no service", "give its name, for example digits")
    if site is not None and why_not is not None:
        raise BadUsage("--site and --why-not ask two questions", "give one of them")
    picture = None
    if png is not None:
        from orchestrator.cli.picture.writing import checked

        if site is not None or why_not is not None:
            raise BadUsage("--png shows every site", "leave --site and --why-not out")
        picture = checked(png)
    with ControlClient(control) as client:
        # What would help takes some plans: not for a question about one site.
        remedies = site is None and why_not is None
        reply = client.explain(namespace, name, site or "", view=picture is not None, remedies=remedies)
    if picture is not None:
        from orchestrator.cli.picture.titles import service_graph
        from orchestrator.cli.picture.writing import write

        write(picture, reply.view_json, service_graph)
    if why_not is not None:
        from orchestrator.cli.why_not import why_not_document, why_not_text

        found = why_not_document(
            why_not, reply.decision, json.loads(reply.decision_json), json.loads(reply.snapshot_json)
        )
        print(structured(found, output) if output in (Output.JSON, Output.YAML) else why_not_text(found))
        return
    if output in (Output.JSON, Output.YAML):
        document = {
            "decision": reply.decision,
            "age_s": reply.age_s,
            "held": reply.held,
            "kept_s": reply.kept_s,
            "placement": json.loads(reply.decision_json),
            "remedies": [json.loads(one) for one in reply.remedies_json],
            "snapshot": json.loads(reply.snapshot_json),
        }
        print(structured(document, output))
    else:
        show(reply, site, every or output is Output.WIDE)


def show(reply: "pb.ExplainReply", site: str | None, every: bool = False) -> None:
    """The placement as a picture in text."""
    from orchestrator.cli.tables import placement_table

    out = console()
    out.print(f"Decision {reply.decision}, {age_text(reply.age_s)} old", highlight=False)
    if reply.held:
        out.print(f"Held: {reply.held}", highlight=False, markup=False, style="yellow")
    if reply.kept_s:
        said = (
            f"Planned {age_text(reply.kept_s)} ago, and nothing touched it since: refusals and next bests are of then"
        )
        out.print(said, highlight=False, style="dim")
    remedies = [json.loads(one) for one in reply.remedies_json]
    out.print(placement_table(json.loads(reply.decision_json), json.loads(reply.snapshot_json), site, remedies, every))
