"""What arguments of `skerry-edge` may be."""

import argparse
import re

from workers.edge.addresses import host_and_port

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: give lower-case letters, digits, '-' and '.', at most 253")
    return text


def name_from(host: str) -> str:
    """A host's name made a node's; empty if nothing of it can be used."""
    return re.sub(r"[^a-z0-9.]+", "-", host.lower()).strip("-.")[:253].strip("-.")


def address(text: str) -> str:
    try:
        host_and_port(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
    return text


def enrolment_address(text: str) -> str:
    """The port may be left out."""
    return address(text if text.rpartition(":")[2].isdecimal() else f"{text}:{ENROLMENT_PORT}")


def lan(text: str) -> str:
    return "" if text == "none" else address(text)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return value


ENROLMENT_PORT = 7072
