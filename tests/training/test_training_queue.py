"""The queue by properties: gangs fit, the order counts, nobody is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.ids import JobRef, SiteName
from orchestrator.model.resources import Resources
from orchestrator.training.queue import Admit, Cluster, Hold, HoldReason, QueuedJob, admit, in_order


def resources(largest: int) -> st.SearchStrategy[Resources]:
    return st.builds(Resources, st.integers(0, largest), st.integers(0, largest))


@st.composite
def queues(draw: st.DrawFn) -> list[QueuedJob]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
    return [
        QueuedJob(
            JobRef("default", name),
            draw(st.integers(-1, 1)),
            draw(st.integers(0, 3)),
            draw(st.integers(1, 4)),
            draw(resources(5)),
        )
        for name in names
    ]


@st.composite
def fleets(draw: st.DrawFn) -> list[Cluster]:
    names = draw(st.lists(st.sampled_from("xyz"), unique=True))
    fleet = []
    for name in names:
        capacity, used = draw(resources(20)), draw(resources(20))
        free = Resources(
            max(0, capacity.memory_bytes - used.memory_bytes), max(0, capacity.compute_millis - used.compute_millis)
        )
        fleet.append(Cluster(SiteName(name), capacity, free, draw(st.booleans())))
    return fleet


@given(queues(), fleets())
def test_every_job_gets_one_answer_in_the_queues_order(jobs: list[QueuedJob], fleet: list[Cluster]) -> None:
    assert [action.job for action in admit(jobs, fleet)] == [job.ref for job in in_order(jobs)]


@given(queues(), fleets())
def test_admitted_gangs_fit_together_on_reachable_clusters(jobs: list[QueuedJob], fleet: list[Cluster]) -> None:
    needs = {job.ref: job.need for job in jobs}
    for cluster in fleet:
        taken = Resources()
        for action in admit(jobs, fleet):
            if isinstance(action, Admit) and action.site == cluster.site:
                assert cluster.reachable
                taken += needs[action.job]
        assert taken.fits_in(cluster.free)


@given(queues(), fleets(), st.randoms(use_true_random=False))
def test_the_listing_order_does_not_matter(jobs: list[QueuedJob], fleet: list[Cluster], random: st.DataObject) -> None:
    shuffled_jobs, shuffled_fleet = list(jobs), list(fleet)
    random.shuffle(shuffled_jobs)  # type: ignore[attr-defined]
    random.shuffle(shuffled_fleet)  # type: ignore[attr-defined]
    assert admit(shuffled_jobs, shuffled_fleet) == admit(jobs, fleet)


@given(queues(), fleets())
def test_a_later_job_never_changes_an_earlier_ones_answer(jobs: list[QueuedJob], fleet: list[Cluster]) -> None:
    ordered = in_order(jobs)
    everything = admit(ordered, fleet)
    for count in range(len(ordered)):
        assert admit(ordered[:count], fleet) == everything[:count]


@given(queues(), fleets())
def test_a_job_that_waits_for_room_is_passed_only_where_it_cannot_run(
    jobs: list[QueuedJob], fleet: list[Cluster]
) -> None:
    by_ref, capacity = {job.ref: job for job in jobs}, {each.site: each.capacity for each in fleet}
    waiting: list[QueuedJob] = []
    for action in admit(jobs, fleet):
        if isinstance(action, Hold) and action.reason in (HoldReason.NO_ROOM, HoldReason.BEHIND):
            waiting.append(by_ref[action.job])
        if isinstance(action, Admit):
            assert not any(job.need.fits_in(capacity[action.site]) for job in waiting)


@given(queues(), fleets())
def test_a_held_job_names_the_true_reason(jobs: list[QueuedJob], fleet: list[Cluster]) -> None:
    by_ref, reachable = {job.ref: job for job in jobs}, [each for each in fleet if each.reachable]
    for action in admit(jobs, fleet):
        if not isinstance(action, Hold):
            continue
        fits_empty = any(by_ref[action.job].need.fits_in(each.capacity) for each in reachable)
        assert action.detail
        assert (action.reason is HoldReason.NO_CLUSTER) == (not reachable)
        if reachable:
            assert (action.reason is HoldReason.TOO_LARGE) == (not fits_empty)


def test_the_head_of_the_queue_takes_what_fits_and_the_rest_hears_why() -> None:
    core = Resources(memory_bytes=100 << 20, compute_millis=1000)
    cluster = Cluster(SiteName("local"), capacity=core * 4, free=core * 3)
    old, large, small = (
        QueuedJob(JobRef("default", name), 0, since_s, workers, core)
        for name, since_s, workers in (("old", 1, 2), ("large", 2, 3), ("small", 3, 1))
    )
    huge = QueuedJob(JobRef("default", "huge"), 9, 4, 5, core)
    actions = admit([small, large, old, huge], [cluster])
    assert [(each.job.name, each.reason if isinstance(each, Hold) else "admit") for each in actions] == [
        ("huge", HoldReason.TOO_LARGE),
        ("old", "admit"),
        ("large", HoldReason.NO_ROOM),
        ("small", HoldReason.BEHIND),
    ]
    details = [each.detail for each in actions if isinstance(each, Hold)]
    assert details == [
        "5 workers need 500 MiB and 5 cores; local has 400 MiB and 4 cores in all: "
        "use fewer workers or raise its quota",
        "3 workers need 300 MiB and 3 cores; local has 100 MiB and 1 cores free: it starts when something there ends",
        "default/large is before it and waits for room; raise the priority to pass",
    ]
