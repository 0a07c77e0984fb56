"""What a call does for the verbs that take input: it listens to the caller, and presses keys towards it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from bothway.audio.beep_reader import BeepReader, BeepSettings
from bothway.audio.format import FRAME_MS
from bothway.audio.level import THRESHOLD_DBFS, rms_dbfs
from bothway.carrier.performer import CallShell
from bothway.core.ears import DigitEar, Ear
from bothway.core.execution import VerbCommand, VerbEvent
from bothway.core.listening import (
    BeepHeard,
    EndSpeech,
    KeysPressed,
    Listen,
    PressKeys,
    SilenceHeard,
    SpeechHeard,
    SpeechOver,
    SpeechWanted,
    StopListening,
)
from bothway.core.media import Heard, Media, MediaEvent
from bothway.errors import ProviderError, UsageError
from bothway.speech.protocols import Transcript, Transcription

__all__ = ["Listening"]

_MOST_WAITING = 100
"""`<DTMF>` verbs whose keys may wait for those before them: more than any document that means it."""


class Listening:
    """The `Performer` of `<GetDigits>`, `<GetInput>`, `<Wait>` and `<DTMF>`.

    Args:
        call: Whose verbs they are.

    Attributes:
        commands: What does each of the verbs' commands.
    """

    def __init__(self, call: CallShell) -> None:
        self.commands: Mapping[type[VerbCommand], Callable[[Any], None]] = {
            Listen: self._listen,
            EndSpeech: self._end_speech,
            StopListening: self._stop_listening,
            PressKeys: self._press,
        }
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._ears: dict[str, Ear] = {}  # by what they listen for
        self._speech: Transcription | None = None
        self._understanding: asyncio.Task[None] | None = None
        self._deaf = False  # it was said that no speech is recognised
        self._to_press: deque[PressKeys] = deque()
        self._pressing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def media_event(self, event: MediaEvent) -> None:
        """An ear of this call's heard something. The call is told in the next round: the document may go on by it."""
        if isinstance(event, Heard) and isinstance(event.what, VerbEvent):
            self._loop.call_soon(self._tell, event.ear, event.what)

    def ended(self) -> None:
        """The call is over."""
        self._ears.clear()
        self._to_press.clear()
        for task in self._tasks:
            if task is not asyncio.current_task():  # what it told has ended the call: it closes its recogniser yet
                task.cancel()

    async def close(self) -> None:
        """Wait until the recogniser was told."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Listening.

    def _listen(self, command: Listen) -> None:
        media = self._call.media
        assert media is not None, "a verb that listens has picked up, or lets the caller hear"
        if not command.logged:
            self._call.report.hides_input = True
        rate = media.leg_format.rate
        if command.keys:
            self._add("keys", media, lambda: DigitEar(rate))
        if command.silence_ms is not None:
            silence_ms = command.silence_ms
            self._add("silence", media, lambda: _SilenceEar(silence_ms))
        if command.beep is not None:
            settings = command.beep
            self._add("beep", media, lambda: _BeepEar(rate, settings))
        if command.speech is not None and self._speech is None:
            self._transcribe(command.speech, media)

    def _add(self, name: str, media: Media, make: Callable[[], Ear]) -> None:
        if name not in self._ears:
            self._ears[name] = ear = make()
            media.add_ear(ear)

    def _drop(self, name: str) -> None:
        ear = self._ears.pop(name, None)
        if ear is not None and self._call.media is not None:
            self._call.media.remove_ear(ear)

    def _stop_listening(self, _: StopListening) -> None:
        self._end_speech(EndSpeech(drain=False))
        for name in list(self._ears):
            self._drop(name)
        self._call.report.hides_input = False

    def _tell(self, ear: Ear, event: VerbEvent) -> None:
        if ear in self._ears.values():  # the verb may be over by now
            self._call.tell(event)

    # Speech.

    def _transcribe(self, wanted: SpeechWanted, media: Media) -> None:
        ears = self._call.node.ears
        if ears is None:
            if not self._deaf:
                self._deaf = True
                self._call.report.remark("this carrier has no recogniser of speech: what the caller says is no input")
            return
        self._speech = speech = ears.transcribe(
            media.leg_format.rate,
            language=wanted.language,
            hints=wanted.hints,
            model=wanted.model,
            profanity_filter=wanted.profanity_filter,
        )
        self._add("speech", media, lambda: _SpeechEar(speech))
        self._understanding = self._spawn(partial(self._understand, speech), "speech")

    def _end_speech(self, command: EndSpeech) -> None:
        self._drop("speech")
        speech = self._speech
        if speech is None:
            if command.drain:  # it failed, and has nothing more to say
                self._loop.call_soon(self._call.tell, SpeechOver())
        elif command.drain:
            speech.finish()
        else:
            self._speech = None
            if self._understanding is not None and self._understanding is not asyncio.current_task():
                self._understanding.cancel()

    async def _understand(self, speech: Transcription) -> None:
        call = self._call
        try:
            async with aclosing(speech.transcripts()) as transcripts:
                async for transcript in transcripts:
                    self._understood(transcript)
                    if self._speech is not speech:
                        return  # by what was understood, no more is listened to
        except (ProviderError, UsageError) as error:
            call.report.remark(f"what the caller says is no input any more: {error}")
        finally:
            await speech.close()
        if self._speech is speech:
            self._speech = None
            self._drop("speech")
            call.tell(SpeechOver())

    def _understood(self, transcript: Transcript) -> None:
        if transcript.final and transcript.text:
            said = "redacted" if self._call.report.hides_input else transcript.text
            self._call.report.record("speech", text=said, confidence=round(transcript.confidence, 4))
        self._call.tell(
            SpeechHeard(
                transcript.text,
                transcript.final,
                utterance_over=transcript.utterance_over,
                confidence=transcript.confidence,
                stability=1.0 if transcript.final else transcript.stability,
            )
        )

    # Pressing keys.

    def _press(self, command: PressKeys) -> None:
        if len(self._to_press) >= _MOST_WAITING:
            self._call.report.remark(f"{_MOST_WAITING} <DTMF> wait for their turn already: one was not pressed")
            self._loop.call_soon(self._call.tell, KeysPressed(command))
            return
        self._to_press.append(command)
        if not self._pressing:
            self._pressing = True
            self._spawn(self._press_all, "keys")

    async def _press_all(self) -> None:
        while self._to_press:
            command = self._to_press.popleft()
            self._call.report.record("send_dtmf", digits=command.plan.keys)
            began = self._loop.time()
            for at_ms, key in command.plan.presses:
                await self._until(began + at_ms / 1000)
                self._call.leg.send_digits(key)
            await self._until(began + command.length_ms / 1000)
            self._call.tell(KeysPressed(command))
        self._pressing = False

    async def _until(self, at: float) -> None:
        await asyncio.sleep(at - self._loop.time())

    def _spawn(self, work: Callable[[], Any], name: str) -> asyncio.Task[None]:
        task = self._call.spawn(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _SilenceEar:
    """Tells once of a silence."""

    def __init__(self, silence_ms: int) -> None:
        self._silence_ms = silence_ms
        self._quiet_ms = 0
        self._told = False

    def feed(self, l16: bytes) -> Iterable[SilenceHeard]:
        """20 ms of the caller."""
        self._quiet_ms = 0 if rms_dbfs(l16) >= THRESHOLD_DBFS else self._quiet_ms + FRAME_MS
        if self._told or self._quiet_ms < self._silence_ms:
            return ()
        self._told = True
        return (SilenceHeard(),)


class _BeepEar:
    """Tells of beeps."""

    def __init__(self, rate: int, settings: BeepSettings) -> None:
        self._reader = BeepReader(rate, settings)

    def feed(self, l16: bytes) -> Iterable[BeepHeard]:
        """20 ms of the caller."""
        return () if self._reader.feed(l16) is None else (BeepHeard(),)


class _SpeechEar:
    """Passes the caller on to a recogniser, which tells in its own time."""

    def __init__(self, speech: Transcription) -> None:
        self._speech = speech

    def feed(self, l16: bytes) -> Iterable[VerbEvent]:
        """20 ms of the caller."""
        self._speech.feed(l16)
        return ()
