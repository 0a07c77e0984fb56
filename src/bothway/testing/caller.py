"""A caller in a test: says, presses and hangs up, and expects to hear."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias

from bothway.audio.format import FRAME_MS, AudioFormat
from bothway.audio.transcode import convert
from bothway.audio.wav import read_wav
from bothway.carrier.clips import spoken
from bothway.carrier.scripted_caller import Turn
from bothway.console.evidence import LogRecord
from bothway.console.timeline import Line
from bothway.errors import UsageError
from bothway.speech.protocols import TextToSpeech
from bothway.speech.tone_reader import HeardWord
from bothway.testing.exchanges import RestRequest, Webhook
from bothway.testing.expectation import CallFailedError, Expectation
from bothway.testing.telephone import Telephone
from bothway.wire.leg import LEG_DIGITS

__all__ = ["Caller", "Mark", "Phrase"]

Phrase: TypeAlias = str | re.Pattern[str]
"""What is listened for: words, of which case and punctuation do not count, or a regular expression over the words as
they were said, with a space between two."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the timeline where something was not as expected.

    Attributes:
        ms: When, in milliseconds since the answer.
        text: What was wrong.
    """

    ms: int
    text: str


class Caller:
    """One call, from the end of whoever placed it. `LabCarrier.call` makes it.

    Its methods do something on the line and return when it is done; those that give an `Expectation` are awaited to
    wait for something. All times are the call's own.

    Args:
        fmt: The leg's format.
        voice: Says the texts; a `ToneVoice`, if the app is to understand them.
        keep_audio: Whether the audio of both sides is kept for the timeline.

    Attributes:
        records: The call's evidence log, as far as it goes.
        webhooks: Every document and callback of this call that was requested, in order.
        rest: Every REST request that the app made about this call, in order.
        marks: What was not as expected.
        call_id: The call's UUID.
    """

    def __init__(self, fmt: AudioFormat, voice: TextToSpeech, *, keep_audio: bool = True) -> None:
        self.records: list[LogRecord] = []
        self.webhooks: list[Webhook] = []
        self.rest: list[RestRequest] = []
        self.marks: list[Mark] = []
        self.call_id = ""
        self.telephone = Telephone(fmt, self.happened, keep_audio=keep_audio)
        self._voice = voice
        self._keep_audio = keep_audio
        self._watchers: list[Callable[[], None]] = []
        self._done: list[Line] = []
        self._word = 0  # the first word that no expectation has claimed
        self._digit = 0
        self._claimed: list[object] = []  # records, webhooks and REST requests that expectations have claimed
        self._closed = False

    # What there is to know.

    @property
    def now_ms(self) -> int:
        """Milliseconds of the call that its caller has heard."""
        return self.telephone.heard_ms

    @property
    def heard(self) -> Sequence[HeardWord]:
        """Every word that the caller heard to its last sample, with its times since the answer."""
        return self.telephone.words

    @property
    def heard_text(self) -> str:
        """Those words, with a space between two."""
        return _text(self.telephone.words)

    @property
    def answered(self) -> bool:
        """Whether the call was picked up."""
        return any(record.event == "answered" for record in self.records)

    @property
    def ended(self) -> LogRecord | None:
        """How the call ended: its facts are `code`, `name`, `source`, `detail` and `ran_to_end`; None while it lasts."""
        return next((record for record in reversed(self.records) if record.event == "ended"), None)

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._closed

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
        await self._do(self.telephone.keys(digits, round(gap * 1000)))

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
        await Expectation(
            self,
            f"the app to speak for {after:g} s, to be interrupted by “{text}”,",
            lambda: True if self.telephone.speech_ms >= max(after * 1000, FRAME_MS) else None,
            instead=self._heard_since,
        ).within(within)
        await self._speak(f"interrupts: “{text}”", audio)

    async def hangs_up(self) -> LogRecord:
        """End the call; returns when it is over and all about it is done, callbacks included.

        Returns:
            The record of the end, as `ended`.

        Raises:
            CallFailedError: The carrier did not end the call.
        """
        if not self._closed:
            await self._do(self.telephone.hang_up())
        return await self.is_hung_up()

    # What the caller expects.

    def hears(self, phrase: Phrase) -> Expectation[Sequence[HeardWord]]:
        """To hear words, behind those that an earlier expectation found; each to its last sample.

        Only what a `ToneVoice` says can be understood: see docs/testing.md.

        Args:
            phrase: The words, one after another, or a regular expression.

        Returns:
            When awaited: the words, with their times.

        Raises:
            UsageError: There is no word in it.
        """
        if isinstance(phrase, str):
            wanted = [plain for word in phrase.split() if (plain := _plain(word))]
            if not wanted:
                raise UsageError(f"there is no word to hear in {phrase!r}")
            return Expectation(
                self, f"the caller to hear “{phrase}”", lambda: self._find_words(wanted), instead=self._heard_since
            )
        return Expectation(
            self,
            f"the caller to hear something like {phrase.pattern!r}",
            lambda: self._find_pattern(phrase),
            instead=self._heard_since,
        )

    def hears_speech(self, seconds: float = 0.0) -> Expectation[int]:
        """To hear the app sound, in whatever voice, for so long without a pause of 300 ms.

        Returns:
            When awaited: the moment, in milliseconds since the answer.
        """
        return Expectation(
            self,
            f"the caller to hear the app speak for {seconds:g} s",
            lambda: self.now_ms if self.telephone.speech_ms >= max(seconds * 1000, FRAME_MS) else None,
            instead=self._heard_since,
        )

    def hears_silence(self, seconds: float = 1.0) -> Expectation[int]:
        """To hear nothing for so long, the silence before now included.

        Returns:
            When awaited: where the silence began, in milliseconds since the answer.
        """

        def quiet() -> int | None:
            since = self.telephone.quiet_frames
            return self.now_ms - since * FRAME_MS if since * FRAME_MS >= seconds * 1000 else None

        return Expectation(self, f"silence of {seconds:g} s", quiet, instead=self._heard_since)

    def hears_digits(self, digits: str) -> Expectation[int]:
        """To hear keys that the app presses, behind those that an earlier expectation found.

        Returns:
            When awaited: when the last of them came, in milliseconds since the answer.
        """

        def pressed() -> int | None:
            left = self.telephone.digits[self._digit :]
            place = "".join(digit for _, digit in left).find(digits)
            if place < 0:
                return None
            self._digit += place + len(digits)
            return left[place + len(digits) - 1][0]

        return Expectation(self, f"the app to press {digits}", pressed)

    def is_hung_up(self) -> Expectation[LogRecord]:
        """The end of the call, whoever ends it, all callbacks delivered or given up.

        Returns:
            When awaited: the record of it, as `ended`.
        """
        return Expectation(self, "the call to end", lambda: self.ended if self._closed else None, on_line=False)

    def logged(self, event: str, **facts: object) -> Expectation[LogRecord]:
        """A record in the call's evidence log (docs/evidence.md) that no earlier expectation claimed.

        Args:
            event: Such as `played`, `cleared`, `mistake`, `stream_ended`.
            **facts: What the record must say; it may say more.
        """
        what = f"a record {event!r}{_listed(facts)} in the call's log"
        return self._expect_one(
            what, lambda: self.records, lambda found: found.event == event and _says(found.facts, facts)
        )

    def called_back(self, path: str, **params: str) -> Expectation[Webhook]:
        """A document or callback that the carrier has requested of this path, which no earlier expectation claimed.

        Args:
            path: Of the URL.
            **params: What the request must say, as in `Event="StopStream"`; it may say more.
        """
        what = f"a request of {path}{_listed(params)}"
        return self._expect_one(
            what, lambda: self.webhooks, lambda found: found.path == path and _says(found.params, params)
        )

    def asked_by_rest(self, method: str) -> Expectation[RestRequest]:
        """A REST request of the app's about this call, which no earlier expectation claimed.

        Args:
            method: Such as `DELETE`, which hangs up.
        """
        what = f"the app to make a REST request, {method}, about this call"
        return self._expect_one(what, lambda: self.rest, lambda found: found.method == method)

    # What the lab tells.

    def log(self, record: Mapping[str, Any]) -> None:
        """A record of the call's evidence log was made."""
        facts = {key: value for key, value in record.items() if key not in ("event", "t_ms", "at")}
        made = LogRecord(record["event"], record["t_ms"], record["at"], facts)
        self.records.append(made)
        if made.event == "call":
            self.call_id = made.text("call_id")
        self.happened()

    def closed(self) -> None:
        """The call is over, and all about it is done."""
        self._closed = True
        self.happened()

    def happened(self) -> None:
        """Let every expectation that waits look again."""
        for look in tuple(self._watchers):
            look()

    # Scene.

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` after everything that happens."""
        self._watchers.append(look)

    def unwatch(self, look: Callable[[], None]) -> None:
        """Stop that."""
        self._watchers.remove(look)

    def failed(self, why: str) -> CallFailedError:
        """The error that tells of a failure, which is noted at the present place of the timeline."""
        self.marks.append(Mark(self.now_ms, why))
        return CallFailedError(why)

    def lines(self) -> list[Line]:
        """What the caller did and understood, for the timeline."""
        return [*self._done, *_said(self.telephone.words)]

    # Particulars.

    async def _speak(self, what: str, audio: bytes) -> None:
        began = self.now_ms
        await self._do(self.telephone.speech(audio))
        if self._keep_audio:
            self._done.append(Line(began, self.now_ms, "caller", "said", what))

    async def _do(self, turns: Iterator[Turn]) -> None:
        done = asyncio.Event()
        self.telephone.order(turns, done.set)
        await done.wait()

    def _find_words(self, wanted: Sequence[str]) -> Sequence[HeardWord] | None:
        words = self.telephone.words
        for start in range(self._word, len(words) - len(wanted) + 1):
            if all(_plain(words[start + at].text) == word for at, word in enumerate(wanted)):
                self._word = start + len(wanted)
                return words[start : start + len(wanted)]
        return None

    def _find_pattern(self, pattern: re.Pattern[str]) -> Sequence[HeardWord] | None:
        words = self.telephone.words[self._word :]
        found = pattern.search(_text(words))
        if found is None:
            return None
        before = _text(words)[: found.end()].count(" ")
        first = _text(words)[: found.start()].count(" ")
        self._word += before + 1
        return words[first : before + 1]

    def _heard_since(self) -> str:
        words = self.telephone.words[self._word :]
        heard = f"heard since: “{_text(words)}”" if words else "no word was heard since"
        return f"{heard} (at {self.now_ms / 1000:.2f} s of the call)"

    def _expect_one(
        self, what: str, among: Callable[[], Sequence[Any]], fits: Callable[[Any], bool]
    ) -> Expectation[Any]:
        def find() -> Any | None:
            for one in among():
                if fits(one) and not any(one is claimed for claimed in self._claimed):
                    self._claimed.append(one)
                    return one
            return None

        return Expectation(self, what, find)


def _text(words: Sequence[HeardWord]) -> str:
    return " ".join(word.text for word in words)


def _plain(word: str) -> str:
    """A word as it sounds: without case and punctuation; of what is nothing else, all of it."""
    folded = unicodedata.normalize("NFC", word).casefold()
    return "".join(char for char in folded if not unicodedata.category(char).startswith("P"))


def _says(found: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(key in found and found[key] == value for key, value in wanted.items())


def _listed(facts: Mapping[str, object]) -> str:
    return f" with {', '.join(f'{key}={value!r}' for key, value in facts.items())}" if facts else ""


_PAUSE_MS = 300


def _said(words: Sequence[HeardWord]) -> list[Line]:
    """The words as lines of the timeline: one for each stretch without a pause."""
    lines: list[Line] = []
    group: list[HeardWord] = []
    for word in words:
        if group and word.start_ms - group[-1].end_ms > _PAUSE_MS:
            lines.append(_line(group))
            group = []
        group.append(word)
    return [*lines, _line(group)] if group else lines


def _line(group: Sequence[HeardWord]) -> Line:
    return Line(group[0].start_ms, group[-1].end_ms, "app", "understood", f"is heard to say “{_text(group)}”")
