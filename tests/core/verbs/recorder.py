"""An `Execution` that notes what it is asked: all that an executor can do, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bothway.core.execution import CallBack, DocumentKind, Prompted, VerbCommand, VerbMachine, Wait
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Play, Speak, Stream, Verb


class Recorder:
    """Answers as a call with room for `streams_allowed` streams would."""

    def __init__(self, *, answered: bool = False, open_streams: int = 0, streams_allowed: int = 1) -> None:
        self.answered_at = 1.0 if answered else None
        self._too_many = "too many" if open_streams >= streams_allowed else None
        self.end_cause: HangupCause | None = None
        self.asked: list[tuple[object, ...]] = []

    def too_many_streams(self, verb: Stream) -> str | None:
        return self._too_many

    def answer(self) -> None:
        self.answered_at = self.answered_at or 1.0
        self.asked.append(("answer",))

    def early_media(self) -> None:
        self.asked.append(("early_media",))

    def pre_answer(self, verbs: Sequence[Verb]) -> None:
        self.asked.append(("pre_answer", *verbs))

    def begin(self, machine: VerbMachine) -> Wait:
        self.asked.append(("begin", machine))
        return Wait.VERB

    def finish(self) -> None:
        self.asked.append(("finish",))

    def follow(
        self, element: str, action: str | None, method: str, *, redirect: bool, params: Mapping[str, str]
    ) -> None:
        self.asked.append(("follow", element, action, method, redirect, dict(params)))

    def send(self, command: VerbCommand | CallBack) -> None:
        self.asked.append(("send", command))

    def say(self, prompt: Prompted) -> str:
        self.asked.append(("say", prompt))
        return str(len(self.asked))

    def hush(self) -> None:
        self.asked.append(("hush",))

    def set_timer(self, name: str, at: float | None) -> None:
        self.asked.append(("set_timer", name, at))

    def fetch(
        self, kind: DocumentKind, url: str, method: str, *, event: str = "", params: Mapping[str, str] | None = None
    ) -> Wait:
        self.asked.append(("fetch", kind, url, method))
        return Wait.FETCH

    def prompt(self, verb: Speak | Play) -> Wait:
        self.asked.append(("prompt", verb))
        return Wait.PROMPT

    def wait_for(self, seconds: float, now: float) -> Wait:
        self.asked.append(("wait_for", seconds, now))
        return Wait.TIMER

    def open_stream(self, verb: Stream) -> int:
        self.asked.append(("open_stream", verb))
        return 1

    def refuse_stream(self, verb: Stream, reason: str) -> None:
        self.asked.append(("refuse_stream", verb, reason))

    def end_after(self, seconds: float, now: float) -> None:
        self.asked.append(("end_after", seconds, now))

    def end(self, cause: HangupCause, detail: str = "") -> Wait:
        self.asked.append(("end", cause.code, cause.source, detail))
        return Wait.END

    def remark(self, text: str) -> None:
        self.asked.append(("remark", text))
