"""Tokens: shown once, listed without their secret, revoked by their first part."""

import json

import pytest

from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry

pytestmark = pytest.mark.real  # a gRPC server on loopback in each test


def test_a_token_goes_to_stdout_alone_and_what_to_do_with_it_to_stderr(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("token", "create", "--site", "harbour", "--count", "3", "--ttl", "90m", "--label", "rack=2")
    assert ran.out == "skerry1.token000.s.p\n"
    assert "for 3 nodes of site harbour, for 90m" in ran.err
    assert "skerry-edge join front.example:7072 --token-file FILE" in ran.err
    (made,) = running.control.tokens_made
    assert (made.site, made.uses, made.expires_in_s, dict(made.labels)) == ("harbour", 3, 5_400.0, {"rack": "2"})


def test_many_are_made_for_a_programme(skerry: Skerry, running: RunningControl) -> None:
    found = json.loads(skerry("token", "create", "--site", "harbour", "--tokens", "2", "-o", "json").out)
    assert [one["secret"] for one in found["items"]] == ["skerry1.token000.s.p", "skerry1.token001.s.p"]
    assert skerry("token", "create", "--site", "harbour", "-o", "name").out == "token002\n"


def test_tokens_are_listed_and_revoked(skerry: Skerry, running: RunningControl) -> None:
    assert "skerry token create --site SITE" in skerry("token", "list").err
    skerry("token", "create", "--site", "harbour", "--ttl", "1d", "-l", "rack=2")
    skerry("token", "create", "--site", "inland")
    assert skerry("token", "revoke", "token001").out == "token token001 revoked\n"
    assert skerry("token", "revoke", "skerry1.token000.s.p").out == "token token000 revoked\n"
    head, first, _ = (line.split() for line in skerry("token", "list").out.splitlines())
    assert (head, first) == (
        ["TOKEN", "SITE", "NODES", "EXPIRES", "LABELS", "AGE"],
        ["token000", "harbour", "0/1", "revoked", "rack=2", "0s"],
    )
    assert "secret" not in skerry("token", "list", "-o", "json").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ttl", "soon"), "give a number and s, m, h or d"),
        (("--label", "rack"), "give KEY=VALUE"),
        (("--label", "a=1", "--label", "a=2"), "is given twice"),
        (("--label", "a=b c"), "labels[a]"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    skerry: Skerry, running: RunningControl, options: tuple[str, ...], said: str
) -> None:
    ran = skerry("token", "create", "--site", "harbour", *options)
    assert (ran.code != 0, said in ran.err) == (True, True), ran.err
    assert running.control.tokens_made == []


def test_a_token_that_is_not_there(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("token", "revoke", "nothing")
    assert (ran.code, "skerry token list" in ran.err) == (1, True)
