"""Noise taken out of a caller's audio, live: `<Stream noiseCancellation="true">` (plivo-protocol.md, 1.2).

The work is done by WebRTC's noise suppression, of the extra `noise` (`webrtc-noise-gain`, for Linux). It knows 16 kHz
alone; other rates go there and back. A frame takes 20 µs at 16 kHz and 36 at the others.
"""

from __future__ import annotations

from typing import Any

from bothway.audio.format import FRAME_MS, AudioFormat, Encoding
from bothway.audio.transcode import Transcoder
from bothway.errors import UsageError

__all__ = ["DEFAULT_LEVEL", "LEVELS", "Denoiser", "suppression_of"]

LEVELS = range(60, 101)
"""What `noiseCancellationLevel` may be (plivo-protocol.md, 1.2)."""

DEFAULT_LEVEL = 85
"""What it is when a document does not say."""

_WORKING = AudioFormat(Encoding.L16, 16000)
_BLOCK = _WORKING.bytes_for(10)
_SUPPRESSION_MS = 6.0
"""How much later WebRTC gives what it was given; measured."""


def suppression_of(level: int) -> int:
    """How strongly WebRTC suppresses at a `noiseCancellationLevel`: 60 to 69 is 1, 70s 2, 80s 3, 90 to 100 is 4.

    White noise falls to a half, a quarter, an eighth and an eleventh. The protocol has no figures of its own; the four
    steps are spread evenly over its range, and its default of 85 is the third.

    Raises:
        UsageError: The level is outside `LEVELS`.
    """
    if level not in LEVELS:
        raise UsageError(f"a noise cancellation level is {LEVELS[0]} to {LEVELS[-1]}, not {level}")
    return min((level - LEVELS[0]) // 10 + 1, 4)


class Denoiser:
    """Takes the noise out of one track, frame by frame, learning it as it goes; speech passes.

    What goes in comes out as long, later by `delay_ms`. Low tones under 100 Hz or so go with the noise.

    Args:
        fmt: What comes in and goes out: G.711, or L16 at 8000, 16000, 24000 or 48000 samples a second. Of the latter
            two, what lies above 8 kHz is lost.
        level: The `noiseCancellationLevel`; see `suppression_of`.

    Raises:
        UsageError: Another rate or level, or the extra `noise` is not installed.
    """

    __slots__ = ("_back", "_process", "_there", "fmt")

    def __init__(self, fmt: AudioFormat, level: int = DEFAULT_LEVEL) -> None:
        suppression = suppression_of(level)
        self.fmt = fmt
        self._there = Transcoder(fmt, _WORKING)
        self._back = Transcoder(_WORKING, fmt)
        self._process: Any = _library()(0, suppression).Process10ms

    @property
    def delay_ms(self) -> float:
        """How much later audio comes out than it went in, in milliseconds: 6, and 4 more at 8 kHz, 2 at 24 and 48."""
        return self._there.delay_ms + _SUPPRESSION_MS + self._back.delay_ms

    def process(self, frame: bytes) -> bytes:
        """The frame without its noise, in the same format and of the same length.

        Args:
            frame: 20 ms of audio, silence included.

        Raises:
            UsageError: It is not 20 ms long.
        """
        if len(frame) != self.fmt.frame_bytes:
            raise UsageError(f"{FRAME_MS} ms of {self.fmt} are {self.fmt.frame_bytes} bytes, not {len(frame)}")
        there = self._there.process(frame)
        clean = self._process(there[:_BLOCK]).audio + self._process(there[_BLOCK:]).audio
        return self._back.process(clean)


def _library() -> Any:
    try:
        from webrtc_noise_gain import AudioProcessor
    except ImportError:
        raise UsageError(
            "noise cancellation needs an extra that is not installed, for Linux alone: pip install bothway[noise]"
        ) from None
    return AudioProcessor
