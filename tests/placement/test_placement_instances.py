"""Files that the bench refuses, each with its reason; nothing is planned of them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.placement.instances import ARRAYS, BadInstance, read_programme

GOOD: dict[str, object] = {
    "ne": np.int64(1),
    **{name: np.array([4, 40]) for name in ("s_mem", "s_comp")},
    **{name: np.array([100.0, 1e9]) for name in ("s_in", "s_out")},
    "z_cap": np.array([50.0]),
    **{name: np.array([0]) for name in ("d_m", "d_z")},
    **{name: np.array([1.0]) for name in ("d_lam", "d_pen", "d_in", "d_out")},
    "p_s": np.array([0, 1]),
    "p_m": np.array([0, 0]),
    **{name: np.array([2.0, 3.0]) for name in ("p_kap", "p_price")},
    **{name: np.array([1, 1]) for name in ("p_mem", "p_comp")},
    "a_d": np.array([0, 0]),
    "a_p": np.array([0, 1]),
    "a_c": np.array([0.1, 0.2]),
    "a_far": np.array([False, True]),
}


def saved(folder: Path, **changed: object) -> Path:
    arrays = {name: value for name, value in (GOOD | changed).items() if value is not None}
    np.savez(folder / "instance.npz", **arrays)  # type: ignore[arg-type]
    return folder / "instance.npz"


def test_an_instance_becomes_a_programme_with_its_links(tmp_path: Path) -> None:
    assert set(GOOD) == set(ARRAYS)
    of, _ = read_programme(saved(tmp_path))
    assert (of.arcs, of.demands, list(of.site_pool)) == (2, 1, [False, True])
    # In and out of the edge site for the first arc, the zone's WAN for the far one.
    assert list(of.use_link) == [0, 2, 4]
    assert list(of.use_mbit) == [1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"a_c": None}, "lacks a_c"),
        ({"d_lam": np.array([np.nan])}, r"demand_rps\[0\]"),
        ({"d_lam": np.array([[1.0]])}, "d_lam has shape"),
        ({"d_lam": np.float64(1)}, "d_lam has shape"),
        ({"ne": np.int64(3)}, "ne is 3"),
        ({"ne": np.array("x")}, "ne holds"),
        ({"a_d": np.array([0, 0.5])}, "a_d holds 0.5"),
        ({"a_p": np.array([0, 7])}, "a_p: holds 0 to 7"),
        ({"p_s": np.array([1, 0])}, "ascending"),
        ({"s_mem": np.array([-1, 40])}, r"site_memory\[0\]"),
        ({"d_pen": np.array([1.0, 2.0])}, "demand_penalty_usd"),
        ({"z_cap": np.zeros(0)}, "use_link"),
    ],
)
def test_what_is_no_instance_is_refused_by_name(tmp_path: Path, changed: dict[str, object], says: str) -> None:
    with pytest.raises(BadInstance, match=says):
        read_programme(saved(tmp_path, **changed))


@pytest.mark.parametrize("cut", [0, 10, 500])
def test_half_a_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadInstance, match=r"not an \.npz that"):
        read_programme(path)
