import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.authority import TestAuthority
from workers.identity.errors import NotTrusted, TokenInvalid
from workers.identity.tokens import PREFIX, new_token, pinned, token_from

PINS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(PINS)
def test_a_token_is_read_back_as_it_was_written(pin: str) -> None:
    token = new_token(pin)
    assert token_from(f"  {token.text}\n") == token
    assert token_from(token.text).secret_hash == token.secret_hash


def test_tokens_differ_and_their_secrets_are_long() -> None:
    tokens = [new_token("00" * 32) for _ in range(200)]
    assert len({token.id for token in tokens}) == len({token.secret for token in tokens}) == 200
    assert min(len(token.secret) for token in tokens) == 32  # 192 bits in base64


@given(PINS, st.data())
def test_a_mistyped_token_is_refused_or_another_and_its_secret_is_never_repeated(pin: str, data: st.DataObject) -> None:
    token = new_token(pin)
    at = data.draw(st.integers(0, len(token.text) - 1))
    text = token.text[:at] + data.draw(st.characters()) + token.text[at + 1 :]
    said = ""
    try:
        assert token_from(text).text == text.strip()
    except TokenInvalid as err:
        said = str(err)
    assert not any(token.secret[begin : begin + 6] in said for begin in range(26))


@given(st.text(max_size=200) | st.lists(st.text(max_size=60), max_size=6).map(".".join))
@example("")
@example(f"{PREFIX}.....")
@example(f"{PREFIX}.abcdefgh.{'A' * 32}.{'A' * 42}=")
@example("x" * 100_000)
def test_any_text_is_a_token_or_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(TokenInvalid, match="copy it whole from `skerry token create`"):
        token_from(text)


def test_a_secret_in_the_place_of_the_id_is_not_repeated() -> None:
    token = new_token("00" * 32)
    with pytest.raises(TokenInvalid) as refused:
        token_from(f"{PREFIX}.{token.secret}.{token.id}.{token.text.split('.')[3]}")
    assert token.secret[:6] not in str(refused.value)


def test_neither_repr_nor_hash_tells_the_secret() -> None:
    token = new_token("00" * 32)
    assert token.secret not in f"{token} {token!r} {token.secret_hash}"


def test_the_hash_is_of_this_token_alone() -> None:
    pin = "00" * 32
    assert new_token(pin).secret_hash != new_token(pin).secret_hash


def test_only_the_authority_that_the_token_names_is_pinned() -> None:
    mine, other = TestAuthority(), TestAuthority()
    token = mine.token()
    assert pinned(token, [other.certificate, mine.certificate]) == mine.certificate
    for shown in ([], [other.certificate]):
        with pytest.raises(NotTrusted, match="check the address, or make a token there"):
            pinned(token, shown)
