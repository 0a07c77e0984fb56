from __future__ import annotations

from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.unsupported import execute
from bothway.wire.verbs import Conference


def test_the_call_ends_and_says_which_verb_it_was() -> None:
    call = Recorder()
    assert execute(Conference("room"), call, 5.0) is Wait.END
    assert call.asked == [("end", 5010, "Error", "this carrier does not execute <Conference> yet")]
