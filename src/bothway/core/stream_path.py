"""A stream's way to and from its call: the playout of what the app sends, and the coding of what it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bothway.audio.format import AudioFormat
from bothway.audio.transcode import Transcoder
from bothway.core.playout import Playout
from bothway.core.stream import CarrierStream, State
from bothway.wire.stream import PlayAudio

__all__ = ["FrameFilter", "StreamPath"]

FrameFilter: TypeAlias = Callable[[bytes], bytes]
"""Makes another frame of one: of what the caller said without its noise, or the same in another format."""


class StreamPath:
    """One stream on a call.

    Args:
        stream: The stream.
        leg_format: How the leg's audio is coded.
        cap_seconds: How much of the app's audio may wait.
        denoise: Made of each frame of the caller's before this stream gets it, in the leg's format.

    Attributes:
        stream: The stream.
        stream_id: Its id.
        playout: What the app plays, in the leg's format.
    """

    __slots__ = (
        "_cut", "_has_inbound", "_has_outbound", "_holds_tail", "_inbound", "_leg_format", "_outbound",
        "_play_format", "_play_transcoder", "playout", "stream", "stream_id",
    )  # fmt: skip

    def __init__(
        self, stream: CarrierStream, leg_format: AudioFormat, cap_seconds: float, denoise: FrameFilter | None = None
    ) -> None:
        self.stream = stream
        self.stream_id = stream.start.stream_id
        self.playout = Playout(leg_format, cap_seconds=cap_seconds, tail=self._tail)
        self._has_inbound = "inbound" in stream.start.tracks
        self._has_outbound = "outbound" in stream.start.tracks
        self._inbound = _coder(leg_format, stream.start.format, denoise)
        self._outbound = _coder(leg_format, stream.start.format, None)
        self._leg_format = leg_format
        self._play_format = stream.start.format
        self._play_transcoder = Transcoder(self._play_format, leg_format)
        self._holds_tail = False
        self._cut = False  # a clear was obeyed, and nothing has been queued since

    @property
    def is_silent(self) -> bool:
        """Whether nothing of the app's is queued or sounding, but for what a clear has cut off."""
        return self.playout.idle or self._cut

    def play(self, chunk: PlayAudio) -> bool:
        """Queue what the app sent; False if it does not fit under the cap, and none of it is queued."""
        audio_format = chunk.format or self.stream.start.format
        if audio_format is not self._play_format and audio_format != self._play_format:
            self.playout.play(self._tail())
            self._play_format = audio_format
            self._play_transcoder = Transcoder(audio_format, self._leg_format)
        accepted = self.playout.play(self._play_transcoder.process(chunk.payload))
        if accepted:
            self._holds_tail = not self._play_transcoder.is_identity
            self._cut = self._cut and not self.playout.queued_bytes
        else:
            self._play_transcoder.reset()
        return accepted

    def clear(self) -> float:
        """Drop what the app queued. Gives how much of it there was, in milliseconds."""
        self._play_transcoder.reset()
        self._holds_tail = False
        self._cut = True
        return self._leg_format.duration_ms(self.playout.clear())

    def hear(self, from_caller: bytes, to_caller: bytes, at: float) -> None:
        """One frame of each side, due at `at`: the app gets what it asked for, if the stream is open."""
        stream = self.stream
        if stream.state is not State.OPEN:
            return
        if self._has_inbound:
            code = self._inbound
            stream.send_media("inbound", from_caller if code is None else code(from_caller), at)
        if self._has_outbound:
            code = self._outbound
            stream.send_media("outbound", to_caller if code is None else code(to_caller), at)

    def _tail(self) -> bytes:
        """What the resampler still holds of audio that has come to an end."""
        if not self._holds_tail:
            return b""
        self._holds_tail = False
        return self._play_transcoder.flush()


def _coder(leg_format: AudioFormat, stream_format: AudioFormat, denoise: FrameFilter | None) -> FrameFilter | None:
    """What codes one track; None where a frame passes as it is."""
    transcoder = Transcoder(leg_format, stream_format)
    if denoise is None:
        return None if transcoder.is_identity else transcoder.process
    return denoise if transcoder.is_identity else lambda frame: transcoder.process(denoise(frame))
