from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.unsupported import execute, execute_message
from bothway.wire.verbs import Message, MultiPartyCall


def test_the_call_ends_and_says_which_verb_it_was() -> None:
    call = Recorder()
    assert execute(MultiPartyCall("room"), call, 5.0) is Wait.END
    assert call.asked == [("end", 5010, "Error", "this carrier does not execute <MultiPartyCall>")]


@pytest.mark.parametrize(("dst", "count"), [("1<2< 3", "3"), ("1", "1"), (None, "no"), ("<", "no")])
def test_a_message_is_not_sent_and_nobody_is_called_up_for_it(dst: str | None, count: str) -> None:
    call = Recorder()
    assert execute_message(Message("a secret", dst=dst), call, 5.0) is Wait.NOTHING
    assert call.asked == [("remark", f"this carrier sends no messages: a <Message> to {count} number(s) was not sent")]
