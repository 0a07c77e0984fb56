from __future__ import annotations

import msgspec
import pytest

from bothway.audio.format import MULAW_8K
from bothway.wire.stream import Media, PlayAudio, Start, Stop, Tolerated


def test_messages_are_values() -> None:
    start = Start("s", "c", MULAW_8K)
    assert start == Start(stream_id="s", call_id="c", format=MULAW_8K)
    assert (start.account_id, start.tracks, start.extra_headers) == ("", ("inbound",), "{}")
    assert Media(b"\xff") == Media(b"\xff", "inbound", "", 0)
    assert PlayAudio(b"") != PlayAudio(b"", MULAW_8K)
    with pytest.raises(AttributeError):
        start.stream_id = "t"  # type: ignore[misc]


def test_every_message_has_its_own_type_and_a_reading_eye_sees_it() -> None:
    assert repr(Stop("hangup")) == "Stop(reason='hangup')"
    assert {type(message).__name__ for message in (Stop(), Media(b""), PlayAudio(b""))} == {
        "Stop",
        "Media",
        "PlayAudio",
    }


@pytest.mark.parametrize("chunk", [-1, 2**53])
def test_a_media_chunk_is_a_number_that_json_can_carry(chunk: int) -> None:
    decode = msgspec.json.Decoder(Media).decode
    assert decode(b'{"payload":"/w==","chunk":%d}' % (2**53 - 1)) == Media(b"\xff", chunk=2**53 - 1)
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"payload":"/w==","chunk":%d}' % chunk)


def test_what_was_tolerated_is_not_the_message_itself() -> None:
    assert not isinstance(Stop(), Tolerated)
