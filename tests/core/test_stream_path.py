from __future__ import annotations

import pytest

from bothway.audio.format import L16_16K, MULAW_8K, AudioFormat
from bothway.audio.transcode import Transcoder
from bothway.core.stream import CarrierStream
from bothway.core.stream_path import StreamPath
from bothway.wire.dialects import plivo
from bothway.wire.stream import Media, PlayAudio, Start


def frame(number: int) -> bytes:
    return bytes((number * 7 + at) % 251 for at in range(160))


def opened(audio_format: AudioFormat, *tracks: str) -> CarrierStream:
    start = Start("stream-1", "call-1", audio_format, tracks=tracks)
    end = CarrierStream(start, first_sequence=1, epoch=0.0, bidirectional=True)
    end.open()
    end.to_send()
    return end


def sent(stream: CarrierStream) -> list[tuple[str, bytes]]:
    messages = [plivo.decode_from_carrier(message) for message in stream.to_send()]
    return [(message.track, message.payload) for message in messages if isinstance(message, Media)]


@pytest.mark.parametrize("tracks", [("inbound",), ("outbound",), ("inbound", "outbound")])
def test_the_app_gets_the_tracks_that_it_asked_for(tracks: tuple[str, ...]) -> None:
    stream = opened(MULAW_8K, *tracks)
    path = StreamPath(stream, MULAW_8K, 60)
    path.hear(frame(1), frame(2), 0.0)
    frames = {"inbound": frame(1), "outbound": frame(2)}
    assert sent(stream) == [(track, frames[track]) for track in tracks]
    stream.end()
    path.hear(frame(1), frame(2), 0.02)
    assert sent(stream) == []


@pytest.mark.parametrize("audio_format", [MULAW_8K, L16_16K], ids=str)
def test_noise_is_taken_off_the_caller_alone_and_before_the_coding(audio_format: AudioFormat) -> None:
    stream = opened(audio_format, "inbound", "outbound")
    path = StreamPath(stream, MULAW_8K, 60, lambda noisy: noisy[::-1])
    path.hear(frame(1), frame(2), 0.0)
    coded = [Transcoder(MULAW_8K, audio_format).process(one) for one in (frame(1)[::-1], frame(2))]
    assert sent(stream) == [("inbound", coded[0]), ("outbound", coded[1])]


def test_silence_is_what_is_neither_queued_nor_sounding_nor_cut() -> None:
    path = StreamPath(opened(MULAW_8K, "inbound"), MULAW_8K, 60)
    silent = [path.is_silent]
    path.play(PlayAudio(frame(1) + frame(2)))
    path.playout.release(0.0)
    silent.append(path.is_silent)
    assert path.clear() == 20.0
    silent.append(path.is_silent)
    path.play(PlayAudio(frame(3)))
    silent.append(path.is_silent)
    assert silent == [True, False, True, False]
