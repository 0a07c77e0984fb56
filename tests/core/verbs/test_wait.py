from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.wait import execute
from bothway.wire import verbs


def test_the_call_is_picked_up_and_the_time_passes() -> None:
    call = Recorder()
    assert execute(verbs.Wait(length=7), call, 5.0) is Wait.TIMER
    assert call.asked == [("answer",), ("wait_for", 7, 5.0)]


@pytest.mark.parametrize("verb", [verbs.Wait(silence=True), verbs.Wait(beep=True), verbs.Wait(beep="duration=300")])
def test_what_it_does_not_listen_for_is_remarked(verb: verbs.Wait) -> None:
    call = Recorder()
    assert execute(verb, call, 5.0) is Wait.TIMER
    assert [what for what, *_ in call.asked] == ["answer", "remark", "wait_for"]
