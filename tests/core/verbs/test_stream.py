from __future__ import annotations

import pytest
from tests.core.verbs.recorder import Recorder

from bothway.core.execution import Wait
from bothway.core.verbs.stream import execute
from bothway.wire.verbs import Stream

URL = "wss://example.com/ws"


@pytest.mark.parametrize(("keep", "wait"), [(True, Wait.STREAM), (False, Wait.NOTHING)])
def test_a_stream_opens_and_blocks_only_if_it_keeps_the_call_alive(keep: bool, wait: Wait) -> None:
    verb = Stream(URL, keep_call_alive=keep)
    call = Recorder()
    assert execute(verb, call, 5.0) is wait
    assert call.asked == [("answer",), ("open_stream", verb)]


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        (Stream("https://example.com", keep_call_alive=True), "scheme https"),
        (Stream("", keep_call_alive=True), "no URL"),
        (Stream(URL, bidirectional=True, audio_track="both"), "only inbound"),
        (Stream(URL, content_type="audio/opus"), "audio/opus"),
        (Stream(URL, extra_headers="x" * 513), "513 bytes"),
        (Stream(URL, status_callback_method="PUT"), "PUT"),
    ],
)
def test_a_stream_that_cannot_be_is_reported_and_the_next_verb_runs(verb: Stream, word: str) -> None:
    call = Recorder()
    assert execute(verb, call, 5.0) is Wait.NOTHING
    answer, (what, refused, reason) = call.asked
    assert (answer, what, refused) == (("answer",), "refuse_stream", verb)
    assert word in str(reason)


def test_there_are_no_more_streams_than_the_limit() -> None:
    verb = Stream(URL, keep_call_alive=True)
    call = Recorder(answered=True, open_streams=2, streams_allowed=2)
    assert execute(verb, call, 5.0) is Wait.NOTHING
    assert call.asked[-1] == ("refuse_stream", verb, "too many")
    assert execute(verb, Recorder(open_streams=1, streams_allowed=2), 5.0) is Wait.STREAM
