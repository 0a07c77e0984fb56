"""What a call does for `<Conference>`: it goes into the node's conference of that name, and comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bothway.carrier.conferences import LiveMember
from bothway.carrier.performer import CallShell
from bothway.core.conference import ConferenceRefused, JoinConference, LeaveConference, RelayDigit
from bothway.core.execution import VerbCommand
from bothway.core.media import MediaEvent
from bothway.errors import UsageError

__all__ = ["Conferring"]


class Conferring:
    """The `Performer` of `<Conference>`.

    Args:
        call: Whose verbs they are.

    Attributes:
        commands: What does each of the verb's commands.
    """

    def __init__(self, call: CallShell) -> None:
        self.commands: Mapping[type[VerbCommand], Callable[[Any], None]] = {
            JoinConference: self._join,
            LeaveConference: self._leave,
            RelayDigit: self._relay,
        }
        self._call = call
        self._member: LiveMember | None = None  # where it was last, and may be no more

    def media_event(self, event: MediaEvent) -> None:
        """The room does without."""

    def ended(self) -> None:
        """The call is over. Its machine has left by now."""

    async def close(self) -> None:
        """Wait for the recording of a conference that is over."""
        if self._member is not None and self._member.conference.core.over:
            await self._member.conference.finished()

    def _join(self, command: JoinConference) -> None:
        try:
            self._member = self._call.owner.conferences.join(self._call, command.verb)
        except UsageError as error:
            self._call.tell(ConferenceRefused(str(error)))

    def _leave(self, _: LeaveConference) -> None:
        if self._member is not None:
            self._member.conference.leave(self._member)

    def _relay(self, command: RelayDigit) -> None:
        if self._member is not None:
            self._member.conference.relay(self._member, command.digit)
