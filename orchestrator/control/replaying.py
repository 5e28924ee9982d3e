"""A decision made again in a process of its own: `python -m orchestrator.control.replaying`, JSON in and out.

Nothing of the process that made it, nor of the one that stored it, can reach the answer; and what runs long or ends
badly takes no control plane with it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from orchestrator.control.codec import inputs_from, planner_version, to_json
from orchestrator.control.snapshots import under
from orchestrator.errors import Conflict, Damaged, InvalidRequest, Unavailable
from orchestrator.model.inputs import FIRST_PLANNER, DecisionInputs
from orchestrator.model.stored import Json, Owner, StoredObject
from orchestrator.objects import key_of, labels_of, spec_of, validate
from orchestrator.placement.deciding import decide

LIMIT_S = 300.0  # a plan of all of 5,000 sites takes a minute and a half, and one that goes on from it a little more
NICENESS = 10  # the control plane's loops come first


@dataclass(frozen=True, slots=True)
class Replayed:
    """`limits_ms`: namespace and name of each service, and the p99 that its policy allowed in this run."""

    decision_json: str
    planner: str
    limits_ms: tuple[tuple[str, str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """What was wrong with the policy."""

    field: str
    value: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Failed:
    error: str


_ANSWER: TypeAdapter[Replayed | Refused | Failed] = TypeAdapter(Replayed | Refused | Failed)


def replay(inputs_json: str, made_wall_s: float, policy: dict[str, Json] | None, limit_s: float = LIMIT_S) -> Replayed:
    """Blocks until the other process has answered. Raises InvalidRequest for the policy, Damaged, Unavailable."""
    command = [sys.executable, "-m", "orchestrator.control.replaying"]
    question = json.dumps({"inputs": inputs_json, "made_wall_s": made_wall_s, "policy": policy})
    try:
        done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as err:
        raise Unavailable(f"replay: no answer within {limit_s:g} s: repeat it when this machine is less busy") from err
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Conflict(f"replay: its process failed: {said[0]}: replay it with the release that decided")
    match _ANSWER.validate_json(done.stdout):
        case Refused(field, value, remedy):
            raise InvalidRequest(field, value, remedy)
        case Failed(error):
            raise Damaged(f"replay: {error}")
        case Replayed() as replayed:
            return replayed


def inputs_under(inputs: DecisionInputs, document: dict[str, Json], wall_s: float) -> DecisionInputs:
    """With this policy in place of the stored one of its name; it freezes by `wall_s`. Raises InvalidRequest."""
    form = validate(document)
    if form.kind != "PlacementPolicy":
        raise InvalidRequest("kind", form.kind, "give a PlacementPolicy")
    spec = spec_of(form)
    if inputs.planner == FIRST_PLANNER and "site.labels" in json.dumps(spec):
        remedy = "this decision was stored before labels were: leave site.labels out, or replay a later decision"
        raise InvalidRequest("spec", "site.labels", remedy)
    policy = StoredObject(key_of(form), "", 0, 0, Owner.COMMAND, labels_of(form), spec, {}, 0.0)
    return replace(inputs, snapshot=under(inputs.snapshot, policy, wall_s))


def _answer(inputs_json: str, made_wall_s: float, policy: dict[str, Json] | None) -> Replayed | Refused | Failed:
    try:
        inputs = inputs_from(inputs_json)
        if policy is not None:
            inputs = inputs_under(inputs, policy, made_wall_s)
    except InvalidRequest as err:
        return Refused(err.field, str(err.value), err.remedy)
    except Damaged as err:
        return Failed(str(err))
    limits = tuple((s.ref.namespace, s.ref.name, s.policy.latency_p99_ms) for s in inputs.snapshot.services)
    return Replayed(to_json(decide(inputs)), planner_version(), limits)


def main() -> int:
    os.nice(NICENESS)
    question = json.load(sys.stdin)
    print(_ANSWER.dump_json(_answer(question["inputs"], question["made_wall_s"], question["policy"])).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
