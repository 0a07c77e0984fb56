"""The recordings of one call: of its `<Record>` verbs, and those that REST asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bothway.carrier.api.switch import RecordRequest, RefusedError
from bothway.carrier.performer import CallShell
from bothway.carrier.recordings import (
    FOLDER,
    Layout,
    OpenRecording,
    UnfinishedRecording,
    both_apart,
    both_mixed,
    first_alone,
    first_left,
)
from bothway.carrier.store.records import RecordingRecord
from bothway.core.execution import VerbCommand
from bothway.core.media import MediaEvent
from bothway.core.recording import (
    FinishRecording,
    RecordingBegun,
    RecordingComplete,
    RecordingFacts,
    RecordingFull,
    RecordingRefused,
    RecordingReport,
    RecordOrder,
    Scope,
    StartRecording,
    recording_params,
)
from bothway.wire.webhooks import standard_params

__all__ = ["MOST_RECORDINGS", "Recorder"]

MOST_RECORDINGS = 10
"""Recordings of one call at a time: more than anybody means to make."""

_ELEMENT = "Record"


@dataclass(eq=False)
class _Running:
    """A recording that is under way, or waits for somebody to be dialled.

    Attributes:
        recording_id: Its UUID.
        order: How it was asked for.
        scope: What is recorded; None what REST asked for: both sides, from now on.
        tape: Its file, once it has begun.
        report: Who is to be told besides, when it is complete.
    """

    recording_id: str
    order: RecordOrder
    scope: Scope | None
    tape: OpenRecording | None = field(default=None)
    report: RecordingReport | None = field(default=None)


class Recorder:
    """The `Performer` of `<Record>`, and what REST records the call with.

    Args:
        call: What is recorded.

    Attributes:
        commands: What does each of the verb's commands.
    """

    def __init__(self, call: CallShell) -> None:
        self.commands: Mapping[type[VerbCommand], Callable[[Any], None]] = {
            StartRecording: self._start,
            FinishRecording: self._finish,
        }
        self._call = call
        self._running: dict[str, _Running] = {}  # until its end
        self._finishing: dict[str, _Running] = {}  # until it is complete
        self._tasks: set[asyncio.Task[None]] = set()

    def media_event(self, event: MediaEvent) -> None:
        """Recordings have the audio itself."""

    def dial_connected(self) -> None:
        """A `<Dial>` of this call has joined somebody: what waits for that begins."""
        for running in self._running.values():
            if running.tape is None:
                self._begin(running)

    def ended(self) -> None:
        """The call is over, and with it every recording."""
        for running in list(self._running.values()):
            self._end(running)

    async def close(self) -> None:
        """Wait until every recording is complete."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What REST asks.

    async def start_by_request(self, request: RecordRequest) -> str:
        """Record both sides from now on. Gives the recording's id.

        Raises:
            RefusedError: The call has no audio, or too many recordings.
        """
        problem = self._problem()
        if problem is not None:
            raise RefusedError(problem, reason="conflict")
        order = RecordOrder(
            file_format=request.file_format,
            channels=request.channels,
            seconds=request.time_limit,
            callback_url=request.callback_url,
            callback_method=request.callback_method,
            transcription_url=request.transcription_url if request.transcription is not None else None,
            transcription_method=request.transcription_method,
        )
        return self._add(order, None).recording_id

    def stop_by_request(self, recording_id: str | None) -> bool:
        """Stop a recording, or all that go on in the background. Gives whether there was any.

        One that a `<Record>` waits for is stopped by its id alone: then the document goes on.
        """
        if recording_id is None:
            chosen = [running for running in self._running.values() if running.scope != "caller"]
        else:
            chosen = [running for running in self._running.values() if running.recording_id == recording_id]
        for running in chosen:
            self._stop(running)
        return bool(chosen)

    # What the verb asks.

    def _start(self, command: StartRecording) -> None:
        problem = self._problem()
        if problem is not None:
            self._call.tell(RecordingRefused(problem))
            return
        running = self._add(command.order, command.scope)
        call = self._call
        url = call.node.recordings.url(call.account.auth_id, running.recording_id, command.order.file_format)
        call.tell(RecordingBegun(RecordingFacts(running.recording_id, url)))

    def _finish(self, command: FinishRecording) -> None:
        found = self._running.get(command.recording_id) or self._finishing.get(command.recording_id)
        if found is not None:
            found.report = command.report
            self._end(found)

    # Recording.

    def _problem(self) -> str | None:
        if self._call.media is None or self._call.over:
            return "a call is recorded from its answer to its end"
        if len(self._running) >= MOST_RECORDINGS:
            return f"this call has {len(self._running)} recordings under way, and no more are made of it"
        return None

    def _add(self, order: RecordOrder, scope: Scope | None) -> _Running:
        running = _Running(self._call.node.ids.uuid(), order, scope)
        self._running[running.recording_id] = running
        if scope != "dial":
            self._begin(running)
        return running

    def _begin(self, running: _Running) -> None:
        call, media = self._call, self._call.media
        assert media is not None, "a call that is recorded has audio"
        unfinished = self._unfinished(running)
        running.tape = call.node.recordings.begin(
            unfinished,
            _layout(running),
            media.leg_format,
            on_full=partial(self._stop, running),
            note=self._note,
        )
        media.add_tap(running.tape)
        call.report.record(
            "recording_started",
            recording_id=running.recording_id,
            format=running.order.file_format,
            channels=running.order.channels,
        )

    def _note(self, event: str, **facts: object) -> None:
        if event == "recording_failed":
            self._call.node.metrics.evidence_write_failures.inc()
        self._call.report.record(event, **facts)

    def _unfinished(self, running: _Running) -> UnfinishedRecording:
        call, order = self._call, running.order
        account, facts = call.account, call.facts
        record = RecordingRecord(
            recording_id=running.recording_id,
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            add_time=facts.session_start,
            path=f"{FOLDER}/{account.auth_id}/{running.recording_id}.{order.file_format}",
            recording_format=order.file_format,
            channels=1 if order.channels == "mono" else 2,
            start_ms=round(time.time() * 1000),
            recording_type="call" if running.scope is None else "normal",
            call_uuid=call.call_id,
            from_number=facts.from_,
            to_number=facts.to,
        )
        # Its process may be killed, and the call with it: this is what would be told then.
        params = standard_params(facts, event=_ELEMENT, status="completed")
        return UnfinishedRecording(record, order, account.auth_id, call.node.name, params)

    def _stop(self, running: _Running) -> None:
        """It is as long as it may be, or REST has stopped it."""
        if running.scope == "caller":
            self._call.tell(RecordingFull(running.recording_id))  # its machine ends it, and waits for it
        else:
            self._end(running)

    def _end(self, running: _Running) -> None:
        """Record no more, and see the recording to its end; a second time does nothing."""
        if self._running.pop(running.recording_id, None) is None or running.tape is None:
            return
        if self._call.media is not None:
            self._call.media.remove_tap(running.tape)
        self._finishing[running.recording_id] = running
        task = self._call.spawn(partial(self._complete, running, running.tape), f"recording {running.recording_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _complete(self, running: _Running, tape: OpenRecording) -> None:
        call = self._call
        told = await tape.finish({"CallStatus": self._status()})
        del self._finishing[running.recording_id]
        report, unsent = running.report, told.unsent
        if unsent is not None:
            call.report.webhooks.call_back(unsent.kind, unsent.url, unsent.method, unsent.params)
        if report is not None:
            self._tell_action(report, told.facts)
        elif running.scope == "caller":
            call.tell(RecordingComplete(told.facts))

    def _tell_action(self, report: RecordingReport, facts: RecordingFacts) -> None:
        """The call has ended in the middle of a `<Record>`: its action hears of it, and nobody of its answer."""
        call = self._call
        if not report.url.startswith(("http://", "https://")) or report.method not in {"GET", "POST"}:
            call.report.remark("the action of <Record> is no http or https URL, or its method neither GET nor POST")
            return
        params = standard_params(call.facts, event=_ELEMENT, status=self._status())
        params |= recording_params(facts) | {"Digits": report.digits}
        call.report.deliver("action", report.url, report.method, params)

    def _status(self) -> str:
        return "completed" if self._call.over else "in-progress"


def _layout(running: _Running) -> Layout:
    """A `<Record>` that the document waits for has the caller alone, and a silent right side if it has one."""
    stereo = running.order.channels == "stereo"
    if running.scope == "caller":
        return first_left if stereo else first_alone
    return both_apart if stereo else both_mixed
