"""What a call's document asks of the world: the next document, a callback, something for the caller to hear."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from bothway.audio.format import L16_8K
from bothway.audio.tones import beep, ringback
from bothway.audio.transcode import convert
from bothway.carrier.call_report import CallReport
from bothway.carrier.node import Node
from bothway.carrier.prompts import prompt_audio
from bothway.core.call import Call
from bothway.core.execution import Beep, CallBack, DocumentKind, Fetch, Prompt, Ringback, StopPrompt
from bothway.core.media import Media
from bothway.errors import BothwayError, UsageError
from bothway.runtime.http import redacted
from bothway.wire.verbs import Play, Speak
from bothway.wire.webhooks import CallFacts, answer_params, standard_params, unanswered_status

__all__ = ["CallDocuments", "DocumentCall"]

logger = logging.getLogger(__name__)


class DocumentCall(Protocol):
    """The call that the document belongs to.

    Attributes:
        node: What all calls share.
        call_id: Its UUID.
        facts: What every webhook says of it.
        media: Its audio; None until there is any.
        report: Where what happens is told.
    """

    node: Node
    call_id: str
    facts: CallFacts
    media: Media | None
    report: CallReport

    def after_input(self) -> None:
        """The call machine was told something: do what it asks for."""

    def note(self, media: Media) -> None:
        """The media machine was told something: note what happened."""

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a task of the call's."""


class CallDocuments:
    """Fetches the documents of one call, and says its prompts.

    Args:
        call: Whose they are.
        core: Its call machine.
    """

    def __init__(self, call: DocumentCall, core: Call) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._core = core
        self._fetch: asyncio.Task[None] | None = None
        self._prompt: asyncio.Task[None] | None = None

    def fetch(self, command: Fetch) -> None:
        """Get a document. One that is on its way is not waited for any more."""
        self._cancel_fetch()
        self._fetch = self._call.spawn(partial(self._get, command), "document")

    def call_back(self, command: CallBack) -> None:
        """Tell a URL something."""
        call = self._call
        params = standard_params(call.facts, event=command.event, status=self._status())
        call.report.webhooks.call_back(command.kind, command.url, command.method, params | dict(command.params))

    def say(self, command: Prompt) -> None:
        """Let the caller hear something."""
        self._prompt = self._call.spawn(partial(self._play, command), "prompt")

    def stop_prompt(self, _: StopPrompt) -> None:
        """Let the caller hear no more of it."""
        if self._prompt is not None and self._prompt is not asyncio.current_task():
            self._prompt.cancel()
        self._prompt = None
        if self._call.media is not None:
            self._call.media.stop_prompts()

    def end(self) -> None:
        """The call is over."""
        self._cancel_fetch()

    def _cancel_fetch(self) -> None:
        if self._fetch is not None and self._fetch is not asyncio.current_task():
            self._fetch.cancel()

    async def _get(self, fetch: Fetch) -> None:
        call, kind = self._call, fetch.kind.word
        if fetch.kind in (DocumentKind.ANSWER, DocumentKind.FALLBACK):
            params = answer_params(call.facts)
        else:
            params = standard_params(call.facts, event=fetch.event or "Redirect", status=self._status())
        began = self._loop.time()
        try:
            body = await call.report.webhooks.fetch(kind, fetch.url, fetch.method, params | dict(fetch.params))
        except BothwayError as error:
            call.report.record("document_failed", kind=kind, text=str(error))
            self._core.receive_failure(fetch.fetch_id, str(error), self._loop.time())
        else:
            took = round((self._loop.time() - began) * 1000, 1)
            call.report.record("document", kind=kind, bytes=len(body), ms=took)
            self._core.receive_document(fetch.fetch_id, body, self._loop.time())
        call.after_input()

    def _status(self) -> str:
        if self._core.end_cause is not None:
            return "completed" if self._core.answered_at is not None else unanswered_status(self._core.end_cause)
        return "in-progress" if self._core.answered_at is not None else "ringing"

    async def _play(self, prompt: Prompt) -> None:
        call, media, verb = self._call, self._call.media, prompt.verb
        assert media is not None, "a prompt follows the answer, or early media"
        if isinstance(verb, Beep):
            tone = ringback if isinstance(verb, Ringback) else beep
            heard = media.play_prompt(convert(tone(L16_8K.rate), L16_8K, media.leg_format))
        else:
            heard = await self._queue(verb, media)
        if heard:
            media.end_prompt(prompt.prompt_id, self._loop.time())
            call.note(media)
        else:
            self._core.receive_prompt_end(prompt.prompt_id, self._loop.time(), heard=False)
            call.after_input()

    async def _queue(self, verb: Speak | Play, media: Media) -> bool:
        """Queue a prompt's audio as it comes. Whether there is something to hear, all of it."""
        call, heard = self._call, False
        what = redacted(verb.url) if isinstance(verb, Play) else verb.plain()
        call.report.record("prompt", element=type(verb).__name__, text=what)
        try:
            async with aclosing(prompt_audio(call.node, verb, media.leg_format)) as chunks:
                async for chunk in chunks:
                    if not media.play_prompt(chunk):
                        raise UsageError("the prompt is too long to be queued")
                    heard = heard or bool(chunk)
            if not heard:  # an endless loop of it would fetch or say it again without a pause
                raise UsageError("there is nothing to hear in it")
        except BothwayError as error:
            call.report.record("prompt_failed", text=str(error))
            logger.warning("call %s: a prompt could not be made: %s", call.call_id, error)
            return False
        return True
