from __future__ import annotations

import pytest

from bothway.errors import UsageError
from bothway.wire.hangup import HANGUP_CAUSES, HANGUP_SOURCES, HangupCause


def test_the_table_is_the_references() -> None:
    assert len(HANGUP_CAUSES) == 56
    assert HANGUP_CAUSES[0] == "Unknown"
    assert HANGUP_CAUSES[3010] == "Busy Line"
    assert HANGUP_CAUSES[4010] == "End Of XML Instructions"
    assert HANGUP_CAUSES[7024] == "Invalid Redirect URL"
    assert HANGUP_CAUSES[9110] == "Confirm Key Challenge Failed"


@pytest.mark.parametrize(
    ("code", "source", "word"),
    [
        (3010, "Carrier", "USER_BUSY"),
        (3000, "Carrier", "NO_ANSWER"),
        (4000, "Callee", "NORMAL_CLEARING"),
        (4010, "Plivo", "NORMAL_CLEARING"),
        (3050, "Carrier", "UNALLOCATED_NUMBER"),
    ],
)
def test_a_code_brings_its_name_and_the_switchs_word(code: int, source: str, word: str) -> None:
    assert HangupCause.of(code, source) == HangupCause(code, HANGUP_CAUSES[code], source, word)


def test_the_switchs_word_may_be_given() -> None:
    assert HangupCause.of(3000, "Carrier", "NO_USER_RESPONSE").cause == "NO_USER_RESPONSE"


def test_every_code_and_source_go_together() -> None:
    for code in HANGUP_CAUSES:
        for source in HANGUP_SOURCES:
            assert HangupCause.of(code, source).cause.isupper()


def test_what_is_not_in_the_tables_is_the_callers_fault() -> None:
    with pytest.raises(UsageError, match="4242 is not a hang-up code"):
        HangupCause.of(4242, "Plivo")
    with pytest.raises(UsageError, match="'Nobody' cannot end a call"):
        HangupCause.of(4000, "Nobody")
