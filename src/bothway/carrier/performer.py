"""The seam between a call and what performs its verbs: recordings, dialled legs, conferences, ears.

A verb's machine (core/verbs) asks for things by commands of its own. Each `Performer` of a call knows some of those
commands, does them, and tells the call what came of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from bothway.carrier.call_order import CallOrder, CallWatcher, Party
from bothway.carrier.call_overlay import CallOverlay
from bothway.carrier.call_report import CallReport
from bothway.carrier.conferences import Conferences
from bothway.carrier.config import Account
from bothway.carrier.leg import CalledLeg, Leg, Summons
from bothway.carrier.lines import Lines
from bothway.carrier.node import Node
from bothway.core.call import Call
from bothway.core.execution import VerbCommand, VerbEvent
from bothway.core.media import Media, MediaEvent
from bothway.wire.hangup import HangupCause
from bothway.wire.webhooks import CallFacts

__all__ = ["CallOwner", "CallShell", "Performer", "PerformerFactory", "PlacedCall"]


class PlacedCall(Protocol):
    """A call that was placed, as whoever had it dialled sees it.

    Attributes:
        node: What all calls share.
        call_id: Its UUID.
        account: Whose call it is.
        facts: What every webhook says of it.
        leg: Its party.
        media: Its audio; None until there is any.
        report: Where what happens on it is told.
        core: Its call machine. Whoever tells it something calls `after_input` behind that.
    """

    node: Node
    call_id: str
    account: Account
    facts: CallFacts
    leg: Leg
    media: Media | None
    report: CallReport
    core: Call

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        ...

    def after_input(self) -> None:
        """The call machine was told something: do what it asks for."""

    def note(self, media: Media) -> None:
        """The media machine was told something: note what happened."""

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a task; a fault in it ends this call (5010), and no other."""

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End it."""


_Call_contra = TypeVar("_Call_contra", contravariant=True)


class CallOwner(Protocol[_Call_contra]):
    """Whoever keeps the node's calls, and places others.

    Attributes:
        lines: Says how destinations are reached.
        conferences: Those of the node.
    """

    lines: Lines
    conferences: Conferences

    def call_ended(self, call: _Call_contra) -> None:
        """The call is over and all of it is accounted for."""

    def dial(
        self,
        leg: CalledLeg,
        summons: Summons,
        party: Party,
        order: CallOrder,
        account: Account,
        *,
        call_id: str = "",
        watcher: CallWatcher | None = None,
    ) -> PlacedCall:
        """Place a call to the party of `leg`; see `Switchboard.dial`."""
        ...


class CallShell(PlacedCall, Protocol):
    """What a performer may use of its call.

    Attributes:
        owner: Places other calls.
        watcher: Who had this call dialled, if another call did.
        far_leg: The other leg, while a `<Dial>` of this call has joined one: a call as this one.
        overlay: What REST plays and says over it.
    """

    owner: CallOwner[Any]
    overlay: CallOverlay
    watcher: CallWatcher | None
    far_leg: Any

    def tell(self, event: VerbEvent) -> None:
        """Something happened that the running verb may be waiting for."""

    def dial_connected(self) -> None:
        """A `<Dial>` of this call has joined another leg to it."""


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
