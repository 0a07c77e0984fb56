"""The receiver in the caller's hand: hears a call frame by frame, and says what it is told to say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.level import START_MS, THRESHOLD_DBFS, SpeechGate, rms_dbfs
from bothway.audio.transcode import to_l16
from bothway.carrier.scripted_caller import CallerEvent, Outcome, Turn
from bothway.speech.tone_reader import HeardWord, ToneReader

__all__ = ["Order", "Telephone"]


@dataclass(frozen=True, slots=True)
class Order:
    """Something to do on the line.

    Attributes:
        turns: One for every 20 ms that it takes; it is run as the call goes.
        done: Called when the last of them has gone out, or the call is over.
    """

    turns: Iterator[Turn]
    done: Callable[[], None]


class Telephone:
    """A `FrameCaller` that takes its orders while the call runs.

    Args:
        fmt: The leg's format.
        on_frame: Called after every frame that was heard, before the next order is carried out.
        keep_audio: Whether both directions are kept, for `tape`.

    Attributes:
        format: The leg's format.
        heard_frames: Frames heard so far: the call's clock, as its caller sees it.
        words: What was understood, in order: of speech that a `ToneVoice` said. A word is there when its last sample
            was heard.
        digits: Keys that the app pressed, and when, in milliseconds.
        quiet_frames: How long there has been nothing to hear: since the last loud frame, or the answer.
    """

    def __init__(self, fmt: AudioFormat, on_frame: Callable[[], None], *, keep_audio: bool = True) -> None:
        self.format = fmt
        self.heard_frames = 0
        self.words: list[HeardWord] = []
        self.digits: list[tuple[int, str]] = []
        self.quiet_frames = 0
        self._on_frame = on_frame
        self._keep_audio = keep_audio
        self._reader = ToneReader(fmt)
        self._gate = SpeechGate()
        self._silence = fmt.silent_frame
        self._quiet = Turn(fmt.silent_frame)
        self._orders: deque[Order] = deque()
        self._said: list[bytes] = []
        self._heard: list[bytes] = []
        self._speaks_since_ms = 0
        self._over = False

    @property
    def heard_ms(self) -> int:
        """How much of the call was heard, in milliseconds; also the present moment of the call."""
        return self.heard_frames * FRAME_MS

    @property
    def speech_ms(self) -> int:
        """How long the app has been speaking without a pause, in milliseconds; 0 while it does not."""
        if not self._gate.sounding or self.quiet_frames:
            return 0
        return self.heard_ms - self._speaks_since_ms

    @property
    def busy(self) -> bool:
        """Whether there is an order that is not carried out."""
        return bool(self._orders)

    def order(self, turns: Iterator[Turn], done: Callable[[], None]) -> None:
        """Carry out `turns` behind what was ordered before."""
        if self._over:
            done()
        else:
            self._orders.append(Order(turns, done))

    def tape(self) -> tuple[bytes, bytes]:
        """What the caller said and what it heard, of equal length, in the leg's format."""
        return b"".join(self._said), b"".join(self._heard)

    # What there is to order.

    def speech(self, audio: bytes) -> Generator[Turn]:
        """Say `audio`, which is in the leg's format; the last frame is filled up with silence."""
        size = self.format.frame_bytes
        for start in range(0, len(audio), size):
            yield Turn(audio[start : start + size].ljust(size, self.format.silence_byte))

    def keys(self, digits: str, gap_ms: int) -> Generator[Turn]:
        """Press keys, `gap_ms` from one to the next."""
        for place, digit in enumerate(digits):
            if place:
                for _ in range(gap_ms // FRAME_MS - 1):
                    yield self._quiet
            yield Turn(self._quiet.frame, (digit,))

    def hang_up(self) -> Generator[Turn]:
        """Put it down."""
        yield Turn(self._quiet.frame, hang_up=True)

    # FrameCaller.

    def hear(self, frame: bytes) -> Turn:
        """The next 20 ms of the call; gives what the caller does in them."""
        self.heard_frames += 1
        self._listen(frame)
        self._on_frame()
        turn = self._next_turn()
        if self._keep_audio:
            self._heard.append(frame)
            self._said.append(turn.frame)
        return turn

    def hear_digits(self, digits: str) -> None:
        """The app pressed these keys towards the caller."""
        self.digits.extend((self.heard_ms, digit) for digit in digits)
        self._on_frame()

    def call_ended(self) -> Outcome:
        """The call is over: nothing that was ordered will be done any more."""
        self._over = True
        orders, self._orders = self._orders, deque()
        for order in orders:
            order.done()
        return Outcome(ok=True)

    def events(self) -> list[CallerEvent]:
        """Nothing: whoever gives the orders knows what happened."""
        return []

    def _listen(self, frame: bytes) -> None:
        # Digital silence, which is most of any call, is not worth measuring.
        loud = frame != self._silence and rms_dbfs(to_l16(frame, self.format.encoding)) >= THRESHOLD_DBFS
        self.quiet_frames = 0 if loud else self.quiet_frames + 1
        was_sounding = self._gate.sounding
        if self._gate.count(loud=loud) and not was_sounding:
            self._speaks_since_ms = self.heard_ms - START_MS
        self.words.extend(self._reader.feed(frame))

    def _next_turn(self) -> Turn:
        while self._orders:
            order = self._orders[0]
            turn = next(order.turns, None)
            if turn is not None:
                return turn
            self._orders.popleft()
            order.done()
        return self._quiet
