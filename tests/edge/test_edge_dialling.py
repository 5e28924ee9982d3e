"""Which front is dialled next."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.authority import TestAuthority
from workers.edge.dialling import Dial
from workers.edge.options import name, name_from
from workers.edge.plan import Plan, plan_of, save_plan
from workers.identity.errors import NotEnrolled
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role


def tried(dial: Dial, times: int) -> list[str]:
    seen = []
    for _ in range(times):
        seen.append(dial.front)
        dial.advance()
    return seen


def test_fronts_are_tried_round_and_round() -> None:
    assert tried(Dial(("a:1", "b:1", "c:1")), 7) == ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1", "a:1"]
    assert tried(Dial(("a:1",)), 2) == ["a:1", "a:1"]


async def test_a_new_list_is_kept_and_the_open_front_stays_until_it_is_gone(tmp_path: Path) -> None:
    kept: list[tuple[str, ...]] = []
    dial = Dial(("a:1", "b:1"), IdentityFolder(tmp_path), kept.append)
    await dial.learn(["b:1", "c:1", "nonsense"])
    await dial.learn(["b:1", "c:1"])
    assert kept == [("b:1", "c:1")]
    assert tried(dial, 4) == ["a:1", "b:1", "c:1", "b:1"]


async def test_a_front_that_tells_none_changes_nothing_and_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    def keep(_: tuple[str, ...]) -> None:
        raise OSError(28, "No space left on device")

    dial = Dial(("a:1",), IdentityFolder(tmp_path), keep)
    await dial.learn([])
    assert tried(dial, 2) == ["a:1", "a:1"]
    await dial.learn(["b:1"])
    assert tried(dial, 2) == ["a:1", "b:1"]


async def test_in_plain_text_no_front_beyond_loopback_is_learnt() -> None:
    dial = Dial(("127.0.0.1:1",))
    await dial.learn(["10.0.0.1:1", "front.example.com:1"])
    assert tried(dial, 2) == ["127.0.0.1:1"] * 2
    await dial.learn(["10.0.0.1:1", "127.0.0.1:2"])
    assert tried(dial, 3) == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"]


def test_without_an_identity_that_can_be_read_nothing_is_dialled(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolled):
        Dial(("a:1",), IdentityFolder(tmp_path)).open()


@given(st.text(max_size=300))
def test_a_host_name_makes_a_node_name_or_none(host: str) -> None:
    made = name_from(host)
    assert made == "" or name(made) == made
    assert name_from("Kiosk_7.Plant.local") == "kiosk-7.plant.local"


async def test_a_front_that_was_given_is_the_only_one(tmp_path: Path) -> None:
    dial = Dial(("a:1",), IdentityFolder(tmp_path), pinned=True)
    await dial.learn(["b:1"])
    assert tried(dial, 2) == ["a:1", "a:1"]


def test_the_end_of_the_own_certificate_is_a_reason_only_once_it_is_shown(tmp_path: Path) -> None:
    folder = TestAuthority().enrol(tmp_path / "identity", Role.NODE, "n1", "s1")
    ends_s = [1.0]
    dial = Dial(("127.0.0.1:1",), folder, ends_s=lambda: ends_s[0])
    assert dial.trouble() == ""
    dial._pems_now()
    assert dial.trouble() == "this node's certificate ended on 1970-01-01 00:00 UTC, and is being renewed"
    for ends_s[0] in (0.0, 1e10):
        assert dial.trouble() == ""


def test_renewal_is_due_as_told_and_at_the_latest_at_the_end(tmp_path: Path) -> None:
    assert Plan(due_s=5.0, ends_s=9.0).renew_at_s == Plan(due_s=5.0).renew_at_s == 5.0
    assert Plan(due_s=1e10, ends_s=9.0).renew_at_s == 9.0
    assert Plan().renew_at_s == Plan(ends_s=9.0).renew_at_s == 0.0
    save_plan(tmp_path, Plan(7.0, 8.0, "revoked", "failed"))
    assert plan_of(tmp_path) == Plan(7.0, 8.0, "revoked", "failed")
    for spoilt in ("", "[]", '{"due_s": "x", "revoked": 3, "failed": []}', '{"due_s": -1}', '{"ends_s": 1e99}'):
        (tmp_path / "renewal.json").write_text(spoilt)
        assert plan_of(tmp_path) == Plan()
