"""What doctor finds around the machine: the fronts, the enrolment address, the LAN port."""

import asyncio
import datetime
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.edge import enrolling, membership
from workers.edge.addresses import host_and_port
from workers.edge.channels import open_channel
from workers.edge.doctor import Check, State, fail, ok, warn
from workers.edge.errors import EdgeError
from workers.edge.membership import Membership
from workers.edge.outage import remedy_for
from workers.edge.state import read_json, running
from workers.identity.errors import IdentityError
from workers.identity.folder import Held, Pems, folder_of
from workers.identity.keys import certificates_from_pem
from workers.identity.names import identity_of

WAIT_S = 5.0


async def examine(root: Path) -> list[Check]:
    joined, held = _joined(root), _held(root)
    fronts = joined.fronts if joined else _plain_front(root)
    return [*await _dialled(fronts, joined, held), *_lan(root, joined)]


async def _dialled(fronts: tuple[str, ...], joined: Membership | None, held: Held | None) -> list[Check]:
    dialled = await asyncio.gather(*(_front(front, joined, held) for front in fronts))
    addresses = joined.enrolments if joined and held else ()
    asked = await asyncio.gather(*(_enrolment(address, held) for address in addresses if held))
    if any(check.state is State.OK for check in dialled):  # the others are not what keeps the node from attaching
        dialled = [replace(check, state=min(check.state, State.WARN, key=list(State).index)) for check in dialled]
    return [*dialled, *asked]


async def _front(address: str, joined: Membership | None, held: Held | None) -> Check:
    """Resolves, connects, shakes hands, asks for an echo; the first that fails is told."""
    name = f"front {address}"
    if joined and held is None:
        return fail(name, "not dialled: there is no certificate to show", "see `identity`")
    try:
        await _connected(address)
        who = str(identity_of(await enrolling.leaf_of(address))) if held else "a front in plain text"
    except OSError as err:
        remedy = "check the network's route, a firewall, and that the front runs"
        return fail(name, f"cannot be reached: {_reason(err)}", remedy)
    except (EdgeError, IdentityError) as err:
        return fail(name, str(err), remedy_for(grpc.StatusCode.UNIMPLEMENTED))
    return await _echoed(name, address, held, who)


async def _echoed(name: str, address: str, held: Held | None, who: str) -> Check:
    try:
        async with open_channel(address, _pems(held)) as channel:
            await link_pb2_grpc.ProbeStub(channel).Echo(pb.EchoRequest(payload=b"doctor"), timeout=WAIT_S)
    except grpc.aio.AioRpcError as err:
        said = f"{who} answers {err.code().name}: {err.details()}"
        if err.code() is grpc.StatusCode.UNAVAILABLE and held:
            return fail(name, said, "it may refuse this node's certificate: see `identity` and `clock`")
        return fail(name, said, remedy_for(err.code()))
    return ok(name, f"{who} answers")


async def _enrolment(address: str, held: Held) -> Check:
    name = f"enrolment {address}"
    authority = certificates_from_pem(held.authority_pem, "authority")
    try:
        await enrolling.authority(address, authority, datetime.datetime.now(datetime.UTC))
    except EdgeError as err:
        return warn(name, str(err), "certificates are renewed there; the agent goes on trying")
    return ok(name, "answers")


def _lan(root: Path, joined: Membership | None) -> list[Check]:
    status = read_json(root / "status.json")
    alive, listening = running(root), status.get("lan_address")
    if alive and isinstance(listening, str) and listening:
        return [_tried("LAN", listening, _connect, "the agent listens on", "restart the agent and see its log")]
    if not alive and joined and joined.lan:
        return [
            _tried("LAN", joined.lan, _bind, "free is", "stop what listens there, or join again with another --lan")
        ]
    return []


def _tried(name: str, address: str, attempt: Callable[[str], None], found: str, remedy: str) -> Check:
    try:
        attempt(address)
    except OSError as err:
        return fail(name, f"{address}: {_reason(err)}", remedy)
    return ok(name, f"{found} {address}")


def _connect(address: str) -> None:
    host, port = host_and_port(address)
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    socket.create_connection((here, port), WAIT_S).close()


def _bind(address: str) -> None:
    host, port = host_and_port(address)
    family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(target)
        free.listen()


async def _connected(address: str) -> None:
    """Raises OSError."""
    host, port = host_and_port(address)
    async with asyncio.timeout(WAIT_S):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()


def _joined(root: Path) -> Membership | None:
    try:
        return membership.load(root)
    except EdgeError:
        return None  # told by the checks of the disk


def _held(root: Path) -> Held | None:
    try:
        return folder_of(root).held()
    except (IdentityError, OSError):
        return None


def _pems(held: Held | None) -> Pems | None:
    return Pems(held.key_pem, held.certificate_pem, held.authority_pem) if held else None


def _plain_front(root: Path) -> tuple[str, ...]:
    front = read_json(root / "status.json").get("front")
    return (front,) if isinstance(front, str) and front else ()


def _reason(err: OSError) -> str:
    return err.strerror or str(err) or "no answer in time"
