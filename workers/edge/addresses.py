"""Addresses that people and fronts give."""

from collections.abc import Iterable

MOST_ADDRESSES = 64
MOST_CHARACTERS = 300


def host_and_port(address: str) -> tuple[str, int]:
    """Of HOST:PORT; an IPv6 host loses its brackets. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or len(address) > MOST_CHARACTERS or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address[:MOST_CHARACTERS]!r}: give HOST:PORT, the port between 0 and 65535")
    return host.strip("[]"), int(port)


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that are addresses, each once, in their order."""
    kept: dict[str, None] = {}
    for address in addresses:
        try:
            host_and_port(address)
        except ValueError:
            continue
        kept[address] = None
    return tuple(kept)[:MOST_ADDRESSES]
