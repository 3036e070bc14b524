"""Tokens and the one header form they are read from."""

import base64

import pytest

from tenants import credential

ID = "c-0123456789"
TOKEN = credential.new_token(lambda count: bytes(range(count)))


def _basic(pair: str, scheme: str = "Basic ") -> bytes:
    return scheme.encode() + base64.b64encode(pair.encode("utf-8"))


def _with_spare_bits(value: bytes) -> bytes:
    """The same bytes after decoding, in an encoding that is not canonical: unused bits before the padding set."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert value.endswith(b"=")
    assert not value.endswith(b"==")
    last = alphabet.index(value[-2])
    return value[:-2] + alphabet[last | 1 : (last | 1) + 1] + b"="


def test_a_token_is_32_random_bytes_in_base64url() -> None:
    assert base64.urlsafe_b64decode(TOKEN + "=") == bytes(range(32))
    assert len(credential.new_token()) == credential.TOKEN_LENGTH
    assert credential.new_token() != credential.new_token()


def test_a_token_with_the_two_letters_that_differ_from_base64_is_written_for_urls() -> None:
    token = credential.new_token(lambda count: b"\xfb\xff" * (count // 2))
    assert set("-_") <= set(token)
    assert not set("+/=") & set(token)
    assert credential.parse_basic(_basic(f"{ID}:{token}")) == (ID, token)


def test_an_issued_credential_is_read_back() -> None:
    assert credential.parse_basic(_basic(f"{ID}:{TOKEN}")) == (ID, TOKEN)


@pytest.mark.parametrize("scheme", ["Basic ", "basic ", "BASIC "])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert credential.parse_basic(_basic(f"{ID}:{TOKEN}", scheme)) == (ID, TOKEN)


GOOD = _basic(f"{ID}:{TOKEN}")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Basic", id="a scheme alone"),
        pytest.param(GOOD.replace(b"Basic", b"Bearer"), id="another scheme"),
        pytest.param(GOOD.replace(b" ", b"  "), id="two spaces"),
        pytest.param(GOOD.replace(b" ", b"\t"), id="a tab for the space"),
        pytest.param(GOOD + b" ", id="a space behind"),
        pytest.param(GOOD[:-1], id="no padding"),
        pytest.param(_with_spare_bits(GOOD), id="unused bits set"),
        pytest.param(GOOD[:20] + b"\n" + GOOD[21:], id="a line break inside"),
        pytest.param(GOOD[:20] + b"-" + GOOD[21:], id="a letter of base64url"),
        pytest.param(_basic(f"{ID}:{TOKEN[:-1]}:"), id="a second colon"),
        pytest.param(_basic(f"{ID}x{TOKEN}"), id="no colon"),
        pytest.param(_basic(f"{ID}:{TOKEN}="), id="a token with padding"),
        pytest.param(_basic(f"{ID}:{TOKEN[:-1]}"), id="a short token"),
        pytest.param(_basic(f"{ID}:{TOKEN[:-1]}+"), id="a token in base64"),
        pytest.param(_basic(f"x-0123456789:{TOKEN}"), id="an id of another kind"),
        pytest.param(_basic(f"c-01234567\u00e9:{TOKEN}"), id="an id with a letter beyond ASCII"),
        pytest.param(_basic(f"c-01234 6789:{TOKEN}"), id="an id with a space"),
        pytest.param(GOOD * 1000, id="far too long"),
    ],
)
def test_any_other_form_means_no_identity(value: bytes) -> None:
    assert credential.parse_basic(value) is None


def test_every_single_byte_changed_is_another_identity_or_none() -> None:
    for place in range(6, len(GOOD)):
        for byte in (0, 10, 32, 43, 45, 61, 65, 128, 255):
            value = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
            if value != GOOD:
                assert credential.parse_basic(value) != (ID, TOKEN), (place, byte)


def test_only_the_token_itself_matches_its_digest() -> None:
    kept = credential.digest(TOKEN)
    assert credential.matches(TOKEN, kept)
    assert not credential.matches(credential.new_token(), kept)
    assert TOKEN not in kept


@pytest.mark.parametrize(
    ("data", "expected"),
    [(bytes(8), "0000000000"), (b"\xff" * 8, "zzzzzzzzzz"), (b"\x08\x42\x10\x84\x21\x08\x42\x10", "1111111111")],
)
def test_crockford_takes_the_leading_bits(data: bytes, expected: str) -> None:
    assert credential.crockford(data, 10) == expected


def test_a_pseudonym_depends_on_the_label_and_the_nodes_key_alone() -> None:
    key, other = bytes(32), b"\x01" * 32
    assert credential.pseudonym("alice", key) == credential.pseudonym(" alice ", key)
    assert credential.pseudonym("alice", key) != credential.pseudonym("bob", key)
    assert credential.pseudonym("alice", key) != credential.pseudonym("alice", other)
    assert "alice" not in credential.pseudonym("alice", key)
    assert credential.pseudonym("", key) == ""
