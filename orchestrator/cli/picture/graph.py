"""What a picture of a placement says, before anything has a place on it."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    EDGE = "edge"
    REGION = "region"


@dataclass(frozen=True, slots=True)
class Row:
    """Replicas of one service at a site. `service`: its number in the picture."""

    service: int
    text: str
    stays: int
    starts: int
    stops: int


@dataclass(frozen=True, slots=True)
class Note:
    """Why a site holds no replica of these services."""

    services: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SiteNode:
    """A site; or, with a `stands_for` above 1, so many that are not drawn one by one."""

    key: str
    kind: Kind
    title: str
    jurisdiction: str
    failure_domain: str
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    relays: str = ""  # how many calls pass its front; empty: none
    stands_for: int = 1


@dataclass(frozen=True, slots=True)
class Alarm:
    """Calls of a zone that nobody takes."""

    service: int
    text: str
    nearest: str


@dataclass(frozen=True, slots=True)
class ZoneNode:
    """A zone, or several. `home`: the site on whose LAN they are; `region`: at whose fronts they enter."""

    key: str
    title: str
    subtitle: str
    home: str | None
    region: str | None
    alarms: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """Calls from a zone to a site. `weight`: of its width, the widest is 1. `relay`: the region that it passes.

    Where there are too many to follow one by one, they are bundled at the regions: then one flow leads from a zone
    `into` a region's relay, and another one, which starts at the region, on to a site.
    """

    service: int
    start: str
    stop: str
    relay: str | None
    into: bool
    weight: float
    label: str
    late: bool  # later than the policy allows
    ends: bool


@dataclass(frozen=True, slots=True)
class Graph:
    title: str
    facts: tuple[str, ...]
    alarm: str  # empty: all calls are served
    services: tuple[str, ...]
    sites: tuple[SiteNode, ...]
    zones: tuple[ZoneNode, ...]
    flows: tuple[Flow, ...]
    remarks: tuple[str, ...]  # what cannot be judged, and rules that are not kept
    left_out: tuple[str, ...]
