"""What every store behind `orchestrator.control.seams.Store` does. One body, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from orchestrator.control.seams import Store
from orchestrator.errors import (
    ClaimRefused,
    Compacted,
    EpochStale,
    InvalidRequest,
    NotFound,
    OwnerConflict,
    RevisionStale,
)
from orchestrator.model.claims import Claim, JobHold, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, JobRef, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import Variant
from orchestrator.model.stored import (
    Batch,
    ChangeType,
    DecisionRecord,
    Delete,
    Key,
    Lease,
    Owner,
    Put,
    StoredDecision,
    StoredObject,
)
from orchestrator.store import SqlStore, open_store
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.store_urls import store_url  # noqa: F401

KEY = Key("Site", "", "quay")
NOW_WALL_S = 1_800_000_000.0
QUAY = SiteName("quay")


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:  # noqa: F811
    opened = open_store(store_url, wall_s=lambda: NOW_WALL_S)
    yield opened
    opened.close()


def put(key: Key = KEY, expected: int | None = None, owner: Owner = Owner.COMMAND, **parts: dict[str, object]) -> Put:
    return Put(key, owner, expected, **{"spec": {"a": 1}, **parts})  # type: ignore[arg-type]


def commit(store: Store, *writes: Put | Delete) -> list[StoredObject]:
    return store.commit(Batch(writes=writes))


def claim(id: str, mib: int = 1, millis: int = 1, site: str = "quay", phase: ClaimPhase = ClaimPhase.BOUND) -> Claim:
    hold = ReplicaHold(
        ServiceRef("plant", "digits"), VersionRef("plant", "v1"), Variant.LITERT_INT8, Digest("sha256:00")
    )
    node = NodeName("n1")
    need = Resources(mib, millis)
    return Claim(ReplicaId(id), SiteName(site), node, need, phase, hold, DecisionId("d1"), 3, NOW_WALL_S + 0.125)


def put_claims(store: Store, *claims: Claim, capacity: Resources | None = None) -> None:
    store.commit(Batch(claims=claims, capacities={} if capacity is None else {QUAY: capacity}))


def decision(id: str, made_wall_s: float = NOW_WALL_S, inputs: str = '{"snapshot": "\\u00e9"}') -> StoredDecision:
    record = DecisionRecord(DecisionId(id), 7, made_wall_s, 2, 0.25, (f"took {id} \u00e9", "left quay"))
    return StoredDecision(record, inputs, f'{{"of": "{id}"}}')


class TestObjects:
    def test_a_new_object_is_read_back_as_it_was_written(self, store: Store) -> None:
        spec = {"zone": "north", "nested": {"list": [1, 2.5, True, None, "\x00 \u00e9 \U0001f6a2"]}, "big": 2**70}
        (written,) = commit(store, put(expected=0, spec=spec, status={"ready": False}, labels={"gpu": "true"}))
        assert (written.key, written.owner, written.generation) == (KEY, Owner.COMMAND, 1)
        assert (written.spec, written.status, written.labels) == (spec, {"ready": False}, {"gpu": "true"})
        assert written.created_wall_s == NOW_WALL_S
        assert written.revision > 0
        assert store.get(KEY) == written

    def test_an_unknown_object_is_not_found_by_name(self, store: Store) -> None:
        with pytest.raises(NotFound, match="Site quay: does not exist"):
            store.get(KEY)

    def test_expecting_none_of_an_existing_object_is_stale(self, store: Store) -> None:
        commit(store, put())
        with pytest.raises(RevisionStale, match="exists already, at revision 1"):
            commit(store, put(expected=0, spec={"a": 2}))
        assert store.get(KEY).spec == {"a": 1}

    def test_a_write_at_the_revision_read_goes_through_once(self, store: Store) -> None:
        (first,) = commit(store, put())
        (second,) = commit(store, put(expected=first.revision, spec={"a": 2}))
        assert second.revision > first.revision
        with pytest.raises(RevisionStale, match=f"at revision {second.revision}, not at {first.revision}"):
            commit(store, put(expected=first.revision, spec={"a": 3}))
        assert store.get(KEY) == second

    def test_a_write_to_a_deleted_object_is_stale(self, store: Store) -> None:
        (first,) = commit(store, put())
        commit(store, Delete(KEY, Owner.COMMAND, first.revision))
        with pytest.raises(RevisionStale, match="was deleted"):
            commit(store, put(expected=first.revision))

    def test_an_unchanged_write_keeps_the_revision_and_leaves_no_change(self, store: Store) -> None:
        (first,) = commit(store, put(spec={"a": 1, "b": 2}, labels={"x": "y"}))
        (second,) = commit(store, put(spec={"b": 2, "a": 1}))
        assert second == first
        assert len(store.changes(0)) == 1

    def test_generation_rises_only_with_the_spec(self, store: Store) -> None:
        (first,) = commit(store, put())
        (second,) = commit(store, put(spec=None, status={"phase": "ready"}))
        (third,) = commit(store, put(spec=None, labels={"tier": "1"}))
        (fourth,) = commit(store, put(spec={"a": 2}))
        assert [each.generation for each in (first, second, third, fourth)] == [1, 1, 1, 2]
        assert first.revision < second.revision < third.revision < fourth.revision
        assert (fourth.status, fourth.labels, fourth.uid) == ({"phase": "ready"}, {"tier": "1"}, first.uid)

    def test_a_late_status_does_not_bring_a_deleted_object_back(self, store: Store) -> None:
        commit(store, put())
        commit(store, Delete(KEY, Owner.COMMAND, None))
        with pytest.raises(RevisionStale, match="does not exist"):
            commit(store, put(spec=None, status={"phase": "ready"}))
        assert store.list_objects("Site")[0] == []

    @pytest.mark.parametrize("write", [put(owner=Owner.OPERATOR), Delete(KEY, Owner.OPERATOR, None)])
    def test_the_other_owner_is_refused_and_told_whom_to_ask(self, store: Store, write: Put | Delete) -> None:
        (first,) = commit(store, put())
        with pytest.raises(OwnerConflict) as refused:
            commit(store, write)
        assert '"command"' in str(refused.value)
        assert '"operator"' in str(refused.value)
        assert 'change it through "command"' in str(refused.value)
        assert store.get(KEY) == first

    def test_a_delete_answers_the_object_as_it_was(self, store: Store) -> None:
        (first,) = commit(store, put())
        assert commit(store, Delete(KEY, Owner.COMMAND, first.revision)) == [first]
        with pytest.raises(NotFound):
            store.get(KEY)
        with pytest.raises(NotFound):
            commit(store, Delete(KEY, Owner.COMMAND, None))

    def test_a_delete_at_another_revision_is_stale(self, store: Store) -> None:
        (first,) = commit(store, put())
        with pytest.raises(RevisionStale):
            commit(store, Delete(KEY, Owner.COMMAND, first.revision + 1))
        assert store.get(KEY) == first

    def test_an_object_made_again_is_another_with_no_old_revision(self, store: Store) -> None:
        (first,) = commit(store, put())
        commit(store, Delete(KEY, Owner.COMMAND, None))
        (again,) = commit(store, put(expected=0))
        assert again.uid != first.uid
        assert again.generation == 1
        assert again.revision > first.revision

    def test_lists_are_by_kind_and_namespace_in_key_order(self, store: Store) -> None:
        keys = [
            Key("Site", "", "b"),
            Key("Site", "", "B"),
            Key("Site", "", "\u00e9"),
            Key("ModelService", "plant", "z-1"),
            Key("ModelService", "plant", "z.0"),
            Key("ModelService", "Plant", "z"),
        ]
        commit(store, *(put(key) for key in keys))
        assert [each.key for each in store.list_objects("")[0]] == sorted(keys)
        assert [each.key for each in store.list_objects("Site", "")[0]] == sorted(keys[:3])
        assert [each.key for each in store.list_objects("ModelService", "plant")[0]] == keys[3:5]
        assert store.list_objects("Zone")[0] == []

    def test_a_batch_is_written_whole_or_not_at_all(self, store: Store) -> None:
        (first,) = commit(store, put())
        _, before = store.list_objects("")
        refused = Batch(
            writes=(put(spec={"a": 2}), put(Key("Site", "", "new")), put(Key("Site", "", "new"), expected=0)),
            claims=(claim("r1"),),
            decision=decision("d1"),
        )
        with pytest.raises(RevisionStale):
            store.commit(refused)
        assert store.list_objects("") == ([first], before)
        assert store.claims() == []
        assert store.latest_decision() is None
        assert [each.object for each in store.changes(0)] == [first]

    def test_a_batch_answers_in_the_order_of_its_writes(self, store: Store) -> None:
        commit(store, put(), put(Key("Zone", "", "old")))
        written = commit(store, put(Key("Zone", "", "z")), Delete(Key("Zone", "", "old"), Owner.COMMAND, None), put())
        assert [each.key.name for each in written] == ["z", "old", "quay"]

    def test_later_writes_of_a_batch_see_earlier_ones(self, store: Store) -> None:
        first, second = commit(store, put(expected=0), put(spec=None, status={"phase": "ready"}))
        assert second.revision > first.revision
        assert store.get(KEY) == second

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
    def test_what_json_cannot_say_is_refused(self, store: Store, value: object) -> None:
        with pytest.raises(InvalidRequest, match="Site quay: spec"):
            commit(store, put(spec={"a": [value]}))
        assert store.list_objects("")[0] == []

    @pytest.mark.parametrize("name", ["", "a\x00b", "a\ud800", "a\n", "x" * 254])
    def test_a_name_that_not_every_database_holds_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(InvalidRequest, match=r"metadata\.name"):
            commit(store, put(Key("Site", "", name)))


class TestChanges:
    def test_each_change_holds_the_object_as_written(self, store: Store) -> None:
        (first,) = commit(store, put())
        (second,) = commit(store, put(spec={"a": 2}))
        commit(store, Delete(KEY, Owner.COMMAND, None))
        changes = store.changes(0)
        assert [each.type for each in changes] == [ChangeType.PUT, ChangeType.PUT, ChangeType.DELETE]
        assert [each.object for each in changes] == [first, second, second]
        assert sorted({each.sequence for each in changes}) == [each.sequence for each in changes]

    def test_a_watcher_resumes_after_its_sequence_by_pages(self, store: Store) -> None:
        for number in range(5):
            commit(store, put(spec={"a": number}))
        seen, after = [], 0
        while page := store.changes(after, limit=2):
            assert len(page) <= 2
            seen += [each.object.spec["a"] for each in page]
            after = page[-1].sequence
        assert seen == [0, 1, 2, 3, 4]

    def test_a_list_says_where_to_watch_from(self, store: Store) -> None:
        commit(store, put())
        _, sequence = store.list_objects("Zone")
        assert store.changes(sequence) == []
        (written,) = commit(store, put(Key("Zone", "", "north")))
        assert [each.object for each in store.changes(sequence)] == [written]

    def test_a_compacted_log_tells_watchers_to_list_again(self, store: SqlStore) -> None:
        for number in range(5):
            commit(store, put(spec={"a": number}))
        third, fourth, fifth = store.changes(0)[2:]
        assert store.compact(keep_changes=2) == 3
        assert store.changes(third.sequence) == [fourth, fifth]
        with pytest.raises(Compacted, match="list the objects again"):
            store.changes(third.sequence - 1)
        assert store.compact(keep_changes=2) == 0
        assert store.get(KEY).spec == {"a": 4}

    def test_a_log_compacted_to_nothing_still_knows_where_it_ends(self, store: SqlStore) -> None:
        commit(store, put())
        store.compact(keep_changes=0)
        _, sequence = store.list_objects("")
        assert store.changes(sequence) == []
        with pytest.raises(Compacted):
            store.changes(0)
        (written,) = commit(store, put(spec={"a": 2}))
        assert [each.object for each in store.changes(sequence)] == [written]

    def test_a_sequence_of_another_history_is_told_to_list_again(self, store: Store) -> None:
        commit(store, put())
        with pytest.raises(Compacted):
            store.changes(1_000)


class TestClaims:
    def test_claims_come_back_as_written_in_order_of_id(self, store: Store) -> None:
        replica = claim("r1", phase=ClaimPhase.RESERVED)
        job = replace(claim("job/plant/train"), node=None, decision=None, hold=JobHold(JobRef("plant", "train")))
        put_claims(store, replica, job)
        assert store.claims() == [job, replica]

    def test_a_claim_put_again_is_replaced(self, store: Store) -> None:
        put_claims(store, claim("r1", phase=ClaimPhase.RESERVED))
        put_claims(store, claim("r1", mib=2))
        assert store.claims() == [claim("r1", mib=2)]

    def test_a_released_claim_is_gone(self, store: Store) -> None:
        put_claims(store, claim("r1"), claim("r2"))
        put_claims(store, claim("r1", phase=ClaimPhase.RELEASED), claim("never", phase=ClaimPhase.RELEASED))
        assert store.claims() == [claim("r2")]

    def test_claims_that_fit_to_the_last_byte_are_taken(self, store: Store) -> None:
        put_claims(store, claim("r1", 6, 60), claim("r2", 4, 40), capacity=Resources(10, 100))
        assert len(store.claims()) == 2

    @pytest.mark.parametrize(
        ("capacity", "words"),
        [
            (Resources(9, 100), "site quay: memory_bytes: wanted 4, free 3 of 9"),
            (Resources(10, 99), "site quay: compute_millis: wanted 40, free 39 of 99"),
        ],
    )
    def test_a_claim_that_no_longer_fits_is_refused_with_the_figures(
        self, store: Store, capacity: Resources, words: str
    ) -> None:
        put_claims(store, claim("r1", 6, 60))
        with pytest.raises(ClaimRefused, match=words):
            put_claims(store, claim("r2", 4, 40), capacity=capacity)
        assert store.claims() == [claim("r1", 6, 60)]

    @pytest.mark.parametrize("phase", [ClaimPhase.RESERVED, ClaimPhase.BOUND, ClaimPhase.DRAINING])
    def test_every_claim_that_is_not_released_counts(self, store: Store, phase: ClaimPhase) -> None:
        put_claims(store, claim("r1", 6, phase=phase))
        with pytest.raises(ClaimRefused):
            put_claims(store, claim("r2", 5), capacity=Resources(10, 100))

    def test_a_successor_fits_in_what_the_same_batch_lets_go(self, store: Store) -> None:
        capacity = Resources(10, 100)
        put_claims(store, claim("r1", 10), capacity=capacity)
        put_claims(store, claim("r1", 10, phase=ClaimPhase.RELEASED), claim("r2", 10), capacity=capacity)
        assert store.claims() == [claim("r2", 10)]

    def test_an_overcommitted_site_refuses_only_growth(self, store: Store) -> None:
        """A node left, and capacity shrank below what is claimed."""
        capacity = Resources(10, 100)
        put_claims(store, claim("r1", 20, 10), claim("r2", 5, 10))
        put_claims(store, claim("r1", 20, 10, phase=ClaimPhase.DRAINING), capacity=capacity)
        put_claims(store, claim("r2", 4, 10), capacity=capacity)
        with pytest.raises(ClaimRefused, match="wanted 5, free -10 of 10"):
            put_claims(store, claim("r2", 5, 10), capacity=capacity)
        with pytest.raises(ClaimRefused, match="wanted 1, free -14 of 10"):
            put_claims(store, claim("r3", 1, 1), capacity=capacity)
        put_claims(store, claim("r2", 4, 90), capacity=capacity)  # compute has room, and memory does not grow
        put_claims(store, claim("r1", phase=ClaimPhase.RELEASED), capacity=capacity)
        assert store.claims() == [claim("r2", 4, 90)]

    def test_sites_are_checked_apart(self, store: Store) -> None:
        put_claims(store, claim("r1", 9, site="pier"))
        put_claims(store, claim("r2", 9), capacity=Resources(10, 100))
        capacities = {QUAY: Resources(10, 100), SiteName("pier"): Resources(10, 100)}
        with pytest.raises(ClaimRefused, match="site pier"):
            store.commit(Batch(claims=(claim("r3", 1), claim("r4", 2, site="pier")), capacities=capacities))
        assert [each.id for each in store.claims()] == ["r1", "r2"]

    def test_a_claim_never_changes_its_site(self, store: Store) -> None:
        put_claims(store, claim("r1"))
        with pytest.raises(InvalidRequest, match="a move is a new id"):
            put_claims(store, claim("r1", site="pier"))

    @pytest.mark.parametrize("bad", [(claim("r1"), claim("r1", mib=2)), (claim("r1", mib=-5),)])
    def test_claims_that_cannot_be_meant_are_refused(self, store: Store, bad: tuple[Claim, ...]) -> None:
        with pytest.raises(InvalidRequest):
            put_claims(store, *bad)
        assert store.claims() == []

    def test_thousands_of_claims_go_in_one_batch(self, store: Store) -> None:
        many = tuple(claim(f"r{number:05}", site=f"s{number % 1500}") for number in range(3_000))
        capacities = {SiteName(f"s{number}"): Resources(2, 2) for number in range(1_500)}
        store.commit(Batch(claims=many, capacities=capacities))
        assert len(store.claims()) == 3_000
        with pytest.raises(ClaimRefused, match="site s1499"):
            store.commit(Batch(claims=(claim("one-more", site="s1499"),), capacities=capacities))


class TestEpochs:
    def test_a_commit_under_the_leaders_epoch_goes_through(self, store: Store) -> None:
        lease = store.acquire_lease("leader", "a", 60)
        store.commit(Batch(writes=(put(),), epoch=lease.epoch))
        assert store.get(KEY)

    @pytest.mark.parametrize("by", [-1, 1])
    def test_any_other_epoch_is_stale(self, store: Store, by: int) -> None:
        store.acquire_lease("leader", "a", 0)
        epoch = store.acquire_lease("leader", "b", 60).epoch
        with pytest.raises(EpochStale, match=f"the leader's epoch is {epoch}"):
            store.commit(Batch(writes=(put(),), epoch=epoch + by))
        assert store.list_objects("")[0] == []

    @pytest.mark.parametrize("epoch", [0, 1])
    def test_an_epoch_nobody_was_given_is_stale(self, store: Store, epoch: int) -> None:
        store.acquire_lease("another", "a", 60)
        with pytest.raises(EpochStale, match="nobody was ever leader"):
            store.commit(Batch(writes=(put(),), epoch=epoch))

    def test_an_epoch_fences_an_empty_batch_too(self, store: Store) -> None:
        with pytest.raises(EpochStale):
            store.commit(Batch(epoch=1))


class TestLeases:
    def test_the_first_holder_gets_epoch_one_and_keeps_it_by_renewing(self, store: Store) -> None:
        first = store.acquire_lease("leader", "a", 60)
        assert (first.name, first.holder, first.epoch) == ("leader", "a", 1)
        second = store.acquire_lease("leader", "a", 120)
        assert second.epoch == 1
        assert second.expires_wall_s - first.expires_wall_s >= 60

    def test_another_is_refused_while_it_is_held(self, store: Store) -> None:
        store.acquire_lease("leader", "a", 60)
        with pytest.raises(EpochStale, match=r"lease leader: a holds it under epoch 1 for another \d+\.\d s"):
            store.acquire_lease("leader", "b", 60)
        assert store.acquire_lease("leader", "a", 60).epoch == 1

    @pytest.mark.parametrize("holder", ["a", "b"])
    def test_after_expiry_anybody_gets_a_higher_epoch(self, store: Store, holder: str) -> None:
        store.acquire_lease("leader", "a", 0)
        assert store.acquire_lease("leader", holder, 60).epoch == 2

    def test_a_released_lease_is_free_at_once_and_its_epoch_never_returns(self, store: Store) -> None:
        store.release_lease(store.acquire_lease("leader", "a", 60))
        assert store.acquire_lease("leader", "a", 60).epoch == 2

    def test_releasing_a_lease_that_another_took_changes_nothing(self, store: Store) -> None:
        old = store.acquire_lease("leader", "a", 0)
        store.acquire_lease("leader", "b", 60)
        store.release_lease(old)
        store.release_lease(Lease("never", "a", 1, 0.0))
        with pytest.raises(EpochStale):
            store.acquire_lease("leader", "a", 60)

    def test_leases_of_different_names_are_apart(self, store: Store) -> None:
        store.acquire_lease("leader", "a", 60)
        assert store.acquire_lease("trainer", "b", 60).epoch == 1


class TestDecisions:
    def test_a_decision_comes_back_as_made(self, store: Store) -> None:
        store.commit(Batch(decision=decision("d1")))
        assert store.decision(DecisionId("d1")) == store.latest_decision() == decision("d1")

    def test_no_decision_yet(self, store: Store) -> None:
        assert store.latest_decision() is None
        with pytest.raises(NotFound, match="decision d1"):
            store.decision(DecisionId("d1"))

    def test_one_made_again_after_another_is_the_latest(self, store: Store) -> None:
        for id, made_wall_s in (("d1", 1.0), ("d2", 2.0), ("d1", 3.0)):
            store.commit(Batch(decision=decision(id, made_wall_s)))
        assert store.latest_decision() == decision("d1", 3.0)
        assert store.decision(DecisionId("d2")) == decision("d2", 2.0)

    def test_they_are_listed_the_newest_first(self, store: Store) -> None:
        for id in ("d1", "d2", "d3"):
            store.commit(Batch(decision=decision(id)))
        assert store.decisions() == [decision(id).record for id in ("d3", "d2", "d1")]
        assert store.decisions(limit=1) == [decision("d3").record]

    def test_pruning_keeps_the_newest(self, store: Store) -> None:
        for id in ("d3", "d1", "d2"):
            store.commit(Batch(decision=decision(id)))
        assert store.prune_decisions(2, 0.0) == 1
        assert store.latest_decision() == decision("d2")
        assert store.decision(DecisionId("d1")) == decision("d1")
        with pytest.raises(NotFound):
            store.decision(DecisionId("d3"))
        assert store.prune_decisions(2, 0.0) == 0

    def test_pruning_by_age(self, store: Store) -> None:
        for id, made_wall_s in (("d1", 1.0), ("d2", 3.0), ("d3", 2.0), ("d4", 5.0)):
            store.commit(Batch(decision=decision(id, made_wall_s)))
        assert store.prune_decisions(10, 3.0) == 2
        assert [one.id for one in store.decisions()] == ["d4", "d2"]

    def test_the_one_in_force_is_never_pruned(self, store: Store) -> None:
        for id in ("d1", "d2"):
            store.commit(Batch(decision=decision(id, 1.0)))
        assert store.prune_decisions(0, 1e12) == 1
        assert store.prune_decisions(0, 1e12) == 0
        assert store.latest_decision() == decision("d2", 1.0)

    def test_pruning_goes_in_bounded_batches_from_the_oldest(self, store: Store) -> None:
        for number in range(5):
            store.commit(Batch(decision=decision(f"d{number}")))
        assert [store.prune_decisions(1, 0.0, limit=3) for _ in range(3)] == [3, 1, 0]
        assert [one.id for one in store.decisions()] == ["d4"]

    def test_alike_inputs_come_back_each_as_it_was(self, store: Store) -> None:
        texts = [str([number, *range(5_000)]) for number in range(6)]
        for number, text in enumerate(texts):
            store.commit(Batch(decision=decision(f"d{number}", inputs=text)))
        store.prune_decisions(3, 0.0)  # also the one that the others are deltas against
        for number in (3, 4, 5):
            assert store.decision(DecisionId(f"d{number}")).inputs_json == texts[number]
