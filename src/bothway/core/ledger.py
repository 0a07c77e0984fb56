"""What was sent, heard and cleared, as the app knows it: in milliseconds and in words.

The carrier's acknowledgements are the truth. Between two of them what is heard is estimated: playout runs at the pace
of time from the last point that is known. Nothing counts as heard beyond what was sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bothway.errors import UsageError

__all__ = ["MAX_UTTERANCES", "Ledger", "Utterance"]

MAX_UTTERANCES = 1_000
"""Utterances kept for `heard_text`; older ones are forgotten, the totals are not."""

_ROUNDING_MS = 1e-6
"""What adding and subtracting durations may leave over."""

_CHARACTER_MS = 65.0
"""What a character of speech takes at 150 to 160 words a minute of six characters, the space included."""


@dataclass(slots=True)
class Utterance:
    """A stretch of what the app said.

    Attributes:
        text: Its words; empty where the app gave only audio.
        sent_ms: How long its audio is, as far as it has been sent.
        heard_ms: How much of that the caller has heard, as far as it is known.
        cleared_ms: How much of that a clear dropped unheard.
        ended: Whether none of its audio will be sent any more.
        complete: Whether all of its words have been sent; False while they are being sent, and when it was broken off.
    """

    text: str
    sent_ms: float = 0.0
    heard_ms: float = 0.0
    cleared_ms: float = 0.0
    ended: bool = False
    complete: bool = False

    @property
    def settled(self) -> bool:
        """Whether `heard_ms` will not change any more."""
        return self.ended and self.heard_ms + self.cleared_ms >= self.sent_ms - _ROUNDING_MS

    @property
    def heard_text(self) -> str:
        """The words heard in full, taking each to last as long as its share of the characters.

        One that is not complete is taken to be as long as its text at an ordinary pace, if that is longer than what
        was sent of it: words whose audio was never sent were not heard.
        """
        whole_ms = self.sent_ms if self.complete else max(self.sent_ms, len(self.text) * _CHARACTER_MS)
        if self.heard_ms >= whole_ms - _ROUNDING_MS:
            return self.text if self.sent_ms else ""
        share = len(self.text) * (self.heard_ms + _ROUNDING_MS) / whole_ms
        end = self.text.rfind(" ", 0, int(share) + 1)
        return self.text[: max(end, 0)].rstrip()


@dataclass(slots=True)
class _Audio:
    ms: float
    utterance: Utterance | None


@dataclass(slots=True)
class _Mark:
    """A checkpoint (named) or a clear (nameless) in the order of sending."""

    name: str | None
    heard_at_clear: float = 0.0


class Ledger:
    """The account of one stream's playout, from the app's side.

    Attributes:
        sent_ms: All audio sent.
        cleared_ms: Audio that a clear dropped unheard, as far as is known.
    """

    __slots__ = ("_anchor_at", "_anchor_ms", "_entries", "_open", "_settled_ms", "cleared_ms", "sent_ms", "utterances")

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.cleared_ms = 0.0
        self.utterances: deque[Utterance] = deque(maxlen=MAX_UTTERANCES)
        self._open: Utterance | None = None
        self._entries: deque[_Audio | _Mark] = deque()  # sent, and neither heard nor cleared for certain
        self._settled_ms = 0.0  # heard for certain
        self._anchor_ms = 0.0  # heard, as far as is known, at the moment …
        self._anchor_at = 0.0  # … from which playout runs with time

    @property
    def unplayed_ms(self) -> float:
        """Audio sent and not known to be heard or cleared. Above zero there is something to clear."""
        left = self.sent_ms - self._settled_ms - self.cleared_ms
        return left if left > _ROUNDING_MS else 0.0

    @property
    def unconfirmed_checkpoints(self) -> int:
        """Checkpoints sent and neither heard nor cleared."""
        return sum(1 for entry in self._entries if isinstance(entry, _Mark) and entry.name is not None)

    def heard_ms(self, now: float | None = None) -> float:
        """Audio that the caller has heard: for certain, or with `now` as estimated for that moment."""
        if now is None:
            return self._settled_ms
        return self._settled_ms + self._estimate(now)

    def heard_text(self) -> str:
        """The words heard in full, of every utterance that has any."""
        return " ".join(text for utterance in self.utterances if (text := utterance.heard_text))

    def begin(self, text: str) -> Utterance:
        """The audio sent from here to `end` says `text`. An utterance begun before is complete with this."""
        self.end()
        self._open = Utterance(text)
        self.utterances.append(self._open)
        return self._open

    def end(self, *, complete: bool = True) -> None:
        """The utterance begun last has been sent in full, or (not `complete`) is broken off, as by a clear."""
        if self._open is not None:
            self._open.ended = True
            self._open.complete = complete
            self._open = None

    def sent(self, ms: float, now: float) -> None:
        """Audio of `ms` milliseconds went out at `now`."""
        heard = self.heard_ms(now)
        if heard >= self.sent_ms - self.cleared_ms - _ROUNDING_MS:
            self._anchor_ms, self._anchor_at = heard, now  # nothing sounds any more: this starts now
        self.sent_ms += ms
        if self._open is not None:
            self._open.sent_ms += ms
        last = self._entries[-1] if self._entries else None
        if isinstance(last, _Audio) and last.utterance is self._open:
            last.ms += ms  # one entry for each stretch between marks, however many messages it took
        else:
            self._entries.append(_Audio(ms, self._open))

    def checkpoint_sent(self, name: str) -> None:
        """A checkpoint went out behind the audio sent so far."""
        self._entries.append(_Mark(name))

    def clear_sent(self, now: float) -> None:
        """A clear went out: what is unheard now will not be, and what is being said is broken off."""
        self.end(complete=False)
        self._entries.append(_Mark(None, heard_at_clear=self._settled_ms + self._estimate(now)))

    def played(self, name: str, now: float) -> bool:
        """The carrier says that the checkpoint was heard; False if none of that name was waiting."""
        marks = [entry for entry in self._entries if isinstance(entry, _Mark)]
        index = next((at for at, mark in enumerate(marks) if mark.name == name), None)
        if index is None:
            return False
        for mark in marks[:index]:
            if mark.name is None:  # a carrier that obeys clears without saying so: what follows them was heard after
                self.cleared(now)
        while self._entries:
            entry = self._entries.popleft()
            if isinstance(entry, _Audio):
                self._settle(entry, entry.ms)
            elif entry.name == name:
                break
        self._anchor(now)
        return True

    def cleared(self, now: float) -> bool:
        """The carrier answered the oldest unanswered clear; False if there was none."""
        clear = next((entry for entry in self._entries if isinstance(entry, _Mark) and entry.name is None), None)
        if clear is None:
            return False
        heard = max(0.0, clear.heard_at_clear - self._settled_ms)
        while (entry := self._entries.popleft()) is not clear:
            if isinstance(entry, _Audio):
                part = min(heard, entry.ms)
                heard -= part
                self.cleared_ms += entry.ms - part
                if entry.utterance is not None:
                    entry.utterance.cleared_ms += entry.ms - part
                self._settle(entry, part)
        self._anchor(now)
        return True

    def ended(self, now: float) -> None:
        """The stream is over: what was not heard by now never will be."""
        if self._entries:
            self.clear_sent(now)
            while self.cleared(now):
                pass

    def _anchor(self, now: float) -> None:
        self._anchor_ms, self._anchor_at = self._settled_ms, now

    def _estimate(self, now: float) -> float:
        """Milliseconds heard beyond what is settled, if playout has run on since the anchor."""
        if now < self._anchor_at:
            raise UsageError("the ledger's time runs backwards")
        before_clear = 0.0
        for entry in self._entries:
            if isinstance(entry, _Audio):
                before_clear += entry.ms
            elif entry.name is None:
                return max(0.0, entry.heard_at_clear - self._settled_ms)
        run = self._anchor_ms - self._settled_ms + (now - self._anchor_at) * 1000
        return min(before_clear, max(0.0, run))

    def _settle(self, entry: _Audio, heard: float) -> None:
        self._settled_ms += heard
        if entry.utterance is not None:
            entry.utterance.heard_ms += heard
