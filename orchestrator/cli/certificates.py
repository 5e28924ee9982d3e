"""Certificates for people, services and parts that stand elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.output import say


class CertifiedRole(StrEnum):
    """Who may be certified by an operator; nodes join by token."""

    SERVICE = "service"
    OPERATOR = "operator"
    FRONT = "front"
    REPLICA = "replica"


def create(
    name: Annotated[str, typer.Argument(help="Of who gets it.")],
    role: Annotated[CertifiedRole, typer.Option(help="A service calls inference, an operator the control plane.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets key.pem, certificate.pem and authority.pem.")],
    host: Annotated[list[str] | None, typer.Option("--host", help="By which callers know it; may be repeated.")] = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Make a key and have it certified; again in the same folder: renew. The key stays here."""
    from orchestrator.cli.client import ControlClient
    from workers.identity.errors import IdentityError
    from workers.identity.folder import IdentityFolder
    from workers.identity.keys import request_for

    folder = IdentityFolder(out.expanduser())
    try:
        with ControlClient(control) as client:
            reply = client.certify(role.value, name, request_for(folder.key(), name), host or ())
        held = folder.save(reply.certificate_pem, reply.authority_pem)
    except (IdentityError, OSError) as err:
        raise CommandFailed(
            f"--out {out}: {err}", "give an empty folder, or one that a certificate was made in"
        ) from err
    print(f"{held.identity}: {folder.root}, until {held.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    say("the same command renews it; `key.pem` is as good as its holder: keep it private")
