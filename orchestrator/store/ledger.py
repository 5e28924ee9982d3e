"""The ledger of claims: what is written, and whether it still fits its site."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from orchestrator.errors import ClaimRefused, InvalidRequest
from orchestrator.model.claims import Claim
from orchestrator.model.ids import ReplicaId, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.store.encoding import claim_row
from orchestrator.store.schema import claims

_CHUNK = 1000  # names in one statement; PostgreSQL takes 65,535 parameters, an older SQLite 999
_NOTHING = Resources()

_Holdings = dict[SiteName, dict[ReplicaId, Resources]]


def put_claims(connection: Connection, new: Sequence[Claim], capacities: Mapping[SiteName, Resources]) -> None:
    """Write claims by id; a released one goes. Raises ClaimRefused where a site of `capacities` would not bear it."""
    wanted = _by_id(new)
    held = _held(connection, wanted, capacities)
    _check_sites_kept(wanted, held)
    at_site: dict[SiteName, list[Claim]] = {}
    for claim in wanted.values():
        at_site.setdefault(claim.site, []).append(claim)
    for site in sorted(capacities.keys() & at_site.keys()):
        _check_fits(site, capacities[site], held.get(site, {}), at_site[site])
    for ids in _chunks(sorted(wanted)):
        connection.execute(sa.delete(claims).where(claims.c.id.in_(ids)))
    rows = [claim_row(claim) for claim in wanted.values() if claim.phase != ClaimPhase.RELEASED]
    if rows:
        connection.execute(sa.insert(claims), rows)


def _by_id(new: Sequence[Claim]) -> dict[ReplicaId, Claim]:
    wanted = {claim.id: claim for claim in new}
    if len(wanted) != len(new):
        ids = [claim.id for claim in new]
        raise InvalidRequest("claims", sorted({id for id in ids if ids.count(id) > 1}), "give each claim once a batch")
    for claim in new:
        if not _NOTHING.fits_in(claim.need):
            raise InvalidRequest(f"claim {claim.id}: need", claim.need, "a claim takes capacity, it cannot give any")
    return wanted


def _held(
    connection: Connection, wanted: Mapping[ReplicaId, Claim], capacities: Mapping[SiteName, Resources]
) -> _Holdings:
    """What is stored now: all of the sites to be checked, and wherever the claims to be written lie."""
    sites = {claim.site for claim in wanted.values()} & capacities.keys()
    held: _Holdings = {}
    for column, names in ((claims.c.site, sites), (claims.c.id, wanted)):
        for chunk in _chunks(sorted(names)):
            for row in _rows(connection, column.in_(chunk)):
                held.setdefault(row.site, {})[row.id] = Resources(row.memory_bytes, row.compute_millis)
    return held


def _rows(connection: Connection, where: ColumnElement[bool]) -> Sequence[Row[str, str, int, int]]:
    columns = (claims.c.site, claims.c.id, claims.c.memory_bytes, claims.c.compute_millis)
    return connection.execute(sa.select(*columns).where(where)).all()


def _check_sites_kept(wanted: Mapping[ReplicaId, Claim], held: _Holdings) -> None:
    for site, claims_there in held.items():
        for id in claims_there.keys() & wanted.keys():
            if wanted[id].site != site:
                raise InvalidRequest(f"claim {id}: site", wanted[id].site, f"it lies on {site}: a move is a new id")


def _check_fits(
    site: SiteName, capacity: Resources, held: Mapping[ReplicaId, Resources], here: Sequence[Claim]
) -> None:
    """Only growth is refused: on a site that has shrunk below its claims they can still be changed and let go."""
    asked = sum((claim.need for claim in here if claim.phase != ClaimPhase.RELEASED), _NOTHING)
    replaced = sum((held.get(claim.id, _NOTHING) for claim in here), _NOTHING)
    free = capacity - (sum(held.values(), _NOTHING) - replaced)
    for name, unit in (("memory", "bytes"), ("compute", "millis")):
        resource = f"{name}_{unit}"
        asked_, before, free_ = (getattr(each, resource) for each in (asked, replaced, free))
        if asked_ > free_ and asked_ > before:
            raise ClaimRefused(
                f"site {site}: {resource}: wanted {asked_}, free {free_} of {getattr(capacity, resource)} "
                f"(claims {', '.join(sorted(claim.id for claim in here))}): plan again from a new snapshot"
            )


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
