"""Instances on disk: the public format, checked, as the planner's programme."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.placement.search.programme import InvalidProgramme, Programme, programme

# Every array that is read; the ranges that follow from others (pa, spt, da, da_arc) are made anew.
ARRAYS = (
    "ne", "s_mem", "s_comp", "s_in", "s_out", "z_cap", "d_m", "d_z", "d_lam", "d_pen", "d_in", "d_out",
    "p_s", "p_m", "p_kap", "p_price", "p_mem", "p_comp", "a_d", "a_p", "a_c", "a_far",
)  # fmt: skip
INDICES = ("ne", "d_m", "d_z", "p_s", "p_m", "a_d", "a_p")


class BadInstance(Exception):
    """A file that is no instance; the message names file, array and remedy."""


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file. Raises BadInstance."""
    try:
        # Looked at first: numpy leaves a file that it cannot read open.
        if not zipfile.is_zipfile(path):
            raise BadInstance(f"{path}: not an .npz that can be read: it is cut off, or of another kind")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as err:
        raise BadInstance(f"{path}: not an .npz that can be read ({err}): save it by numpy.savez") from err


def read_arrays(path: Path) -> dict[str, NDArray[np.float64]]:
    """The arrays of an instance, each of numbers and of the right dimension. Raises BadInstance."""
    found = read_npz(path)
    missing = [name for name in ARRAYS if name not in found]
    if missing:
        raise BadInstance(f"{path}: lacks {', '.join(missing)}: see benchmarks/placement/README.md for the format")
    for name in ARRAYS:
        values = found[name]
        if values.dtype.kind not in "biuf":
            raise BadInstance(f"{path}: {name} holds {values.dtype}, not numbers")
        if values.ndim != (0 if name == "ne" else 1):
            raise BadInstance(f"{path}: {name} has shape {values.shape}: give one number for ne, else one dimension")
        if name in INDICES and values.size and not (values == np.floor(values)).all():
            raise BadInstance(f"{path}: {name} holds {values[values != np.floor(values)][0]}: give whole numbers")
    if not 0 <= found["ne"] <= len(found["s_mem"]):
        raise BadInstance(f"{path}: ne is {found['ne']}, there are {len(found['s_mem'])} sites")
    return found


def read_programme(path: Path) -> tuple[Programme, dict[str, NDArray[np.float64]]]:
    """The instance as a programme, and its arrays as they are. Raises BadInstance."""
    arrays = read_arrays(path)
    try:
        return as_programme(arrays), arrays
    except (InvalidProgramme, IndexError, ValueError) as err:
        raise BadInstance(f"{path}: {err}") from err


def as_programme(of: dict[str, NDArray[np.float64]]) -> Programme:
    """Links: in and out of each edge site, then each zone's WAN for calls that leave it. A pool's own links never bind.

    Raises InvalidProgramme.
    """
    sites, edge_sites = len(of["s_mem"]), int(of["ne"])
    demand, pair = of["a_d"].astype(np.int64), of["a_p"].astype(np.int64)
    for name, index, count in (("a_d", demand, len(of["d_lam"])), ("a_p", pair, len(of["p_s"]))):
        if len(index) and not 0 <= index.min() <= index.max() < count:
            raise InvalidProgramme(f"{name}: holds {index.min()} to {index.max()}, there are {count}")
    site = of["p_s"].astype(np.int64)[pair]
    local, far = np.nonzero(site < edge_sites)[0], np.nonzero(of["a_far"])[0]
    arc = np.concatenate((local, local, far))
    link = np.concatenate((site[local], sites + site[local], 2 * sites + of["d_z"].astype(np.int64)[demand[far]]))
    both = of["d_in"] + of["d_out"]
    mbit = np.concatenate((of["d_in"][demand[local]], of["d_out"][demand[local]], both[demand[far]]))
    order = np.argsort(arc, kind="stable")
    return programme(
        site_pool=np.arange(sites) >= edge_sites,
        site_memory=of["s_mem"],
        site_compute=of["s_comp"],
        pair_site=of["p_s"],
        pair_service=of["p_m"],
        pair_rps=of["p_kap"],
        pair_usd=of["p_price"],
        pair_memory=of["p_mem"],
        pair_compute=of["p_comp"],
        arc_demand=of["a_d"],
        arc_pair=of["a_p"],
        arc_usd=of["a_c"],
        arc_uses=np.concatenate(([0], np.cumsum(np.bincount(arc, minlength=len(pair))))),
        use_link=link[order],
        use_mbit=mbit[order],
        link_mbps=np.concatenate((of["s_in"], of["s_out"], of["z_cap"])),
        demand_zone=of["d_z"],
        demand_rps=of["d_lam"],
        demand_penalty_usd=of["d_pen"],
    )
