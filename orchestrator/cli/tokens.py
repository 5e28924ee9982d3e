"""Tokens by which machines become nodes: making, listing and revoking them."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import completing, options
from orchestrator.cli.failures import BadUsage
from orchestrator.cli.output import Output, age_text, columns, say, structured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.client import Document
    from protos.control.v1 import control_pb2 as pb

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def duration_s(option: str, text: str) -> float:
    """`90s`, `15m`, `1h`, `7d`. Raises BadUsage."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise BadUsage(f"{option} {text!r} is no duration", "give a number and s, m, h or d, for example 1h")
    return float(found[1]) * _UNITS_S[found[2]]


def _labels(given: "Sequence[str]") -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals or key in found:
            raise BadUsage(
                f"--label {one!r} {'is given twice' if key in found else 'is no KEY=VALUE'}", "give KEY=VALUE"
            )
        found[key] = value
    return found


def create(
    site: Annotated[str, typer.Option("--site", autocompletion=completing.sites, help="The Site its nodes belong to.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many nodes may join with it.")] = 1,
    ttl: Annotated[str, typer.Option("--ttl", metavar="1h", help="How long: 90s, 15m, 1h, 7d.")] = "1h",
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="For its nodes.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Make so many, each for COUNT nodes.")] = 1,
    output: options.OutputForm = None,
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Make a token with which machines join a site. Its secret is shown once."""
    from orchestrator.cli.client import ControlClient

    labels, ttl_s = _labels(label or ()), duration_s("--ttl", ttl)
    with ControlClient(control) as client:
        reply = client.create_token(site, count, ttl_s, labels, tokens)
    if output in (Output.JSON, Output.YAML):
        made: list[Document] = [{**_document(one.token), "secret": one.text} for one in reply.secrets]
        print(structured(made[0] if len(made) == 1 else {"items": list(made)}, output))
        return
    for one in reply.secrets:
        print(one.token.id if output is Output.NAME else one.text)
    if output is None:
        door = reply.enrolments[0] if reply.enrolments else "FRONT:7072"
        say(f"for {count} node{'s' if count > 1 else ''} of site {site}, for {ttl}; on the machine:")
        say(f"  skerry-edge join {door} --token-file FILE --state-dir DIR   (FILE holds the line above)")


def listing(output: options.OutputForm = None, control: options.Control = options.CONTROL_ADDRESS) -> None:
    """Show tokens, without their secrets, and how much of each is left."""
    from orchestrator.cli.client import ControlClient

    with ControlClient(control) as client:
        found = client.tokens()
    if output in (Output.JSON, Output.YAML):
        print(structured({"items": [_document(one) for one in found]}, output))
    elif output is Output.NAME:
        print("\n".join(one.id for one in found))
    elif found:
        rows = [
            (one.id, one.site, f"{len(one.nodes)}/{one.uses}", _left(one), _text(one), age_text(one.age_s))
            for one in found
        ]
        print(columns(("TOKEN", "SITE", "NODES", "EXPIRES", "LABELS", "AGE"), rows))
    else:
        say("no tokens; `skerry token create --site SITE` makes one")


def revoke(
    id: Annotated[str, typer.Argument(metavar="TOKEN", autocompletion=completing.tokens, help="Its first part.")],
    control: options.Control = options.CONTROL_ADDRESS,
) -> None:
    """Make a token useless. Nodes that joined with it stay; `skerry delete node/NAME` ends one's enrolment."""
    from orchestrator.cli.client import ControlClient

    with ControlClient(control) as client:
        revoked = client.revoke_token(id.split(".")[1] if id.count(".") == 3 else id)
    print(f"token {revoked.id} revoked")


def _left(token: "pb.Token") -> str:
    if token.revoked:
        return "revoked"
    return f"in {age_text(token.expires_in_s)}" if token.expires_in_s > 0 else "expired"


def _text(token: "pb.Token") -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(token.labels.items())) or "-"


def _document(token: "pb.Token") -> "Document":
    return {
        "token": token.id,
        "site": token.site,
        "uses": token.uses,
        "nodes": list(token.nodes),
        "expires_in_s": round(token.expires_in_s, 1),
        "labels": dict(token.labels),
        "revoked": token.revoked,
        "age_s": round(token.age_s, 1),
    }
