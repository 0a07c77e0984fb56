"""What the bytes of a piece of audio mean: encoding and rate, and the sizes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from bothway.errors import UsageError

__all__ = ["FRAME_MS", "L16_8K", "L16_16K", "L16_24K", "MULAW_8K", "AudioFormat", "Encoding"]

FRAME_MS = 20
"""The length of one frame. Every carrier that Bothway speaks to sends 20 ms at a time (plivo-protocol.md, 2.4)."""


class Encoding(Enum):
    """How one sample is written; the value is the carrier's media type without its rate."""

    MULAW = "audio/x-mulaw"
    ALAW = "audio/x-alaw"
    L16 = "audio/x-l16"


@dataclass(frozen=True)
class AudioFormat:
    """Mono audio of one encoding and rate.

    L16 is signed 16-bit **little-endian**, as the streaming protocols send it in spite of RFC 3551's name
    (plivo-protocol.md, 2.4); G.711 is one byte a sample.

    Attributes:
        encoding: How one sample is written.
        rate: Samples a second.
    """

    encoding: Encoding
    rate: int

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.rate * FRAME_MS % 1000:
            raise UsageError(f"a rate of {self.rate} samples a second does not fill 20 ms frames evenly")
        if self.encoding is not Encoding.L16 and self.rate != 8000:
            raise UsageError(f"{self.encoding.value} exists at 8000 samples a second only, not at {self.rate}")

    def __str__(self) -> str:
        return f"{self.encoding.value};rate={self.rate}"

    @cached_property
    def sample_bytes(self) -> int:
        """Bytes in one sample."""
        return 2 if self.encoding is Encoding.L16 else 1

    @cached_property
    def frame_samples(self) -> int:
        """Samples in one 20 ms frame."""
        return self.rate * FRAME_MS // 1000

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes in one 20 ms frame."""
        return self.frame_samples * self.sample_bytes

    @cached_property
    def second_bytes(self) -> int:
        """Bytes in one second."""
        return self.rate * self.sample_bytes

    @cached_property
    def silence_byte(self) -> bytes:
        """The byte that silence is made of (G.711 codes zero as 0xFF in µ-law and 0xD5 in A-law)."""
        return {Encoding.MULAW: b"\xff", Encoding.ALAW: b"\xd5", Encoding.L16: b"\x00"}[self.encoding]

    @cached_property
    def silent_frame(self) -> bytes:
        """20 ms of silence."""
        return self.silence_byte * self.frame_bytes

    def duration_ms(self, size: int) -> float:
        """How long `size` bytes of this audio last, in milliseconds."""
        return size * 1000 / self.second_bytes

    def bytes_for(self, ms: float) -> int:
        """How many bytes hold `ms` milliseconds, rounded down to whole samples."""
        return int(ms * self.rate / 1000) * self.sample_bytes


MULAW_8K = AudioFormat(Encoding.MULAW, 8000)
L16_8K = AudioFormat(Encoding.L16, 8000)
L16_16K = AudioFormat(Encoding.L16, 16000)
L16_24K = AudioFormat(Encoding.L16, 24000)
