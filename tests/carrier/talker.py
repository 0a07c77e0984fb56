"""A caller that says things and understands what it hears, and the documents that it is asked with."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.carrier.world import Caller, Site, World, page, until, world

from bothway.audio.format import L16_8K, MULAW_8K, AudioFormat
from bothway.audio.transcode import convert
from bothway.audio.wav import wav_header
from bothway.audio.word_tones import encode
from bothway.speech.tone_ears import ToneEars
from bothway.speech.tone_reader import ToneReader
from bothway.speech.voices import ToneVoice


class Talker(Caller):
    """A caller that says what it is told to say, 20 ms in answer to each 20 ms that it hears."""

    def __init__(self, audio_format: AudioFormat = MULAW_8K) -> None:
        super().__init__(audio_format)
        self._to_say: deque[bytes] = deque()

    def say(self, l16: bytes) -> None:
        """Say something, given as L16 at 8000 samples a second, behind what is being said."""
        audio, size = convert(l16, L16_8K, self.format), self.format.frame_bytes
        for start in range(0, len(audio), size):
            self._to_say.append(audio[start : start + size].ljust(size, self.format.silence_byte))

    @property
    def words(self) -> list[str]:
        """The words heard so far, each whole."""
        reader = ToneReader(self.format)
        return [word.text for word in reader.feed(b"".join(self.heard))]

    @property
    def heard_ms(self) -> int:
        return len(self.heard) * 20

    async def hears_words(self, *words: str) -> None:
        await until(lambda: self.words[-len(words) :] == list(words))

    def _answer(self, frames: int) -> None:
        for _ in range(frames):
            self.says = self._to_say.popleft() if self._to_say else self.format.silent_frame
            super()._answer(1)


def offline(tmp_path: Path, **options: Any) -> AbstractAsyncContextManager[World]:
    """A world whose voice and recogniser are exact."""
    return world(tmp_path, **{"voice": ToneVoice(rate=8000), "ears": ToneEars(), **options})


def doc(*elements: str) -> bytes:
    return page(f"<Response>{''.join(elements)}</Response>")


def get_digits(site: Site, *children: str, **attributes: str) -> str:
    return _element("GetDigits", site, children, attributes)


def get_input(site: Site, *children: str, **attributes: str) -> str:
    return _element("GetInput", site, children, attributes)


def _element(name: str, site: Site, children: tuple[str, ...], attributes: dict[str, str]) -> str:
    given = {"action": site.url + "/action", **attributes}
    written = " ".join(f'{key}="{value}"' for key, value in given.items())
    return f"<{name} {written}>{''.join(children)}</{name}>"


def sound(text: str) -> bytes:
    audio = encode(text, 8000)
    return page(wav_header(8000, 1, len(audio)) + audio)


ASK = "<Speak>type your four digits now please and do not hurry</Speak>"
FALL = "<Speak>nothing came</Speak>"
THANKS = doc("<Speak>thank you</Speak>")
