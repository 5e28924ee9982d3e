from orchestrator.reconcile.settling import Proposal, settle


def test_first_plan_is_committed_at_once() -> None:
    assert settle(None, "a", None, 0.0, 5.0) == (True, None)


def test_a_change_is_committed_only_once_it_has_stood() -> None:
    now, pending = settle("a", "b", None, 0.0, 5.0)
    assert (now, pending) == (False, Proposal("b", 0.0))
    assert settle("a", "b", pending, 4.9, 5.0) == (False, pending)
    assert settle("a", "b", pending, 5.0, 5.0) == (True, None)


def test_a_wavering_proposal_starts_anew() -> None:
    _, pending = settle("a", "b", None, 0.0, 5.0)
    assert settle("a", "c", pending, 4.0, 5.0) == (False, Proposal("c", 4.0))
    assert settle("a", "a", pending, 4.0, 5.0) == (False, None)


def test_urgent_changes_do_not_wait() -> None:
    assert settle("a", "b", None, 0.0, 0.0) == (True, None)
