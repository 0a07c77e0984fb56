"""A caller in a test: says, presses and hangs up, and expects to hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TypeVar

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.transcode import convert
from bothway.audio.wav import read_wav
from bothway.carrier.clips import spoken
from bothway.carrier.live_call import LiveCall
from bothway.carrier.scripted_caller import Turn
from bothway.console.evidence import LogRecord
from bothway.console.timeline import Line
from bothway.errors import UsageError
from bothway.speech.protocols import TextToSpeech
from bothway.speech.tone_reader import HeardWord
from bothway.testing.call_ledger import CallLedger, ledger_of
from bothway.testing.exchanges import RestRequest, Webhook
from bothway.testing.expectation import Expectation
from bothway.testing.telephone import Telephone
from bothway.testing.trace import Trace
from bothway.testing.transcript import Phrase, Transcript, text_of
from bothway.wire.leg import LEG_DIGITS

__all__ = ["Caller"]

_T = TypeVar("_T")


class Caller:
    """One call, from the end of whoever placed it. `LabCarrier.call` makes it.

    Its methods do something on the line and return when it is done; those that give an `Expectation` are awaited to
    wait for something. All times are the call's own.

    Args:
        fmt: The leg's format.
        voice: Says the texts; a `ToneVoice`, if the app is to understand them.
        keep_audio: Whether the audio of both sides is kept for the timeline.

    Attributes:
        trace: All that happened on the call.
        telephone: What the caller holds in the hand.
        heard: Every word that the caller heard to its last sample, with its times since the answer.
        records: The call's evidence log, as far as it goes (docs/evidence.md).
        webhooks: Every document and callback of this call that the carrier has requested, in order.
        rest: Every REST request that the app made about this call, in order.
        live: The call at the carrier; None until it is placed.
        spoken: What the caller has said, as lines of the timeline.
    """

    def __init__(self, fmt: AudioFormat, voice: TextToSpeech, *, keep_audio: bool = True) -> None:
        self.trace = Trace(lambda: self.now_ms)
        self.telephone = Telephone(fmt, self.trace.happened, keep_audio=keep_audio)
        self.heard: Sequence[HeardWord] = self.telephone.words
        self.records: Sequence[LogRecord] = self.trace.records
        self.webhooks: Sequence[Webhook] = self.trace.webhooks
        self.rest: Sequence[RestRequest] = self.trace.rest
        self.live: LiveCall | None = None
        self.spoken: list[Line] = []
        self._voice = voice
        self._transcript = Transcript(self.telephone.words)
        self._next_digit = 0  # the first that no expectation has claimed

    # What there is to know.

    @property
    def call_id(self) -> str:
        """The call's UUID."""
        return self.trace.call_id

    @property
    def now_ms(self) -> int:
        """Milliseconds of the call that its caller has heard."""
        return self.telephone.heard_ms

    @property
    def heard_text(self) -> str:
        """The words that were heard, with a space between two."""
        return text_of(self.heard)

    @property
    def ledger(self) -> CallLedger:
        """What became of the app's audio so far, by the carrier's books."""
        return ledger_of(self.records, self.live.media if self.live is not None else None)

    @property
    def answered(self) -> bool:
        """Whether the call was picked up."""
        return any(record.event == "answered" for record in self.trace.records)

    @property
    def ended(self) -> LogRecord | None:
        """How the call ended: `code`, `name`, `source`, `detail`, `ran_to_end` are its facts; None while it lasts."""
        return self.trace.ended

    # What the caller does.

    async def say(self, text: str) -> None:
        """Say something, from now on; returns when it is said, or the call is over."""
        await self._speak(f"says “{text}”", await spoken(self._voice, text, self.telephone.format))

    async def play(self, path: str | PathLike[str]) -> None:
        """Play a WAV file into the call; returns when it has ended, or the call is over.

        Raises:
            UsageError: The file cannot be read, or is no WAV file.
        """
        source, audio = await asyncio.to_thread(read_wav, path)
        await self._speak(f"plays {path}", convert(audio, source, self.telephone.format))

    async def press(self, digits: str, *, gap: float = 0.1) -> None:
        """Press keys; returns when the last one is pressed, or the call is over.

        Args:
            digits: Of `0-9*#ABCD`.
            gap: Seconds from one to the next.

        Raises:
            UsageError: A telephone has no such key.
        """
        if not digits or not set(digits) <= set(LEG_DIGITS):
            raise UsageError(f"{digits!r} are not keys of a telephone: those are 0-9, *, # and A-D")
        await _carried_out(self.telephone, self.telephone.keys(digits, round(gap * 1000)))

    async def stays_silent(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def interrupts(self, text: str, *, after: float = 0.0, within: float = 10.0) -> None:
        """Barge in: say something while the app speaks; returns when it is said.

        Args:
            text: What to say.
            after: For how many seconds the app must have been speaking.
            within: How long to wait for that.

        Raises:
            CallFailedError: The app did not speak for so long, in time.
        """
        audio = await spoken(self._voice, text, self.telephone.format)
        await self.hears_speech(after).within(within)
        await self._speak(f"interrupts: “{text}”", audio)

    async def hangs_up(self) -> LogRecord:
        """End the call; returns when it is over and all about it is done, callbacks included.

        Returns:
            The record of the end, as `ended`.

        Raises:
            CallFailedError: The carrier did not end the call.
        """
        await _carried_out(self.telephone, self.telephone.hang_up())
        return await self.is_hung_up().within(_HANGUP_SECONDS)

    # What the caller expects.

    def hears(self, phrase: Phrase) -> Expectation[Sequence[HeardWord]]:
        """To hear words, behind those that an earlier expectation found; each to its last sample.

        Only what a `ToneVoice` says can be understood: see docs/testing.md.

        Args:
            phrase: The words, one after another, or a regular expression over the words as they were said.

        Returns:
            When awaited: the words, with their times.

        Raises:
            UsageError: There is no word in it.
        """
        shown = f"“{phrase}”" if isinstance(phrase, str) else f"something like {phrase.pattern!r}"
        return self._expects(f"the caller to hear {shown}", self._transcript.finder(phrase))

    def hears_speech(self, seconds: float = 0.0) -> Expectation[int]:
        """To hear the app sound, in whatever voice, for so long without a pause of 300 ms.

        Returns:
            When awaited: the moment, in milliseconds since the answer.
        """
        least_ms = max(seconds * 1000, FRAME_MS)
        what = f"the app to speak for {seconds:g} s" if seconds else "the app to speak"
        return self._expects(what, lambda: self.now_ms if self.telephone.speech_ms >= least_ms else None)

    def hears_silence(self, seconds: float = 1.0) -> Expectation[int]:
        """To hear nothing for so long, the silence before now included.

        Returns:
            When awaited: where the silence began, in milliseconds since the answer.
        """

        def quiet() -> int | None:
            quiet_ms = self.telephone.quiet_frames * FRAME_MS
            return self.now_ms - quiet_ms if quiet_ms >= seconds * 1000 else None

        return self._expects(f"silence for {seconds:g} s", quiet)

    def hears_digits(self, digits: str) -> Expectation[int]:
        """To hear keys that the app presses, behind those that an earlier expectation found.

        Returns:
            When awaited: when the last of them came, in milliseconds since the answer.
        """

        def pressed() -> int | None:
            left = self.telephone.digits[self._next_digit :]
            place = "".join(digit for _, digit in left).find(digits)
            if place < 0:
                return None
            self._next_digit += place + len(digits)
            return left[place + len(digits) - 1][0]

        return self._expects(f"the app to press {digits}", pressed)

    def is_hung_up(self) -> Expectation[LogRecord]:
        """The end of the call, whoever ends it, all callbacks delivered or given up.

        Returns:
            When awaited: the record of it, as `ended`.
        """
        return Expectation(
            self.trace, "the call to end", lambda: self.ended if self.trace.over else None, on_line=False
        )

    def ledger_shows(self, **least_ms: float) -> Expectation[CallLedger]:
        """At least so many milliseconds in the carrier's books: `played_ms`, `cleared_ms` and so on, as in `ledger`.

        Returns:
            When awaited: the ledger at that moment.

        Raises:
            UsageError: The ledger has no such figure.
        """
        for name in least_ms:
            if name not in CallLedger.__slots__:
                raise UsageError(f"a ledger has {', '.join(CallLedger.__slots__)}, and no {name}")

        def found() -> CallLedger | None:
            now = self.ledger
            return now if all(getattr(now, name) >= ms for name, ms in least_ms.items()) else None

        return self._expects(f"the ledger to show{_listed(least_ms).removeprefix(' with') or ' anything'}", found)

    def logged(self, event: str, **facts: object) -> Expectation[LogRecord]:
        """A record in the call's evidence log (docs/evidence.md) that no earlier expectation claimed.

        Args:
            event: Such as `played`, `cleared`, `mistake`, `stream_ended`.
            **facts: What the record must say; it may say more.
        """

        def fits(record: LogRecord) -> bool:
            return record.event == event and _says(record.facts, facts)

        what = f"a record {event!r}{_listed(facts)} in the call's log"
        return self._expects(what, lambda: self.trace.claim(self.trace.records, fits))

    def called_back(self, path: str, **params: str) -> Expectation[Webhook]:
        """A document or callback that the carrier has requested of this path, which no earlier expectation claimed.

        Args:
            path: Of the URL.
            **params: What the request must say, as in `Event="StopStream"`; it may say more.
        """

        def fits(webhook: Webhook) -> bool:
            return webhook.path == path and _says(webhook.params, params)

        what = f"a request of {path}{_listed(params)}"
        return self._expects(what, lambda: self.trace.claim(self.trace.webhooks, fits))

    def asked_by_rest(self, method: str) -> Expectation[RestRequest]:
        """A REST request of the app's about this call, which no earlier expectation claimed.

        Args:
            method: Such as `DELETE`, which hangs up.
        """
        what = f"the app to make a REST request, {method}, about this call"
        return self._expects(what, lambda: self.trace.claim(self.trace.rest, lambda found: found.method == method))

    async def _speak(self, what: str, audio: bytes) -> None:
        began = self.now_ms
        await _carried_out(self.telephone, self.telephone.speech(audio))
        self.spoken.append(Line(began, self.now_ms, "caller", "said", what))

    def _expects(self, what: str, check: Callable[[], _T | None]) -> Expectation[_T]:
        return Expectation(self.trace, what, check, instead=self._heard_instead)

    def _heard_instead(self) -> str:
        words = self._transcript.unclaimed()
        heard = f"heard since: “{text_of(words)}”" if words else "no word was heard since"
        return f"{heard} (at {self.now_ms / 1000:.2f} s of the call)"


_HANGUP_SECONDS = 120.0
"""As long as the carrier tries to deliver callbacks."""


async def _carried_out(telephone: Telephone, turns: Iterator[Turn]) -> None:
    done = asyncio.Event()
    telephone.order(turns, done.set)
    await done.wait()


def _says(found: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(key in found and found[key] == value for key, value in wanted.items())


def _listed(facts: Mapping[str, object]) -> str:
    return f" with {', '.join(f'{key}={value!r}' for key, value in facts.items())}" if facts else ""
