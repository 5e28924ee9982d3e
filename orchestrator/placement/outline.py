"""What a solver wishes for one service, before caps have their say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.ids import NodeName, SiteName, ZoneName
from orchestrator.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Outline:
    """What one service should be given, as far as its caps allow."""

    replicas: Mapping[SiteName, int]
    shares: Mapping[tuple[ZoneName, SiteName], float]
    need: Resources  # of all the replicas
    added: Mapping[SiteName, Sequence[tuple[NodeName | None, Resources]]]  # those of the replicas that do not run yet
