"""An `Execution` that notes what it is asked: all that an executor can do, and nothing else."""

from __future__ import annotations

from bothway.core.execution import DocumentKind, Wait
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream


class Recorder:
    """Answers as a call with room for `streams_allowed` streams would."""

    def __init__(self, *, answered: bool = False, open_streams: int = 0, streams_allowed: int = 1) -> None:
        self.answered = answered
        self.open_streams = open_streams
        self.streams_allowed = streams_allowed
        self.asked: list[tuple[object, ...]] = []

    def answer(self) -> None:
        self.answered = True
        self.asked.append(("answer",))

    def fetch(self, kind: DocumentKind, url: str, method: str) -> Wait:
        self.asked.append(("fetch", kind, url, method))
        return Wait.FETCH

    def prompt(self, verb: Speak | Play) -> Wait:
        self.asked.append(("prompt", verb))
        return Wait.PROMPT

    def wait_for(self, seconds: float, now: float) -> Wait:
        self.asked.append(("wait_for", seconds, now))
        return Wait.TIMER

    def open_stream(self, verb: Stream) -> None:
        self.asked.append(("open_stream", verb))

    def refuse_stream(self, verb: Stream, reason: str) -> None:
        self.asked.append(("refuse_stream", verb, reason))

    def end_after(self, seconds: float, now: float) -> None:
        self.asked.append(("end_after", seconds, now))

    def end(self, cause: HangupCause, detail: str = "") -> Wait:
        self.asked.append(("end", cause.code, cause.source, detail))
        return Wait.END

    def remark(self, text: str) -> None:
        self.asked.append(("remark", text))
