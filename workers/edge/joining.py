"""Makes a machine a node: a key, a certificate for it, and what the node must know, in its state folder."""

import asyncio
import datetime
import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from protos.link.v1 import link_pb2 as pb
from workers.edge import enrolling, membership, renewing
from workers.edge.errors import EnrolmentFailed, StateFolderUnusable
from workers.edge.membership import Membership
from workers.edge.state import StateFolder
from workers.identity.errors import IdentityError, IdentityUnreadable, NotEnrolled
from workers.identity.folder import AUTHORITY, Held, IdentityFolder, folder_of
from workers.identity.keys import certificates_from_pem, fingerprint
from workers.identity.tokens import Token

_log = logging.getLogger(__name__)

ANEW = "give another --state-dir, or --anew to forget what this one is"


@dataclass(frozen=True, slots=True)
class Joining:
    """`token`: None is enough where the machine has joined. `how`: how to serve, where it is told."""

    address: str
    token: Token | None
    node: str  # empty: as it is, or from the host's name
    host_name: str
    software: pb.Software
    lan: str | None = None
    memory_mib: int | None = None
    cores: float | None = None
    anew: bool = False


def join(root: Path, asked: Joining) -> Membership:
    """Joins, or finds that it has joined before. Raises EdgeError."""
    state = StateFolder(root)
    try:
        return _join(state, asked)
    except OSError as err:
        raise StateFolderUnusable(f"--state-dir {root}: {err}: free space, or give a folder to write to") from err
    finally:
        state.close()


def _join(state: StateFolder, asked: Joining) -> Membership:
    """Raises EdgeError, OSError."""
    folder = folder_of(state.root)
    if asked.anew:
        folder.forget()
        membership.forget(state.root)
        state.forget_assignment()
    held, joined = _held(folder), _joined(state.root)
    if held and joined and (asked.token is None or asked.token.id == joined.token):
        _refuse_other_name(joined.node, asked.node, state.root)
        joined = _served_as_asked(joined, asked)
        membership.save(state.root, joined)
        return joined
    if asked.token is None:
        raise EnrolmentFailed(f"--state-dir {state.root}: it has not joined: give --token, from `skerry token create`")
    if held:
        _refuse_other_name(held.identity.name, asked.node, state.root)
        _refuse_other_authority(held, asked.token, state.root)
    return _enrol(state.root, folder, asked, asked.token, held.identity.name if held else "")


def _enrol(root: Path, folder: IdentityFolder, asked: Joining, token: Token, former: str) -> Membership:
    """Raises EdgeError, OSError."""
    node = former or asked.node or asked.host_name
    if not node:
        raise EnrolmentFailed("this machine's host name makes no node's name: give --node")
    try:
        key = folder.key()
        at = datetime.datetime.now(datetime.UTC)
        certified = asyncio.run(enrolling.join(asked.address, token, key, node, asked.software, at))
        joined = Membership(node, certified.site, (), (asked.address,), (), token.id)
        joined = _served_as_asked(joined, asked).told(tuple(certified.fronts), tuple(certified.enrolments))
        if not joined.fronts:
            raise EnrolmentFailed(f"{asked.address} has named no front's link address: see that front's log")
        membership.save(root, replace(joined, pins=renewing.keep(root, certified, random.Random()).pins))
    except IdentityUnreadable as err:
        raise EnrolmentFailed(f"{err}: the node's own key is lost with it: {ANEW}") from err
    except IdentityError as err:
        raise EnrolmentFailed(str(err)) from err
    found = membership.load(root)
    assert found is not None
    return found


def _held(folder: IdentityFolder) -> Held | None:
    """None: there is none that could be used, and its key, if it is there, is asked for another."""
    try:
        return folder.held()
    except NotEnrolled:
        return None
    except IdentityError as err:
        _log.warning("the certificate that is there cannot be used; asking for another", extra={"reason": str(err)})
        return None


def _joined(root: Path) -> Membership | None:
    try:
        return membership.load(root)
    except StateFolderUnusable as err:
        _log.warning("what joining told cannot be read; asking again", extra={"reason": str(err)})
        return None


def _served_as_asked(joined: Membership, asked: Joining) -> Membership:
    return replace(
        joined,
        lan=joined.lan if asked.lan is None else asked.lan,
        memory_mib=asked.memory_mib or joined.memory_mib,
        cores=asked.cores or joined.cores,
    )


def _refuse_other_name(node: str, asked: str, root: Path) -> None:
    if asked and asked != node:
        raise EnrolmentFailed(f"--node {asked}: --state-dir {root} is of node {node}: {ANEW}")


def _refuse_other_authority(held: Held, token: Token, root: Path) -> None:
    known: list[x509.Certificate] = certificates_from_pem(held.authority_pem, str(root / AUTHORITY))
    if token.pin not in {fingerprint(one) for one in known}:
        said = f"token {token.id} is of the authority {token.pin[:16]}"
        mine = ", ".join(fingerprint(one)[:16] for one in known)
        raise EnrolmentFailed(f"{said}, and --state-dir {root} has joined under {mine}: {ANEW}")
