"""Control groups of replicas, on plain files: what is written where. A kernel's answer to it is not in this test."""

from pathlib import Path

import pytest

from workers.edge.cgroups import Cgroups, is_delegated


def tree(root: Path, controllers: str = "cpuset cpu io memory pids", group: str = "system.slice/edge.service") -> Path:
    here = root / "cg" / group
    here.mkdir(parents=True)
    (here / "cgroup.controllers").write_text(f"{controllers}\n")
    (root / "proc").mkdir()
    (root / "proc" / "cgroup").write_text(f"9:name=systemd:/x\n0::/{group}\n")
    return here


def delegated(root: Path, ours: bool = True) -> Cgroups | None:
    return Cgroups.delegated(root / "cg", root / "proc", lambda _: ours)


def test_the_agent_moves_into_a_leaf_and_turns_the_controllers_on(tmp_path: Path) -> None:
    here = tree(tmp_path)
    (here / "agent").mkdir()  # the kernel makes its files with it
    assert delegated(tmp_path) is not None
    assert (here / "agent" / "cgroup.procs").read_text() == "0"
    assert (here / "cgroup.subtree_control").read_text() == "+memory +cpu"


def test_systemd_may_have_put_it_into_the_leaf_already(tmp_path: Path) -> None:
    here = tree(tmp_path, group="system.slice/edge.service/agent")
    found = delegated(tmp_path)
    assert found is not None
    assert (here.parent / "cgroup.subtree_control").exists()
    assert not (here / "agent").exists()


def test_a_replica_is_bounded_and_its_end_by_the_kernel_is_seen(tmp_path: Path) -> None:
    here = tree(tmp_path)
    found = delegated(tmp_path)
    assert found is not None
    group = found.place(4711, 96 << 20, 250)
    assert group is not None
    files = {path.name: path.read_text() for path in (here / "replica-4711").iterdir()}
    assert files == {
        "memory.max": str(96 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "100000 100000",
        "cpu.weight": "25",
        "cgroup.procs": "4711",
    }
    assert not group.out_of_memory()
    (here / "replica-4711" / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    assert group.out_of_memory()


def test_no_limit_is_no_file(tmp_path: Path) -> None:
    here = tree(tmp_path)
    found = delegated(tmp_path)
    assert found is not None
    assert found.place(1, 0, 0) is not None
    assert [path.name for path in (here / "replica-1").iterdir()] == ["cgroup.procs"]


@pytest.mark.parametrize("missing", ["version", "controllers", "right", "file"])
def test_where_there_is_none_each_process_limits_itself(tmp_path: Path, missing: str) -> None:
    here = tree(tmp_path, controllers="hugetlb" if missing == "controllers" else "cpu memory")
    if missing == "version":
        (tmp_path / "proc" / "cgroup").write_text("4:memory:/x\n")
    if missing == "file":
        (here / "cgroup.controllers").unlink()
    assert delegated(tmp_path, ours=missing != "right") is None
    assert not (here / "agent").exists()


def test_a_group_that_cannot_be_made_leaves_the_process_to_its_own_limits(tmp_path: Path) -> None:
    here = tree(tmp_path)
    found = delegated(tmp_path)
    assert found is not None
    (here / "replica-1").mkdir()
    assert found.place(1, 1 << 20, 0) is None


def test_root_alone_is_no_delegation(tmp_path: Path) -> None:
    assert not is_delegated(tmp_path / "nowhere")
