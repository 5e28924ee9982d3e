"""Another version goes out in waves of sites; where it fails the site goes back to what it served, and enough of that
ends it everywhere. Looks at what runs: a wave that nobody saw begin is gone on with.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.model.ids import SiteName, VersionRef
from orchestrator.model.specs import PolicySpec

LEAST_CALLS = 20  # of one site, before the part of them that failed says anything
Failures: TypeAlias = Mapping[SiteName, str]


class RolloutPhase(StrEnum):
    PROGRESSING = "Progressing"
    ABORTED = "Aborted"  # every site is back at what it served before
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class WaveRules:
    """`sites`: of one wave, below 1 a part of all; None: all at once."""

    sites: float | None
    pause_s: float
    max_failures: int
    ready_within_s: float
    max_error_share: float

    def size(self, all_sites: int) -> int:
        if self.sites is None:
            return all_sites
        return max(1, math.ceil(self.sites * all_sites - 1e-9) if self.sites < 1 else int(self.sites))


def wave_rules(policy: PolicySpec) -> WaveRules:
    return WaveRules(
        policy.wave_sites, policy.wave_pause_s, policy.max_failures, policy.ready_within_s, policy.max_error_share
    )


def announced(rules: WaveRules, version: VersionRef, sites: int) -> str:
    """What a plan says of an update before it begins; "" where it goes everywhere at once."""
    size = rules.size(sites)
    if size >= sites:
        return ""
    waves = -(-sites // size)
    return (
        f"version {version.name} goes out in {waves} waves of {size}, each watched for {rules.pause_s:g} s once ready"
    )


@dataclass(frozen=True, slots=True)
class SiteState:
    """What one site has of a service. `runs`: versions with replicas that are not on their way out.

    `serves`: the one that answered last there; `failure`: of a replica of the new version; `starting_since_s`: of the
    oldest such one that never served; `calls` and `failed`: by callers there since the new version was ready.
    """

    attached: bool
    wanted: bool
    runs: frozenset[VersionRef] = frozenset()
    serves: VersionRef | None = None
    ready: bool = False  # as many replicas of the new version as are wanted
    starting_since_s: float | None = None
    failure: str = ""
    calls: int = 0
    failed: int = 0
    share: float = 0.0  # of the service's calls


Sites: TypeAlias = Mapping[SiteName, SiteState]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One service's way from a version to another. Times are on the store's clock.

    `released`: sites of the wave, each since when; `away`: of them those that fell silent; `others`: sites that served
    another version than `before`. A site that is in none of them and runs the new version has it for good.
    """

    version: VersionRef
    before: VersionRef
    asked: str  # what operators wrote: once they write something else, what failed is tried again
    phase: RolloutPhase = RolloutPhase.PROGRESSING
    wave: int = 0
    released: Mapping[SiteName, float] = field(default_factory=lambda: MappingProxyType({}))
    away: frozenset[SiteName] = frozenset()
    failed: Failures = field(default_factory=lambda: MappingProxyType({}))
    others: Mapping[SiteName, VersionRef] = field(default_factory=lambda: MappingProxyType({}))
    ready_since_s: float | None = None
    reason: str = ""

    def before_at(self, site: SiteName) -> VersionRef:
        return self.others.get(site, self.before)


def version_at(rollout: Rollout | None, decided: VersionRef, site: SiteName, runs: frozenset[VersionRef]) -> VersionRef:
    """What a site is to run of a service whose decision wants `decided`."""
    if rollout is None or decided not in (rollout.version, rollout.before):
        return decided
    if rollout.phase is RolloutPhase.ABORTED:
        return rollout.before_at(site)
    if decided != rollout.version:
        return decided
    if site in rollout.failed:
        return rollout.before_at(site)
    if rollout.phase is RolloutPhase.DONE or site in rollout.released or site in rollout.away or decided in runs:
        return decided
    return rollout.before_at(site)


def step(
    rollout: Rollout | None,
    decided: VersionRef,
    sites: Sites,
    rules: WaveRules,
    *,
    asked: str,
    frozen: bool,
    now_s: float,
) -> Rollout | None:
    """The rollout as of now; None: there was never one. `frozen`: no wave begins, one that has begun goes on."""
    if rollout is None or _is_new(rollout, decided, sites, asked):
        rollout = _begun(decided, sites, asked)
    if rollout is None or rollout.phase is not RolloutPhase.PROGRESSING:
        return rollout
    if rollout.version != decided:
        return _aborted(replace(rollout, asked=asked), f"version {rollout.version.name} is not wanted any more")
    if not any(site.wanted for site in sites.values()):
        return rollout  # it has no place yet
    if rollout.asked != asked:
        rollout = replace(rollout, asked=asked, failed={})
    rollout = _judged(_seen(rollout, sites, now_s), sites, rules, now_s)
    if len(rollout.failed) > rules.max_failures:
        failed = "; ".join(f"{site}: {why}" for site, why in sorted(rollout.failed.items()))
        return _aborted(rollout, f"version {rollout.version.name} failed at {failed}")
    return _advanced(rollout, sites, rules, frozen, now_s)


def over(rollout: Rollout, decided: VersionRef, asked: str) -> bool:
    """Whether nothing about it changes, whatever is seen: it ended, and nobody wants anything else since."""
    ended = {RolloutPhase.DONE: rollout.version, RolloutPhase.ABORTED: rollout.before}
    return ended.get(rollout.phase) == decided and rollout.asked == asked


def _is_new(rollout: Rollout, decided: VersionRef, sites: Sites, asked: str) -> bool:
    if rollout.version == decided:
        return rollout.phase is not RolloutPhase.PROGRESSING and rollout.asked != asked
    # The way back is no new rollout: it has no waves.
    return rollout.phase is RolloutPhase.DONE or decided != rollout.before


def _begun(decided: VersionRef, sites: Sites, asked: str) -> Rollout | None:
    """None where nothing serves another version: the first one of a service goes everywhere at once."""
    serves = {name: site.serves for name, site in sites.items() if site.serves is not None and site.serves != decided}
    if not serves:
        return None
    count = Counter(serves.values())
    before = max(count, key=lambda version: (count[version], version))
    return Rollout(decided, before, asked, others={name: one for name, one in serves.items() if one != before})


def _seen(rollout: Rollout, sites: Sites, now_s: float) -> Rollout:
    """Those of the wave that fell silent do not hold it up; those that are back begin again. What is gone is out."""
    there = {name for name, site in sites.items() if site.attached}
    gone = (rollout.released.keys() | rollout.away) - sites.keys()
    back = rollout.away & there
    released = {name: at_s for name, at_s in rollout.released.items() if name in there} | dict.fromkeys(back, now_s)
    away = (rollout.away | rollout.released.keys()) - there - gone
    if released == rollout.released and away == rollout.away:
        return rollout
    return replace(rollout, released=released, away=frozenset(away), ready_since_s=None)


def _judged(rollout: Rollout, sites: Sites, rules: WaveRules, now_s: float) -> Rollout:
    """What fails is taken out of the wave, and goes back."""
    found = {
        name: why for name, since_s in rollout.released.items() if (why := _failure(sites[name], since_s, rules, now_s))
    }
    if not found:
        return rollout
    released = {name: since_s for name, since_s in rollout.released.items() if name not in found}
    return replace(rollout, released=released, failed={**rollout.failed, **found})


def _failure(site: SiteState, released_s: float, rules: WaveRules, now_s: float) -> str:
    if site.failure:
        return site.failure
    if site.starting_since_s is not None and now_s - max(site.starting_since_s, released_s) > rules.ready_within_s:
        return f"not ready within rollout.ready_within_s, {rules.ready_within_s:g} s"
    if site.calls >= LEAST_CALLS and site.failed > rules.max_error_share * site.calls:
        most = f"{rules.max_error_share:g}"
        return f"{site.failed} of {site.calls} calls failed, more than rollout.max_error_share {most}"
    return ""


def _aborted(rollout: Rollout, why: str) -> Rollout:
    return replace(
        rollout,
        phase=RolloutPhase.ABORTED,
        released={},
        away=frozenset(),
        ready_since_s=None,
        reason=f"{why}; every site goes back to what it served before: push another version, or change the service or "
        "its policy to try this one again",
    )


def _advanced(rollout: Rollout, sites: Sites, rules: WaveRules, frozen: bool, now_s: float) -> Rollout:
    if not all(sites[name].ready for name in rollout.released):
        return replace(rollout, ready_since_s=None) if rollout.ready_since_s is not None else rollout
    if rollout.released:
        ready_since_s = now_s if rollout.ready_since_s is None else rollout.ready_since_s
        rollout = replace(rollout, ready_since_s=ready_since_s)
        if now_s - ready_since_s < rules.pause_s:
            return rollout
    waiting = sorted(waiting_sites(rollout, sites), key=lambda name: (sites[name].share, name))
    there = [name for name in waiting if sites[name].attached]
    if there and not frozen:
        size = rules.size(sum(site.wanted for site in sites.values()))
        return replace(rollout, wave=rollout.wave + 1, released=dict.fromkeys(there[:size], now_s), ready_since_s=None)
    done = not waiting and not rollout.away
    return replace(
        rollout, released={}, ready_since_s=None, phase=RolloutPhase.DONE if done else RolloutPhase.PROGRESSING
    )


def waiting_sites(rollout: Rollout, sites: Sites) -> Iterator[SiteName]:
    """Those whose wave is still to come, silent ones too."""
    for name, site in sites.items():
        settled = name in rollout.failed or name in rollout.released or name in rollout.away
        if site.wanted and not settled and rollout.version not in site.runs:
            yield name


def told(rollout: Rollout, sites: Sites, rules: WaveRules, frozen: bool) -> str:
    """How it stands, in a sentence."""
    name, before = rollout.version.name, rollout.before.name
    if rollout.phase is RolloutPhase.ABORTED:
        return rollout.reason
    failed = "; ".join(f"{site} went back to {rollout.before_at(site).name}: {rollout.failed[site]}"
                       for site in sorted(rollout.failed))  # fmt: skip
    if rollout.phase is RolloutPhase.DONE:
        return f"version {name} is out{f', but {failed}' if failed else ''}"
    waiting = sorted(waiting_sites(rollout, sites))
    silent = sorted({one for one in waiting if not sites[one].attached} | rollout.away)
    here = len(waiting) - sum(not sites[one].attached for one in waiting)
    out = sum(s.wanted and rollout.version in s.runs and one not in rollout.released for one, s in sites.items())
    parts = [f"version {name} in place of {before}: wave {rollout.wave}, {out} sites have it"]
    if rollout.released:
        state = "ready, watched" if rollout.ready_since_s is not None else "changing"
        parts.append(f"{_few(sorted(rollout.released))} {state}")
    if here:
        parts.append(f"{here} to come{', once the freeze has ended' if frozen and not rollout.released else ''}")
    if silent:
        parts.append(f"{_few(silent)} silent: they join when they return")
    return "; ".join([", ".join(parts), failed] if failed else [", ".join(parts)])


def _few(names: list[SiteName]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
