"""What REST plays and says over a live call (plivo-protocol.md, 5.5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

from bothway.carrier.call_report import CallReport
from bothway.carrier.node import Node
from bothway.carrier.prompts import prompt_audio
from bothway.core.media import Media, MediaEvent, OverlayPlayed
from bothway.errors import BothwayError
from bothway.runtime.http import redacted
from bothway.wire.verbs import Play, Speak

__all__ = ["CallOverlay", "OverlayCall", "OverlayKind"]


OverlayKind: TypeAlias = Literal["play", "speak"]
"""Which of the two REST resources began it, and so which of them stops it."""

logger = logging.getLogger(__name__)


class OverlayCall(Protocol):
    """The call that is played over.

    Attributes:
        node: What all calls share.
        call_id: Its UUID.
        media: Its audio; None until there is any.
        report: Where what happens is told.
    """

    node: Node
    call_id: str
    media: Media | None
    report: CallReport

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a task of the call's."""


class CallOverlay:
    """One thing at a time is laid over a call: the next one takes its place.

    Args:
        call: The call.
    """

    def __init__(self, call: OverlayCall) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._kind: OverlayKind | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard: asyncio.Event | None = None
        self._count = 0

    def begin(
        self, kind: OverlayKind, prompts: Sequence[Play | Speak], *, replace: bool, loop: bool, seconds: float | None
    ) -> None:
        """Let the caller hear `prompts`, one after another.

        Args:
            kind: Who asked.
            prompts: What to play or say.
            replace: Whether nothing else is heard meanwhile.
            loop: Whether it begins again until it is stopped.
            seconds: After which it is stopped; None for its own end.
        """
        self.stop()
        self._kind = kind
        self._task = self._call.spawn(partial(self._run, prompts, replace, loop, seconds), kind)

    def stop(self, kind: OverlayKind | None = None) -> None:
        """Stop what was begun; with `kind`, only what that began."""
        if kind is not None and kind != self._kind:
            return
        self._kind = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._call.media is not None:
            self._call.media.stop_overlay()

    def media_event(self, event: MediaEvent) -> None:
        """Something happened to the call's audio."""
        if isinstance(event, OverlayPlayed) and event.overlay_id == str(self._count) and self._heard is not None:
            self._heard.set()

    async def _run(self, prompts: Sequence[Play | Speak], replace: bool, loop: bool, seconds: float | None) -> None:
        kind = self._kind
        try:
            async with asyncio.timeout(seconds):
                again = True
                while again:
                    again = await self._once(prompts, replace=replace) and loop
        except TimeoutError:
            if self._call.media is not None:
                self._call.media.stop_overlay()
        self._call.report.record("overlay_ended", kind=kind)

    async def _once(self, prompts: Sequence[Play | Speak], *, replace: bool) -> bool:
        """Play each of them to its end. Whether there was anything to hear."""
        heard = False
        for prompt in prompts:
            media = self._call.media
            if media is None or self._call.over:
                return False
            what = redacted(prompt.url) if isinstance(prompt, Play) else prompt.plain()
            self._call.report.record("overlay", element=type(prompt).__name__, text=what)
            try:
                queued = False
                async with aclosing(prompt_audio(self._call.node, prompt, media.leg_format)) as chunks:
                    async for chunk in chunks:
                        queued = media.overlay(chunk, replace=replace) and (queued or bool(chunk))
            except BothwayError as error:
                self._call.report.record("overlay_failed", text=str(error))
                logger.warning("call %s: what REST wants played cannot be had: %s", self._call.call_id, error)
                continue
            if queued:
                heard = True
                self._count += 1
                self._heard = asyncio.Event()
                media.end_overlay(str(self._count), self._loop.time())
                await self._heard.wait()
        return heard
