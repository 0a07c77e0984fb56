"""Fetches side documents for the verbs of a call: what is heard while it rings, waits or is asked to confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bothway.carrier.performer import CallShell
from bothway.core.execution import VerbCommand
from bothway.core.media import MediaEvent
from bothway.core.side_document import FetchSounds, SoundsFetched, SoundsMissing
from bothway.errors import BothwayError
from bothway.wire.webhooks import standard_params

__all__ = ["SideDocuments"]


class SideDocuments:
    """The `Performer` of `FetchSounds`.

    Args:
        call: Whose verbs they are for.

    Attributes:
        commands: What does the one command.
    """

    def __init__(self, call: CallShell) -> None:
        self.commands: Mapping[type[VerbCommand], Callable[[Any], None]] = {FetchSounds: self._fetch}
        self._call = call
        self._tasks: set[asyncio.Task[None]] = set()

    def media_event(self, event: MediaEvent) -> None:
        """Audio does not matter here."""

    def ended(self) -> None:
        """The call is over: nobody waits for a document."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Nothing is left to be finished."""

    def _fetch(self, command: FetchSounds) -> None:
        task = self._call.spawn(partial(self._get, command), "side document")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get(self, command: FetchSounds) -> None:
        call = self._call
        status = "in-progress" if call.core.answered_at is not None else "ringing"
        params = standard_params(call.facts, event=command.event, status=status)
        try:
            body = await call.report.webhooks.fetch("sounds", command.url, "POST", params)
        except BothwayError as error:
            call.report.record("document_failed", kind=command.event, text=str(error))
            call.tell(SoundsMissing(command.url, str(error)))
        else:
            call.report.record("document", kind=command.event, bytes=len(body))
            call.tell(SoundsFetched(command.url, body))
