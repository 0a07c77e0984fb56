from __future__ import annotations

import pytest

from bothway.audio.format import L16_16K, MULAW_8K, AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import convert
from bothway.carrier.scripted_caller import Turn
from bothway.speech.voices import ToneVoice
from bothway.testing.telephone import Telephone
from bothway.testing.virtual_loop import run

SILENCE = MULAW_8K.silent_frame
BEEP = convert(tone(440, 20, 8000, -20.0), AudioFormat(L16_16K.encoding, 8000), MULAW_8K)


def spoken(text: str, fmt: AudioFormat = MULAW_8K) -> list[bytes]:
    """The frames of a text."""

    async def main() -> bytes:
        voice = ToneVoice(rate=8000)
        return convert(b"".join([chunk async for chunk in voice.synthesize(text)]), voice.format, fmt)

    audio = run(main())
    size = fmt.frame_bytes
    return [audio[at : at + size].ljust(size, fmt.silence_byte) for at in range(0, len(audio), size)]


class Line:
    """A telephone, and how often it told of a frame."""

    def __init__(self, fmt: AudioFormat = MULAW_8K, *, keep_audio: bool = True) -> None:
        self.told = 0
        self.done: list[str] = []
        self.telephone = Telephone(fmt, self._tell, keep_audio=keep_audio)

    def _tell(self) -> None:
        self.told += 1

    def hear(self, *frames: bytes) -> list[Turn]:
        return [self.telephone.hear(frame) for frame in frames]


def test_it_hears_words_when_their_last_sample_was_heard() -> None:
    line = Line()
    frames = spoken("one two")
    line.hear(SILENCE, *frames[:-1])
    assert [word.text for word in line.telephone.words] == ["one"]
    line.hear(frames[-1], SILENCE)
    assert [word.text for word in line.telephone.words] == ["one", "two"]
    assert line.telephone.words[0].start_ms == pytest.approx(20, abs=3)
    assert line.told == len(frames) + 2
    assert line.telephone.heard_ms == line.told * 20


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_16K], ids=str)
def test_it_hears_in_every_format(fmt: AudioFormat) -> None:
    line = Line(fmt)
    line.hear(*spoken("wide band", fmt), fmt.silent_frame)
    assert [word.text for word in line.telephone.words] == ["wide", "band"]


def test_it_knows_for_how_long_there_was_speech_and_silence() -> None:
    line = Line()
    line.hear(*[SILENCE] * 5)
    assert (line.telephone.speech_ms, line.telephone.quiet_frames) == (0, 5)
    line.hear(BEEP)
    assert (line.telephone.speech_ms, line.telephone.quiet_frames) == (0, 0), "a click is no speech"
    line.hear(*[BEEP] * 9)
    assert (line.telephone.speech_ms, line.telephone.quiet_frames) == (200, 0)
    line.hear(SILENCE)
    assert (line.telephone.speech_ms, line.telephone.quiet_frames) == (0, 1)
    line.hear(BEEP)
    assert line.telephone.speech_ms == 240, "a gap between two words is no pause"
    line.hear(*[SILENCE] * 20, *[BEEP] * 2)
    assert line.telephone.speech_ms == 40, "a long one is"


def test_it_says_what_it_is_told_frame_by_frame_and_then_nothing() -> None:
    line = Line()
    audio = bytes(range(200)) + bytes(100)
    line.telephone.order(line.telephone.speech(audio), lambda: line.done.append("said"))
    assert line.telephone.busy
    first, second = line.hear(SILENCE, SILENCE)
    assert first.frame + second.frame == audio + b"\xff" * 20
    assert not line.done, "the last frame is still on its way out"
    (third,) = line.hear(SILENCE)
    assert third.frame == SILENCE
    assert line.done == ["said"]
    assert not line.telephone.busy


def test_orders_are_carried_out_one_after_another() -> None:
    line = Line()
    line.telephone.order(line.telephone.speech(b"\x01" * 160), lambda: line.done.append("said"))
    line.telephone.order(line.telephone.keys("12", 60), lambda: line.done.append("pressed"))
    line.telephone.order(line.telephone.hang_up(), lambda: line.done.append("hung up"))
    turns = line.hear(*[SILENCE] * 7)
    assert [turn.digits for turn in turns] == [(), ("1",), (), (), ("2",), (), ()]
    assert [turn.hang_up for turn in turns] == [False] * 5 + [True, False]
    assert line.done == ["said", "pressed", "hung up"]


def test_the_end_of_the_call_is_the_end_of_every_order() -> None:
    line = Line()
    line.telephone.order(line.telephone.speech(b"\x01" * 1600), lambda: line.done.append("cut off"))
    line.hear(SILENCE)
    assert line.telephone.call_ended().ok
    assert line.done == ["cut off"]
    line.telephone.order(line.telephone.hang_up(), lambda: line.done.append("too late"))
    assert line.done == ["cut off", "too late"]
    assert not line.telephone.busy


def test_it_keeps_both_sides() -> None:
    line = Line()
    line.telephone.order(line.telephone.speech(b"\x01" * 160), lambda: None)
    line.hear(BEEP, SILENCE)
    assert line.telephone.tape() == (b"\x01" * 160 + SILENCE, BEEP + SILENCE)
    forgetful = Line(keep_audio=False)
    forgetful.hear(BEEP)
    assert forgetful.telephone.tape() == (b"", b"")


def test_keys_of_the_app_are_noted_with_their_time() -> None:
    line = Line()
    line.hear(SILENCE, SILENCE)
    line.telephone.hear_digits("4#")
    assert line.telephone.digits == [(40, "4"), (40, "#")]
    assert line.told == 3
    assert line.telephone.events() == []
