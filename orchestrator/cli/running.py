"""Starting, stopping and looking at the processes: up, down, front, status, serve."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import BadUsage, CommandFailed, Unreachable
from orchestrator.cli.output import Output, age_text, columns, lively, structured

if TYPE_CHECKING:
    from orchestrator.cli.client import Document
    from orchestrator.settings import Settings
    from protos.control.v1 import control_pb2 as pb

Address = str | None  # None: the environment's, else the default
REFRESH_S = 1.0


def settings_with(**given: object) -> "Settings":
    """The environment's settings with what the command line gave. Raises InvalidRequest, naming the option."""
    from orchestrator.settings import host_port, loopback, settings_from

    changes = {name: value for name, value in given.items() if value is not None}
    for name in ("control_address", "gateway_address", "link_address", "enrolment_address"):
        if isinstance(address := changes.get(name), str):
            check = loopback if changes.get("plain_link") else host_port
            check(f"--{name.removesuffix('_address')}", address)
    if isinstance(folder := changes.get("state_dir"), Path):
        changes["state_dir"] = folder.expanduser().resolve()
    environ = dict(os.environ)
    return dataclasses.replace(settings_from(environ), **changes)  # type: ignore[arg-type]  # names are Settings' own


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once all is up.")] = False,
    state_dir: options.StateDir = None,
    store: Annotated[
        Address, typer.Option(metavar="URL", help="Database [default: SQLite in the state folder].")
    ] = None,
    artifacts: Annotated[Address, typer.Option(metavar="URL", help="Models [default: in the state folder].")] = None,
    control: Annotated[
        Address, typer.Option(metavar="HOST:PORT", help="Control API [default: 127.0.0.1:7070].")
    ] = None,
    gateway: Annotated[Address, typer.Option(metavar="HOST:PORT", help="Gateway [default: 127.0.0.1:8001].")] = None,
    link: Annotated[Address, typer.Option(metavar="HOST:PORT", help="Agents' door [default: 127.0.0.1:7071].")] = None,
    enrolment: Annotated[
        Address, typer.Option(metavar="HOST:PORT", help="Where machines join [default: 127.0.0.1:7072].")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", help="A name or address that others know this machine by.")
    ] = None,
    authority: Annotated[
        Address, typer.Option(metavar="DIR|command:CMD", help="Signs certificates [default: in the state folder].")
    ] = None,
    plain_link: Annotated[bool, typer.Option("--plain-link", help="Agents attach without TLS, on loopback.")] = False,
    region: Annotated[Address, typer.Option(help="Name of this region [default: local].")] = None,
    zone: Annotated[Address, typer.Option(help="Zone of callers at the gateway [default: default].")] = None,
) -> None:
    """Start Skerry on this machine and keep it running."""
    settings = settings_with(
        state_dir=state_dir,
        store_url=store,
        artifacts_url=artifacts,
        control_address=control,
        gateway_address=gateway,
        link_address=link,
        enrolment_address=enrolment,
        hosts=tuple(host) if host else None,
        authority_named=authority,
        plain_link=plain_link or None,
        region=region,
        zone=zone,
    )
    from orchestrator.control import supervisor

    raise typer.Exit(supervisor.up(settings, detach))


def down(state_dir: options.StateDir = None) -> None:
    """Stop what `skerry up` started; objects and models stay."""
    from orchestrator.control import supervisor

    raise typer.Exit(supervisor.down(settings_with(state_dir=state_dir)))


def serve(
    models: Annotated[list[str], typer.Argument(metavar="NAME=PATH...", help=".tflite files or SavedModel folders.")],
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any free one.")] = 8001,
    host: Annotated[str, typer.Option(help="Loopback only until TLS exists.")] = "127.0.0.1",
) -> None:
    """Serve model files without a control plane.

    Over the Open Inference Protocol, with the server that replicas and agents use too.
    """
    found: dict[str, Path] = {}
    for one in models:
        name, equals, path = one.partition("=")
        if not (name and equals and path) or name in found:
            raise BadUsage(f"{one!r} {'is given twice' if name in found else 'names no model'}", "give NAME=PATH")
        found[name] = Path(path)
    _serve(list(found.items()), host, port)


def _serve(models: list[tuple[str, Path]], host: str, port: int) -> None:
    from workers.inference.errors import AddressUnusable, ModelLoadFailed
    from workers.inference.serve import serve_files

    try:
        serve_files(models, host, port)
    except (AddressUnusable, ModelLoadFailed) as err:
        raise CommandFailed(str(err)) from err


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Show the running parts, their phase and age."""
    from orchestrator.cli.client import ControlClient

    with ControlClient(control) as client:
        if watch:
            _watch_status(lambda: status_text(client.status(), output))
        else:
            print(status_text(client.status(), output))


def _watch_status(text: Callable[[], str]) -> None:
    """Redraws on a terminal; elsewhere prints again whenever something changed."""
    shown = ""
    while True:
        try:
            now = text()
        except Unreachable as err:  # it may be on its way back: say so and go on looking
            now = str(err)
        if now != shown:
            print(("\x1b[H\x1b[2J" if lively(sys.stdout) else "") + now, flush=True)
            shown = now
        time.sleep(REFRESH_S)


def status_document(reply: "pb.StatusReply") -> "Document":
    return {
        "version": reply.version,
        "epoch": reply.epoch,
        "leader": reply.leader,
        "decision": reply.decision,
        "sequence": reply.sequence,
        "parts": [
            {"kind": one.kind, "name": one.name, "phase": one.phase, "detail": one.detail, "age_s": one.age_s}
            for one in reply.parts
        ],
    }


def status_text(reply: "pb.StatusReply", output: Output | None) -> str:
    """The parts as columns, or everything as JSON or YAML."""
    if output in (Output.JSON, Output.YAML):
        return structured(status_document(reply), output)
    if output is Output.NAME:
        return "\n".join(f"{part.kind}/{part.name}" for part in reply.parts)
    rows = [(one.kind, one.name, one.phase, age_text(one.age_s), one.detail) for one in reply.parts]
    head = f"skerry {reply.version}, epoch {reply.epoch}, led by {reply.leader or 'nobody'}"
    decision = f"decision {reply.decision or 'none yet'}, change {reply.sequence}"
    return f"{head}, {decision}\n{columns(('PART', 'NAME', 'PHASE', 'AGE', 'DETAIL'), rows)}"


def front(
    control: options.Control = options.CONTROL_ADDRESS,
    gateway: Annotated[str, typer.Option(metavar="HOST:PORT")] = options.GATEWAY_ADDRESS,
    link: Annotated[str, typer.Option(metavar="HOST:PORT")] = "127.0.0.1:7071",
    name: Annotated[str, typer.Option(help="Of this front.")] = "front-0",
    region: Annotated[str, typer.Option()] = "local",
    zone: Annotated[str, typer.Option()] = "default",
    artifacts: Annotated[Address, typer.Option(metavar="URL")] = None,
    state_dir: options.StateDir = None,
) -> None:
    """Run a front: gateway, cloud end of node links, relay. `skerry up` starts one."""
    settings = settings_with(
        state_dir=state_dir,
        artifacts_url=artifacts,
        control_address=control,
        gateway_address=gateway,
        link_address=link,
        region=region,
        zone=zone,
    )
    from orchestrator.front.process import run
    from orchestrator.front.settings import FrontSettings

    raise typer.Exit(run(FrontSettings.of(settings, name)))
