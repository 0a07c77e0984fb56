"""One audio stream, seen from either end.

`CarrierStream` numbers and writes what the carrier sends and reads what the app answers; `AppStream` is its mirror and
keeps the ledger. Both run on one table of which message may come in which state: what *we* may not send is a
`UsageError`, what the *peer* may not send becomes a `Mistake` among the events, and the stream goes on.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TypeAlias

from bothway.audio.format import AudioFormat, Encoding
from bothway.core.ledger import Ledger
from bothway.errors import UsageError
from bothway.wire.dialects import plivo
from bothway.wire.stream import (
    Checkpoint,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    FromApp,
    FromCarrier,
    Media,
    Mistake,
    PlayAudio,
    PlayedStream,
    SendDtmf,
    Start,
    Stop,
    Tolerated,
    Track,
)

__all__ = ["AppStream", "CarrierStream", "Side", "State", "StreamEvent"]

StreamEvent: TypeAlias = FromCarrier | FromApp | Mistake


class Side(Enum):
    """Which end of the wire."""

    CARRIER = auto()
    APP = auto()


class State(Enum):
    """How far a stream has come."""

    NEW = auto()
    OPEN = auto()
    ENDED = auto()


_NEXT: dict[tuple[Side, State], dict[type, State]] = {
    (Side.CARRIER, State.NEW): {Start: State.OPEN},
    (Side.CARRIER, State.OPEN): {
        Media: State.OPEN,
        Dtmf: State.OPEN,
        PlayedStream: State.OPEN,
        ClearedAudio: State.OPEN,
        Stop: State.ENDED,
    },
    (Side.CARRIER, State.ENDED): {},
    (Side.APP, State.NEW): {},
    (Side.APP, State.OPEN): {
        PlayAudio: State.OPEN,
        Checkpoint: State.OPEN,
        ClearAudio: State.OPEN,
        SendDtmf: State.OPEN,
    },
    (Side.APP, State.ENDED): {},
}
"""Who speaks in which state, to the messages allowed there and the state after each."""


class _Stream:
    """What both ends share.

    Attributes:
        state: How far the stream has come.
        mistakes: How often the peer made each kind of mistake; only the first of a kind becomes an event.
    """

    side: Side

    def __init__(self) -> None:
        self._enter(State.NEW)
        self.mistakes: Counter[str] = Counter()
        self._events: list[StreamEvent] = []
        self._to_send: list[bytes] = []

    def events(self) -> list[StreamEvent]:
        """What the peer said since the last call."""
        events, self._events = self._events, []
        return events

    def to_send(self) -> list[bytes]:
        """Messages for the peer since the last call."""
        messages, self._to_send = self._to_send, []
        return messages

    def end(self) -> None:
        """The socket is gone, or is about to be: nothing more is sent or received."""
        self._enter(State.ENDED)

    def _enter(self, state: State) -> None:
        self.state = state
        peer = Side.APP if self.side is Side.CARRIER else Side.CARRIER
        self._ours, self._theirs = _NEXT[self.side, state], _NEXT[peer, state]

    def _accept(self, message: FromCarrier | FromApp | Tolerated | Mistake) -> FromCarrier | FromApp | None:
        """The peer's message if it may come now; mistakes are noted."""
        if isinstance(message, Mistake):
            self._note(message)
            return None
        if isinstance(message, Tolerated):
            self._note(message.mistake)
            message = message.message
        state = self._theirs.get(type(message))
        if state is None:
            if self.state is not State.ENDED:  # what was on its way when the stream ended is nobody's mistake
                when = "before start" if self.state is State.NEW else "on an open stream"
                self._note(Mistake("out-of-order", f"the peer sent {type(message).__name__} {when}"))
            return None
        if state is not self.state:
            self._enter(state)
        return message

    def _may_send(self, message: type) -> None:
        state = self._ours.get(message)
        if state is None:
            raise UsageError(f"{message.__name__} cannot be sent on a stream that is {self.state.name.lower()}")
        if state is not self.state:
            self._enter(state)

    def _note(self, mistake: Mistake) -> None:
        self.mistakes[mistake.code] += 1
        if self.mistakes[mistake.code] == 1:
            self._events.append(mistake)


def _odd_bytes(payload: bytes, audio_format: AudioFormat) -> Mistake | None:
    if audio_format.encoding is Encoding.L16 and len(payload) % 2:
        return Mistake("odd-bytes", f"L16 has two bytes a sample, and a payload has {len(payload)}: it was dropped")
    return None


class CarrierStream(_Stream):
    """The carrier's end.

    Args:
        start: What the stream is.
        first_sequence: The number of `start`; every message counts one up from it.
        epoch: The Unix time, in seconds, at which the clock of all `now` and `at` stood at zero.
        bidirectional: Whether the app may play.
    """

    side = Side.CARRIER

    def __init__(self, start: Start, *, first_sequence: int, epoch: float, bidirectional: bool) -> None:
        super().__init__()
        self.start = start
        self.bidirectional = bidirectional
        self._epoch = epoch
        self._sequence = first_sequence
        self._writers = {track: plivo.MediaWriter(start, track) for track in start.tracks}
        self._chunks = dict.fromkeys(start.tracks, 0)

    def open(self) -> None:
        """Send `start`: the socket is up."""
        self._may_send(Start)
        self._to_send.append(plivo.encode_start(self.start, sequence=self._sequence))

    def send_media(self, track: Track, payload: bytes, at: float) -> None:
        """Send one frame, heard or played at `at`.

        Raises:
            UsageError: The stream is not open, or does not carry this track.
        """
        if self.state is not State.OPEN:
            self._may_send(Media)
        writer = self._writers.get(track)
        if writer is None:
            raise UsageError(f"this stream carries {' and '.join(self.start.tracks)} alone, and not {track}")
        self._sequence += 1
        self._chunks[track] = chunk = self._chunks[track] + 1
        timestamp_ms = round((self._epoch + at) * 1000)
        self._to_send.append(writer.write(payload, sequence=self._sequence, timestamp_ms=timestamp_ms, chunk=chunk))

    def send_dtmf(self, digit: str, at: float) -> None:
        """Send one key press of the caller."""
        self._may_send(Dtmf)
        dtmf = Dtmf(digit, "inbound", str(round((self._epoch + at) * 1000)))
        self._to_send.append(
            plivo.encode_dtmf(
                dtmf, stream_id=self.start.stream_id, sequence=self._next(), extra_headers=self.start.extra_headers
            )
        )

    def send_played(self, name: str) -> None:
        """A checkpoint was passed."""
        self._may_send(PlayedStream)
        played = PlayedStream(name)
        self._to_send.append(plivo.encode_played_stream(played, stream_id=self.start.stream_id, sequence=self._next()))

    def send_cleared(self) -> None:
        """A clear was obeyed."""
        self._may_send(ClearedAudio)
        self._to_send.append(plivo.encode_cleared_audio(stream_id=self.start.stream_id, sequence=self._next()))

    def stop(self, reason: str, *, say_so: bool) -> None:
        """End the stream, with a `stop` message where the profile sends one."""
        if say_so and self.state is State.OPEN:
            self._may_send(Stop)
            self._to_send.append(plivo.encode_stop(Stop(reason), stream_id=self.start.stream_id, sequence=self._next()))
        self.end()

    def receive(self, raw: bytes) -> None:
        """One message from the app."""
        message = self._accept(plivo.decode_from_app(raw))
        if message is None:
            return
        if not self.bidirectional:
            self._note(
                Mistake("one-way", f'{type(message).__name__} on a one-way stream: <Stream> lacks bidirectional="true"')
            )
            return
        if isinstance(message, PlayAudio):
            odd = _odd_bytes(message.payload, message.format or self.start.format)
            if odd is not None:
                self._note(odd)
                return
            if message.payload[:4] == b"RIFF" and message.payload[8:12] == b"WAVE":
                text = "a playAudio begins with a WAV header, which sounds like a click: samples are sent without one"
                self._note(Mistake("wav-header", text))
        self._events.append(message)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


class AppStream(_Stream):
    """The app's end.

    Attributes:
        start: What the carrier said the stream is; None until it has.
        ledger: What was sent, heard and cleared.
        lost: Media messages that never came, by the gaps in `chunk`.
    """

    side = Side.APP

    def __init__(self) -> None:
        super().__init__()
        self.start: Start | None = None
        self.ledger = Ledger()
        self.lost = 0
        self._chunks: dict[str, int] = {}
        self._writers: dict[AudioFormat, plivo.PlayWriter] = {}
        self._l16 = False

    @property
    def format(self) -> AudioFormat:
        """How the stream's audio is coded.

        Raises:
            UsageError: The stream has not started.
        """
        if self.start is None:
            raise UsageError("the stream has not started: its format is not known yet")
        return self.start.format

    def receive(self, raw: bytes, now: float) -> None:
        """One message from the carrier."""
        accepted = self._accept(plivo.decode_from_carrier(raw))
        if accepted is None:
            return
        if isinstance(accepted, Media):
            odd = _odd_bytes(accepted.payload, self.format)
            if odd is not None:
                self._note(odd)
                return
            self._count(accepted)
        if isinstance(accepted, Start):
            self.start = accepted
            self._l16 = accepted.format.encoding is Encoding.L16
        elif isinstance(accepted, PlayedStream):
            if not self.ledger.played(accepted.name, now):
                self._note(Mistake("stray-played", f"the checkpoint {accepted.name!r} was played, and is not waiting"))
                return
        elif isinstance(accepted, ClearedAudio) and not self.ledger.cleared(now):
            self._note(Mistake("stray-cleared", "clearedAudio came, and no clear was waiting for it"))
            return
        self._events.append(accepted)

    def receive_media(self, raw: bytes) -> Media | None:
        """The frame that `raw` is, if it is written as it should be; None is for `receive`, which it has not had yet.

        This is the way of fifty messages a second of every stream: no event is made of them.
        """
        if self.state is not State.OPEN:
            return None
        media = plivo.decode_media(raw)
        if media is None or (self._l16 and len(media.payload) % 2):
            return None
        chunk, track = media.chunk, media.track
        if chunk == self._chunks.get(track, 0) + 1:  # nothing was lost, which is what nearly every frame says
            self._chunks[track] = chunk
        else:
            self._count(media)
        return media

    def play(self, payload: bytes, now: float, audio_format: AudioFormat | None = None) -> bytes:
        """The message that plays `payload`; in the stream's own format unless another is given.

        Raises:
            UsageError: The stream is not open, or half a sample of L16 was given: a carrier would drop it all.
        """
        self._may_send(PlayAudio)
        audio_format = audio_format or self.format
        if len(payload) % audio_format.sample_bytes:
            raise UsageError(f"{len(payload)} bytes of {audio_format} are not a whole number of samples")
        writer = self._writers.get(audio_format)
        if writer is None:
            writer = self._writers[audio_format] = plivo.PlayWriter(audio_format)
        self.ledger.sent(audio_format.duration_ms(len(payload)), now)
        return writer.write(payload)

    def checkpoint(self, name: str) -> bytes:
        """The message that marks the end of what was sent."""
        self._may_send(Checkpoint)
        self.ledger.checkpoint_sent(name)
        return plivo.encode_checkpoint(Checkpoint(name), stream_id=self._stream_id())

    def clear(self, now: float) -> bytes:
        """The message that drops what is not yet played."""
        self._may_send(ClearAudio)
        self.ledger.clear_sent(now)
        return plivo.encode_clear_audio(stream_id=self._stream_id())

    def send_dtmf(self, digits: str) -> bytes:
        """The message that presses `digits`.

        Raises:
            UsageError: Some of them are no keys.
        """
        self._may_send(SendDtmf)
        if not digits or digits.strip(plivo.DTMF_DIGITS):
            raise UsageError(f"{digits!r} are not all keys of {plivo.DTMF_DIGITS}")
        return plivo.encode_send_dtmf(SendDtmf(digits))

    def _count(self, media: Media) -> None:
        """Count what was lost before this frame; a carrier that does not number them cannot tell."""
        chunk = media.chunk
        if chunk:
            last = self._chunks.get(media.track)
            if last is not None and chunk > last + 1:
                self.lost += chunk - last - 1
            self._chunks[media.track] = chunk

    def _stream_id(self) -> str:
        assert self.start is not None
        return self.start.stream_id
