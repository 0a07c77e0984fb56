"""`<Record>`: record the caller, or the whole call in the background (plivo-protocol.md, 7.3 and 6.5).

A plain `<Record>` records the caller alone, behind its beep: until one of the keys that end it is pressed, the caller
has been quiet for `timeout`, or `maxLength` is reached. Its action is asked when the recording is complete. So it is
when the caller hangs up in the middle, which is how most messages end; then nothing waits for what it answers.

With `recordSession` both sides are recorded from here on, with `startOnDialAnswer` from the moment at which a later
`<Dial>` joins somebody: in the background, to the end of the call or `maxLength`, and without a beep, which would be a
sound in the middle of a conversation. Their action is asked at once.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import cast

from bothway.core.execution import (
    Beep,
    DigitPressed,
    Execution,
    PromptEnded,
    VerbEvent,
    Wait,
)
from bothway.core.listening import Listen, SilenceHeard, StopListening
from bothway.core.recording import (
    Channels,
    FileFormat,
    FinishRecording,
    RecordingBegun,
    RecordingComplete,
    RecordingFacts,
    RecordingFull,
    RecordingRefused,
    RecordingReport,
    RecordOrder,
    StartRecording,
    recording_params,
)
from bothway.wire.verbs import Record

__all__ = ["execute"]


def execute(verb: Record, call: Execution, now: float) -> Wait:
    """Pick up, and record."""
    call.answer()
    machine = _Recording(verb, call)
    waits_for = call.begin(machine)
    machine.start()
    return waits_for


class _Phase(Enum):
    BEEP = auto()
    RECORDING = auto()
    CLOSING = auto()  # the file is being finished


class _Recording:
    """The machine of one `<Record>`."""

    def __init__(self, verb: Record, call: Execution) -> None:
        self._verb = verb
        self._call = call
        self._phase = _Phase.BEEP
        self._beep = ""
        self._recording_id = ""
        self._key = ""

    def start(self) -> None:
        """The beep, where there is one."""
        verb = self._verb
        if verb.start_on_dial_answer or verb.record_session:
            self._phase = _Phase.RECORDING
            self._call.send(StartRecording(_order(verb), "dial" if verb.start_on_dial_answer else "session"))
        elif verb.play_beep:
            self._beep = self._call.say(Beep())
        else:
            self._record()

    def receive(self, event: VerbEvent, now: float) -> None:
        """Something happened."""
        transition = _TRANSITIONS.get((self._phase, type(event)))
        if transition is not None:
            transition(self, event)

    def stop(self, now: float) -> None:
        """The call ends, or goes elsewhere: so does what it waits for, but not what goes on in the background."""
        if self._is_background:
            return
        self._call.send(StopListening())
        if self._recording_id:
            ends = self._call.end_cause is not None and self._verb.action is not None
            report = RecordingReport(self._verb.action or "", self._verb.method, self._key) if ends else None
            self._call.send(FinishRecording(self._recording_id, report))

    @property
    def _is_background(self) -> bool:
        return self._verb.record_session or self._verb.start_on_dial_answer

    def _record(self) -> None:
        verb = self._verb
        self._phase = _Phase.RECORDING
        self._call.send(StartRecording(_order(verb), "caller"))
        self._call.send(Listen(keys=bool(verb.finish_on_key), silence_ms=verb.timeout * 1000))

    def _on_beep(self, event: PromptEnded) -> None:
        if event.prompt_id == self._beep:
            self._record()

    def _on_begun(self, event: RecordingBegun) -> None:
        self._recording_id = event.facts.recording_id
        if self._is_background:
            self._follow(event.facts)

    def _on_refused(self, event: RecordingRefused) -> None:
        self._call.send(StopListening())
        self._call.remark(f"<Record> records nothing: {event.text}")
        self._call.finish()

    def _on_key(self, event: DigitPressed) -> None:
        if event.digit in self._verb.finish_on_key:
            self._key = event.digit
            self._close()

    def _on_silence(self, event: SilenceHeard) -> None:
        self._close()

    def _on_full(self, event: RecordingFull) -> None:
        if event.recording_id == self._recording_id:
            self._close()

    def _on_complete(self, event: RecordingComplete) -> None:
        if event.facts.recording_id == self._recording_id:
            self._follow(event.facts)

    def _close(self) -> None:
        self._phase = _Phase.CLOSING
        self._call.send(StopListening())
        self._call.send(FinishRecording(self._recording_id))

    def _follow(self, facts: RecordingFacts) -> None:
        verb = self._verb
        params = recording_params(facts) | {"Digits": self._key}
        self._call.follow("Record", verb.action, verb.method, redirect=verb.redirect, params=params)


def _order(verb: Record) -> RecordOrder:
    return RecordOrder(
        file_format=cast("FileFormat", verb.file_format),
        channels=cast("Channels", verb.record_channel_type),
        seconds=verb.max_length,
        callback_url=verb.callback_url,
        callback_method=verb.callback_method,
        transcription_url=verb.transcription_url,
        transcription_method=verb.transcription_method,
    )


_TRANSITIONS: dict[tuple[_Phase, type[VerbEvent]], Callable[..., None]] = {
    (_Phase.BEEP, PromptEnded): _Recording._on_beep,  # noqa: SLF001 - the class's own table
    (_Phase.RECORDING, RecordingBegun): _Recording._on_begun,  # noqa: SLF001
    (_Phase.RECORDING, RecordingRefused): _Recording._on_refused,  # noqa: SLF001
    (_Phase.RECORDING, DigitPressed): _Recording._on_key,  # noqa: SLF001
    (_Phase.RECORDING, SilenceHeard): _Recording._on_silence,  # noqa: SLF001
    (_Phase.RECORDING, RecordingFull): _Recording._on_full,  # noqa: SLF001
    (_Phase.CLOSING, RecordingComplete): _Recording._on_complete,  # noqa: SLF001
}
