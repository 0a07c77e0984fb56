from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.hangup import execute
from bothway.wire.verbs import Hangup


@pytest.mark.parametrize(
    ("verb", "answered", "code"),
    [
        (Hangup(), False, 4000),
        (Hangup(), True, 4000),
        (Hangup(reason="rejected"), False, 3020),
        (Hangup(reason="busy"), False, 3010),
        (Hangup(reason="rejected"), True, 4000),
        (Hangup(reason="busy"), True, 4000),
        (Hangup(schedule=0), True, 4000),
    ],
)
def test_the_call_ends_and_is_not_picked_up_for_it(verb: Hangup, answered: bool, code: int) -> None:
    call = Recorder(answered=answered)
    assert execute(verb, call, 5.0) is Wait.END
    assert call.asked == [("end", code, "Answer XML", "")]


def test_on_schedule_the_next_verb_runs() -> None:
    call = Recorder()
    assert execute(Hangup(schedule=60, reason="busy"), call, 5.0) is Wait.NOTHING
    assert call.asked == [("end_after", 60, 5.0)]
