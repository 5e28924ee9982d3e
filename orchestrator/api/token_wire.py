"""Enrolment tokens between control/v1 and the words of the control plane."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.api.seams import NewToken, TokenView
from orchestrator.errors import InvalidRequest
from orchestrator.objects.fields import LabelKey, LabelValue
from protos.control.v1 import control_pb2 as pb

_LABELS = TypeAdapter(Annotated[dict[LabelKey, LabelValue], Field(max_length=64)])


def labels_of(request: pb.CreateTokenRequest) -> dict[str, str]:
    """Raises InvalidRequest."""
    try:
        return _LABELS.validate_python(dict(request.labels))
    except ValidationError as err:
        at = err.errors()[0]["loc"][0]
        remedy = (
            "give labels as Kubernetes has them: letters, digits, '-', '_' and '.', at most 63, in at most 64 labels"
        )
        raise InvalidRequest(f"labels[{at}]", request.labels.get(str(at)), remedy) from err


def token_message(token: TokenView) -> pb.Token:
    return pb.Token(
        id=token.id,
        site=token.site,
        uses=token.uses,
        nodes=token.nodes,
        expires_in_s=token.expires_in_s,
        labels=token.labels,
        revoked=token.revoked,
        age_s=token.age_s,
    )


def create_token_reply(made: Sequence[NewToken], enrolments: Sequence[str]) -> pb.CreateTokenReply:
    secrets = [pb.CreateTokenReply.Secret(token=token_message(one.token), text=one.text) for one in made]
    return pb.CreateTokenReply(secrets=secrets, enrolments=enrolments)
