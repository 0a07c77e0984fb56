"""What tests of recordings need: a caller whose frames are all different, and a look at the files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tests.carrier.talker import doc
from tests.carrier.world import Caller, World, page, until

from bothway.audio.format import L16_8K, AudioFormat
from bothway.audio.tones import beep
from bothway.audio.transcode import convert, to_l16
from bothway.audio.wav import wav_header
from bothway.carrier.store.records import RecordingRecord

Samples = npt.NDArray[np.int16]
BEEP_FRAMES = -(-len(beep(8000)) // 320)


class Noisy(Caller):
    """A caller whose frames are all different, loud or not at all. What it says is taken with the frame after."""

    def __init__(self, audio_format: AudioFormat = L16_8K) -> None:
        super().__init__(audio_format)
        self.said = [audio_format.silent_frame]
        self.quiet_after = 1 << 30  # frames

    @property
    def left(self) -> Samples:
        """What the carrier took of it, frame by frame of what it heard."""
        return samples_of(self.said, self.format)[: self.right.size]

    @property
    def right(self) -> Samples:
        return samples_of(self.heard, self.format)

    def _answer(self, frames: int) -> None:
        for _ in range(frames):
            self.says = self.format.silent_frame
            if len(self.said) <= self.quiet_after:
                noise = np.random.default_rng(len(self.said)).integers(-9000, 9000, 160).astype("<i2").tobytes()
                self.says = convert(noise, L16_8K, self.format)
            self.said.append(self.says)
            super()._answer(1)


def samples_of(frames: Sequence[bytes], fmt: AudioFormat) -> Samples:
    return np.frombuffer(to_l16(b"".join(frames), fmt.encoding), "<i2")


def noise_file(seconds: float, seed: int = 10**6) -> bytes:
    audio = np.random.default_rng(seed).integers(-30000, 30000, int(8000 * seconds)).astype("<i2").tobytes()
    return page(wav_header(8000, 1, len(audio)) + audio)


def record(w: World, **attributes: str) -> str:
    given = {"action": w.site.url + "/action", "callbackUrl": w.site.url + "/recorded", "fileFormat": "wav"}
    given |= attributes
    if given["action"].startswith(w.site.url):
        w.site.pages.setdefault(given["action"].removeprefix(w.site.url), doc())
    return "<Record " + " ".join(f'{key}="{value}"' for key, value in given.items()) + "/>"


async def told(w: World, path: str = "/recorded") -> dict[str, str]:
    await until(lambda: w.site.asked(path))
    (request,) = w.site.asked(path)
    return request.params


async def filed(w: World, recording_id: str) -> RecordingRecord:
    assert w.carrier._store is not None
    found = await w.carrier._store.recordings.get(recording_id)
    assert found is not None
    return found


async def wav_of(w: World, recording_id: str, channels: int) -> Samples:
    """The samples of a recording, shape (frames, channels)."""
    record = await filed(w, recording_id)
    assert (record.recording_format, record.channels) == ("wav", channels)
    path = w.data / record.path
    content = path.read_bytes()
    assert len(content) == record.size
    assert content[22] == channels
    return np.frombuffer(content[44:], "<i2").reshape(-1, channels)


def place_of(part: Samples, whole: Samples) -> int:
    """Where `part` is in `whole`, in frames."""
    found = [at for at in range(whole.size // 160) if (whole[at * 160 :][:160] == part[:160]).all()]
    assert len(found) == 1, found
    assert (whole[found[0] * 160 :][: part.size] == part).all()
    return found[0]


def nothing_left(w: World) -> bool:
    """Whether recordings are all that is in their folder."""
    return not [path for path in (w.data / "recordings").glob("*/*") if path.suffix not in (".wav", ".mp3")]
