"""From one audio format to another: of a live stream, with the filter's state kept, and of a whole clip."""

from __future__ import annotations

from collections.abc import Callable

from bothway.audio.format import AudioFormat, Encoding
from bothway.audio.g711 import alaw_to_l16, alaw_to_mulaw, l16_to_alaw, l16_to_mulaw, mulaw_to_alaw, mulaw_to_l16
from bothway.audio.l16 import check_l16
from bothway.audio.resample import Resampler

__all__ = ["Transcoder", "convert", "from_l16", "to_l16"]

_DECODE: dict[Encoding, Callable[[bytes], bytes]] = {Encoding.MULAW: mulaw_to_l16, Encoding.ALAW: alaw_to_l16}
_ENCODE: dict[Encoding, Callable[[bytes], bytes]] = {Encoding.MULAW: l16_to_mulaw, Encoding.ALAW: l16_to_alaw}
_DIRECT: dict[tuple[Encoding, Encoding], Callable[[bytes], bytes]] = {
    (Encoding.MULAW, Encoding.ALAW): mulaw_to_alaw,
    (Encoding.ALAW, Encoding.MULAW): alaw_to_mulaw,
}


def to_l16(audio: bytes, encoding: Encoding) -> bytes:
    """L16 of audio in `encoding`, at the same rate; L16 is returned as it is.

    Raises:
        UsageError: L16 that is not a whole number of samples.
    """
    if encoding is Encoding.L16:
        check_l16(audio)
        return audio
    return _DECODE[encoding](audio)


def from_l16(l16: bytes, encoding: Encoding) -> bytes:
    """Audio in `encoding`, at the same rate, of L16; L16 is returned as it is.

    Raises:
        UsageError: `l16` is not a whole number of samples.
    """
    if encoding is Encoding.L16:
        check_l16(l16)
        return l16
    return _ENCODE[encoding](l16)


class Transcoder:
    """Turns a stream of one format into another, chunk by chunk; how it is split never changes a byte.

    Equal formats pass untouched and uncopied. G.711 to G.711 goes by table. Everything else goes through L16, and
    between rates through a `Resampler`, whose rates, group sizes and delay then apply.

    Args:
        source: What comes in.
        target: What goes out.

    Attributes:
        is_identity: Whether both formats are the same, so that chunks pass as they are.

    Raises:
        UsageError: The rates differ and one of them is none that a `Resampler` knows.
    """

    __slots__ = ("_direct", "_resampler", "is_identity", "source", "target")

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        self.is_identity = source == target
        self._direct = _DIRECT.get((source.encoding, target.encoding))
        self._resampler = Resampler(source.rate, target.rate) if source.rate != target.rate else None

    @property
    def delay_ms(self) -> float:
        """How much later audio comes out than it went in, in milliseconds: 0 between equal rates, else at most 2."""
        return self._resampler.delay_ms if self._resampler else 0.0

    def process(self, chunk: bytes) -> bytes:
        """The audio in the target's format that `chunk` completes; between equal formats, `chunk` itself.

        Raises:
            UsageError: A chunk of L16, between different formats, that is not a whole number of samples.
        """
        if self.is_identity:
            return chunk
        if self._direct:
            return self._direct(chunk)
        l16 = to_l16(chunk, self.source.encoding)
        if self._resampler:
            l16 = self._resampler.process(l16)
        return from_l16(l16, self.target.encoding)

    def flush(self) -> bytes:
        """The audio that a resampler still holds, in the target's format; afterwards the transcoder is as if new."""
        return from_l16(self._resampler.flush(), self.target.encoding) if self._resampler else b""

    def reset(self) -> None:
        """Forget everything heard so far, as if new."""
        if self._resampler:
            self._resampler.reset()


def convert(audio: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    """A whole clip in another format, aligned with the original: the resampler's delay is cut off its front.

    Returns:
        `ceil(n * target.rate / source.rate)` samples for the clip's n; between equal formats, `audio` itself.

    Raises:
        UsageError: As of `Transcoder` and its `process`.
    """
    transcoder = Transcoder(source, target)
    if source.rate == target.rate:
        return transcoder.process(audio)
    delayed = transcoder.process(audio) + transcoder.flush()
    return delayed[target.bytes_for(transcoder.delay_ms) :]
