"""Control of a live call by the carrier's REST API (plivo-protocol.md, 5.5)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bothway.app.documents import document_url
from bothway.app.rest import VoiceApi
from bothway.app.rest_values import RecordingStarted, RecordOptions
from bothway.errors import UsageError
from bothway.wire.verbs import Verb

__all__ = ["PlivoControl"]


class PlivoControl:
    """What a `Call` can have done to itself beside its stream.

    Args:
        rest: The account's REST API.
        secret: What the tokens of documents are made with.
    """

    def __init__(self, rest: VoiceApi, secret: bytes) -> None:
        self._rest = rest
        self._secret = secret

    async def hangup(self, call_id: str) -> None:
        """End a call; one that has ended already is no error.

        Raises:
            UsageError: There is no auth id or no auth token.
            PeerError: The carrier refused, or did not answer.
        """
        await self._rest.calls.hangup(call_id)

    async def transfer(self, call_id: str, to: str | Sequence[Verb], app_url: str) -> None:
        """Give a call another document.

        Args:
            call_id: Which.
            to: The URL of the document, or the document.
            app_url: Where the app is for the carrier; a document is served there.

        Raises:
            UsageError: As `hangup`; or it is not known where the app is, or the document cannot be written.
            PeerError: As `hangup`.
        """
        if not isinstance(to, str):
            if not app_url:
                raise UsageError(
                    "a stream that no answer URL of this app led to can be transferred to a document only where "
                    "BOTHWAY_PUBLIC_URL (or App(public_url=…)) says where the carrier finds this app"
                )
            to = document_url(to, call_id, app_url, self._secret, time.time())
        await self._rest.calls.transfer(call_id, aleg_url=to)

    async def record(self, call_id: str, options: RecordOptions) -> RecordingStarted:
        """Begin to record a call.

        Raises:
            UsageError: As `hangup`.
            PeerError: As `hangup`.
        """
        return await self._rest.calls.record(call_id, **options)

    async def stop_recording(self, call_id: str) -> None:
        """End every recording of a call.

        Raises:
            UsageError: As `hangup`.
            PeerError: As `hangup`.
        """
        await self._rest.calls.stop_recording(call_id)
