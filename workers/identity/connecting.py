"""Channels from part to part: plain text on loopback, mutually proven everywhere else."""

import re
from collections.abc import Sequence

import grpc
import grpc.aio

from workers.identity.errors import NotEnrolled
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.identity.tls import asking_for, channel_credentials

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[?::1\]?")

Options = Sequence[tuple[str, str | int]]


def on_loopback(address: str) -> bool:
    """Of host:port."""
    return _LOOPBACK.fullmatch(address.rpartition(":")[0]) is not None


class Connector:
    """Opens channels as whoever holds `identity`; None: to loopback only."""

    def __init__(self, identity: IdentityFolder | None = None) -> None:
        self._identity = identity

    def aio(self, address: str, role: Role, options: Options = ()) -> grpc.aio.Channel:
        """To a part of this role, whatever its address. Raises IdentityError, OSError."""
        if on_loopback(address):
            return grpc.aio.insecure_channel(address, options=tuple(options))
        return grpc.aio.secure_channel(address, self._credentials(address), options=(*options, *asking_for(role)))

    def blocking(self, address: str, role: Role, options: Options = ()) -> grpc.Channel:
        """As `aio`, for threads."""
        if on_loopback(address):
            return grpc.insecure_channel(address, options=tuple(options))
        return grpc.secure_channel(address, self._credentials(address), options=(*options, *asking_for(role)))

    def _credentials(self, address: str) -> grpc.ChannelCredentials:
        if self._identity is None:
            raise NotEnrolled(
                f"{address} is not on loopback, where plain text ends, and there is no certificate to show"
            )
        return channel_credentials(self._identity)
