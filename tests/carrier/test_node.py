from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from tests.carrier.world import world

from bothway.carrier.node import Ids, PrivateAddressError, fetch_outcome, node_of
from bothway.runtime.http import FetchError
from bothway.runtime.metrics import FETCH_OUTCOMES


def test_ids_are_uuids_that_the_sdks_take() -> None:
    ids = Ids()
    made = [uuid.UUID(ids.uuid()) for _ in range(100)]
    assert len(set(made)) == 100
    assert {(one.version, one.variant) for one in made} == {(4, uuid.RFC_4122)}


def test_an_id_says_which_node_made_it() -> None:
    for number in (1, 2, 255, 256):
        made = Ids(3, number).uuid()
        assert node_of(made) == number
        assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (4, uuid.RFC_4122)
    ids = Ids()
    assert node_of(ids.uuid()) == 1
    ids.belong_to(7)
    assert node_of(ids.uuid()) == 7
    assert node_of("undefined") is None


def test_nonces_are_twenty_digits() -> None:
    nonces = Ids().nonces()
    for nonce in (nonces.v2, nonces.v3, Ids(1).nonce()):
        assert len(nonce) == 20
        assert nonce.isdigit()
    assert nonces.v2 != nonces.v3


def test_a_seed_makes_the_same_ids() -> None:
    one, other = Ids(7), Ids(7)
    assert [one.uuid(), one.nonce(), one.uuid()] == [other.uuid(), other.nonce(), other.uuid()]
    assert Ids(8).uuid() != Ids(7).uuid()


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "192.168.0.1",
    "::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "0.0.0.0",
]


async def test_private_addresses(tmp_path: Path) -> None:
    async with world(tmp_path, allow_private=False) as w:
        assert w.carrier._node is not None
        for ip in PRIVATE:
            with pytest.raises(PrivateAddressError, match="private network"):
                w.carrier._node.check_address(ip)
        w.carrier._node.check_address("93.184.216.34")
        w.carrier._node.allow_private = True
        w.carrier._node.check_address("127.0.0.1")


@pytest.mark.parametrize(
    ("reason", "word"),
    [("connect", "unreachable"), ("private", "refused"), ("status", "status"), ("timeout", "timeout")],
)
def test_outcomes_are_words_of_the_metrics(reason: str, word: str) -> None:
    assert fetch_outcome(FetchError("x", reason)) == word  # type: ignore[arg-type]
    assert word in FETCH_OUTCOMES
