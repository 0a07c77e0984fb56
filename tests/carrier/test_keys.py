from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.carrier.keys import KEY_NAME, Keys
from bothway.errors import UsageError

KEYS = Keys(b"k" * 32)


def test_the_key_file_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = Keys.load(folder)
    assert (folder / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [KEY_NAME]
    again = Keys.load(folder)
    assert first.subaccount_token("SA", 0) == again.subaccount_token("SA", 0)
    assert Keys.load(tmp_path / "other").subaccount_token("SA", 0) != again.subaccount_token("SA", 0)


def test_nodes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: Keys.load(tmp_path), range(16)))
    assert len({one.subaccount_token("SA", 0) for one in keys}) == 1


def test_without_a_folder_a_key_is_the_processs_own() -> None:
    assert Keys.load(None).subaccount_token("SA", 0) != Keys.load(None).subaccount_token("SA", 0)


@pytest.mark.parametrize("content", [b"", b"00", b"zz" * 32, b"\xff" * 64, b"00" * 33])
def test_a_file_that_holds_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_NAME).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Keys.load(tmp_path)
    assert "key" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).mkdir()
    with pytest.raises(UsageError, match="cannot be used"):
        Keys.load(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes mean nothing there")
def test_a_file_that_others_can_read_is_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Keys.load(tmp_path)
    (tmp_path / KEY_NAME).chmod(0o644)
    with caplog.at_level(logging.WARNING):
        Keys.load(tmp_path)
    assert "chmod 600" in caplog.text


def test_tokens_differ_by_account_and_generation() -> None:
    tokens = {KEYS.subaccount_token(auth_id, number) for auth_id in ("SAA", "SAB") for number in range(3)}
    assert len(tokens) == 6
    assert {len(token) for token in tokens} == {40}
    assert KEYS.subaccount_token("SA1", 1) != KEYS.subaccount_token("SA", 11)


def signed(path: str, expires_at: float) -> tuple[str, str]:
    query = parse_qs(urlsplit(KEYS.sign_url(path, expires_at)).query)
    return query["Expires"][0], query["Signature"][0]


def test_a_signed_url_is_good_until_it_expires() -> None:
    expires, signature = signed("/r/1.wav", 100.7)
    assert expires == "100"
    assert KEYS.verify_url("/r/1.wav", expires, signature, 99.9)
    assert not KEYS.verify_url("/r/1.wav", expires, signature, 100.0)
    assert not KEYS.verify_url("/r/2.wav", expires, signature, 0)
    assert not KEYS.verify_url("/r/1.wav", "101", signature, 0)
    assert not Keys(b"o" * 32).verify_url("/r/1.wav", expires, signature, 0)


@given(st.text(), st.text(), st.text())
def test_no_text_is_a_signature(path: str, expires: str, signature: str) -> None:
    assert not KEYS.verify_url(path, expires, signature, 0)
