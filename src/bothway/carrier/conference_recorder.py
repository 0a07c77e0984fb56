"""The recording of one conference: the sum of all that its members say and hear (plivo-protocol.md, 5.6 and 6.7)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from bothway.audio.format import L16_8K
from bothway.carrier.config import Account
from bothway.carrier.node import Node
from bothway.carrier.recordings import FOLDER, OpenRecording, UnfinishedRecording, first_alone
from bothway.carrier.store.records import RecordingRecord
from bothway.carrier.webhook_client import WebhookClient
from bothway.core.conference import ConferenceRecording
from bothway.core.recording import RecordOrder
from bothway.core.room import Room

__all__ = ["ConferenceRecorder"]

logger = logging.getLogger(__name__)


class ConferenceRecorder:
    """Records a conference, once at a time.

    Args:
        node: What all calls share.
        account: Whose conference it is.
        room: What is recorded.
        name: Of the conference.
        uuid: Of the conference.

    Attributes:
        running: The recording under way, or None.
    """

    def __init__(self, node: Node, account: Account, room: Room, *, name: str, uuid: str) -> None:
        self._node = node
        self._account = account
        self._room = room
        self._name = name
        self._uuid = uuid
        self._open: OpenRecording | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        self.running: ConferenceRecording | None = None

    def start(self, order: RecordOrder, params: Mapping[str, str]) -> ConferenceRecording:
        """Record from now on. Nothing runs.

        Args:
            order: How.
            params: What its callback says beside what it says of the recording.
        """
        node, account, now = self._node, self._account, datetime.fromtimestamp(time.time(), UTC)
        recording_id = node.ids.uuid()
        record = RecordingRecord(
            recording_id=recording_id,
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            add_time=now,
            path=f"{FOLDER}/{account.main_id}/{recording_id}.{order.file_format}",
            recording_format=order.file_format,
            start_ms=int(now.timestamp() * 1000),
            recording_type="conference",
            conference_name=self._name,
            conference_uuid=self._uuid,
        )
        unfinished = UnfinishedRecording(
            record=record, order=order, auth_id=account.auth_id, node=node.name, params=dict(params)
        )
        self._open = node.recordings.begin(unfinished, first_alone, L16_8K, on_full=self._full, note=self._note)
        self._room.add_tap(self._open, L16_8K.rate)
        url = node.recordings.url(account.auth_id, recording_id, order.file_format)
        self.running = ConferenceRecording(recording_id, url)
        return self.running

    def leave_out(self, on: bool) -> None:
        """Leave out what is said from now on, or go on with what is said then."""
        if self._open is not None:
            self._room.remove_tap(self._open)
            if not on:
                self._room.add_tap(self._open, L16_8K.rate)

    def stop(self) -> bool:
        """The recording ends here: its file, its record and its callback follow. Whether there was one."""
        recording, self._open, self.running = self._open, None, None
        if recording is None:
            return False
        self._room.remove_tap(recording)
        task = self._node.tasks.spawn(self._finish(recording), f"recording {recording.recording_id}")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return True

    async def finished(self) -> None:
        """Wait until all that was stopped is complete."""
        await asyncio.gather(*self._finishing, return_exceptions=True)

    def _full(self) -> None:
        self.stop()

    async def _finish(self, recording: OpenRecording) -> None:
        told = await recording.finish()
        if told.unsent is not None:
            client, lost = WebhookClient(self._node, self._account, self._note), told.unsent
            client.call_back(lost.kind, lost.url, lost.method, lost.params)
            await client.close()

    def _note(self, event: str, **facts: object) -> None:
        """A conference has no log of its own."""
        logger.info("conference %s: %s %s", self._uuid, event, facts)
