"""The seam between a call and what performs its verbs: recordings, dialled legs, conferences, ears.

A verb's machine (core/verbs) asks for things by commands of its own. Each `Performer` of a call knows some of those
commands, does them, and tells the call what came of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeAlias

from bothway.carrier.call_report import CallReport
from bothway.carrier.config import Account
from bothway.carrier.leg import Leg
from bothway.carrier.node import Node
from bothway.core.execution import VerbCommand, VerbEvent
from bothway.core.media import Media, MediaEvent
from bothway.wire.hangup import HangupCause
from bothway.wire.webhooks import CallFacts

__all__ = ["CallShell", "Performer", "PerformerFactory"]


class CallShell(Protocol):
    """What a performer may use of its call.

    Attributes:
        node: What all calls share.
        call_id: The call's UUID.
        account: Whose call it is.
        facts: What every webhook says of it.
        leg: The call's own party.
        media: The call's audio; None until there is any.
        report: Where what happens is told.
    """

    node: Node
    call_id: str
    account: Account
    facts: CallFacts
    leg: Leg
    media: Media | None
    report: CallReport

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        ...

    def tell(self, event: VerbEvent) -> None:
        """Something happened that the running verb may be waiting for."""

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a task; a fault in it ends this call (5010), and no other."""

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End the call."""


class Performer(Protocol):
    """Does some commands of one call.

    Attributes:
        commands: What does each command that this performer knows.
    """

    commands: Mapping[type[VerbCommand], Callable[[Any], None]]

    def media_event(self, event: MediaEvent) -> None:
        """Something happened to the call's audio."""

    def ended(self) -> None:
        """The call is over: let go of everything at once."""

    async def close(self) -> None:
        """Wait for what has to be finished after the call: files, callbacks. The call is accounted for after it."""


PerformerFactory: TypeAlias = Callable[[CallShell], Performer]
"""Makes the performer of a call that is about to start."""
