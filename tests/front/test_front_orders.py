"""The last orders: whose count, and what a restart finds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.front.orders import Orders, keep, restored
from protos.link.v1 import link_pb2

ROUTES = link_pb2.RouteTable(revision=7, services=[link_pb2.ServiceRoutes(namespace="default", service="digits")])


def order(epoch: int, node: str = "", revision: int = 0, **more: object) -> link_pb2.FrontOrders:
    orders = link_pb2.FrontOrders(epoch=epoch, **more)  # type: ignore[arg-type]
    if node:
        orders.assignments.add(node=node, assignment=link_pb2.Assignment(revision=revision))
    return orders


def assigned(revision: int) -> bytes:
    return link_pb2.Assignment(revision=revision).SerializeToString()


def test_what_orders_leave_out_stays() -> None:
    held = Orders()
    assert held.take(order(1, "a", 1, routes=ROUTES, sites=["plant"]))
    assert held.take(order(1, "b", 4))
    assert held.take(order(2, "a", 2))
    assert held.routes == ROUTES
    assert held.sites == {"plant"}
    assert held.assignments == {"a": assigned(2), "b": assigned(4)}


@given(st.lists(st.integers(0, 5), max_size=12))
def test_an_older_leader_is_never_obeyed(epochs: list[int]) -> None:
    held, seen = Orders(), 0
    for revision, epoch in enumerate(epochs, start=1):
        before = held.assignments.get("a")
        assert held.take(order(epoch, "a", revision)) == (epoch >= seen)
        assert held.assignments.get("a") == (assigned(revision) if epoch >= seen else before)
        seen = max(seen, epoch)


def test_kept_orders_come_back_without_the_epoch(tmp_path: Path) -> None:
    held = Orders()
    held.take(order(9, "a", 3, routes=ROUTES, sites=["plant"]))
    keep(tmp_path / "orders", held.pieces())
    keep(tmp_path / "orders", held.pieces())
    found = restored(tmp_path / "orders")
    assert found.whole() == held.whole()
    assert found.take(order(1, "a", 1)), "a control plane that was set up anew is heard"
    assert [path.name for path in tmp_path.iterdir()] == ["orders"]


def test_no_orders_are_kept_yet(tmp_path: Path) -> None:
    assert restored(tmp_path / "orders").whole() == link_pb2.FrontOrders()


@pytest.mark.parametrize(
    "damage",
    [lambda held: held[:-1], lambda held: held[:10], lambda held: b"", lambda held: held[:40] + b"x" + held[41:]],
)
def test_damaged_orders_are_not_used(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    held = Orders()
    held.take(order(1, "a", 3, routes=ROUTES))
    path = tmp_path / "orders"
    keep(path, held.pieces())
    path.write_bytes(damage(path.read_bytes()))
    assert restored(path).whole() == link_pb2.FrontOrders()
    assert "damaged" in caplog.text
