"""What the REST API can do with live calls: the `Switch` of one node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bothway.audio.format import MULAW_8K
from bothway.carrier.api.calling_codes import country_of
from bothway.carrier.api.switch import CallControl, CallRequest, ConferenceControl, MachineDetection, RefusedError
from bothway.carrier.call_control import LiveCallControl
from bothway.carrier.call_order import CallOrder, Party, Screening
from bothway.carrier.call_queue import CallQueue, QueueFullError
from bothway.carrier.config import Account
from bothway.carrier.destination import written_number
from bothway.carrier.leg import SipAuth, Summons
from bothway.carrier.lines import BarredError, Lines
from bothway.carrier.node import Node
from bothway.carrier.store.records import CallRecord
from bothway.carrier.switchboard import Switchboard
from bothway.core.course import CallPlan
from bothway.core.execution import cause
from bothway.core.machine import MachineSettings
from bothway.errors import UsageError
from bothway.wire.digits import read_digits

__all__ = ["Exchange"]


@dataclass(frozen=True, slots=True)
class _Queued:
    account: Account
    request: CallRequest
    record: CallRecord


class Exchange:
    """It is the `Switch` of a node: places calls at each account's rate, and finds the live ones.

    Args:
        node: What all calls share.
        switchboard: Has the calls.
        lines: Says how destinations are reached.
    """

    def __init__(self, node: Node, switchboard: Switchboard, lines: Lines) -> None:
        self._node = node
        self._switchboard = switchboard
        self._lines = lines
        self._queues: dict[str, CallQueue[_Queued]] = {}  # by main account
        self._closed = False

    def prepare_calls(self, account: Account, request: CallRequest) -> Sequence[CallRecord]:
        """Check that calls can be placed, and make their records; see `Switch`."""
        if self._closed:
            raise RefusedError("this carrier is being stopped, and places no calls", reason="unavailable")
        try:
            for destination in request.to:
                self._lines.check(destination)
        except BarredError as error:
            raise RefusedError(str(error), reason="barred") from None
        queue = self._queue_of(account)
        if len(queue) + len(request.to) > queue.most_waiting:
            raise RefusedError(f"{len(queue)} calls wait to be placed, and no more can", reason="unavailable")
        return [self._record(account, request, destination) for destination in request.to]

    def place_calls(self, account: Account, request: CallRequest, calls: Sequence[CallRecord]) -> None:
        """Place the calls that `prepare_calls` made; see `Switch`."""
        queue = self._queue_of(account)
        for record in calls:
            queued = _Queued(account, request, record)
            try:
                queue.put(record.call_uuid, queued)
            except (QueueFullError, UsageError) as error:
                self._give_up(queued, 5010, "Error", str(error))

    def live_call(self, call_id: str) -> CallControl | None:
        """The call of this id if it rings or is up."""
        call = self._switchboard.calls.get(call_id)
        return LiveCallControl(call) if call is not None and not call.over else None

    def live_calls(self) -> Sequence[CallControl]:
        """All of them, oldest first."""
        return [LiveCallControl(call) for call in self._switchboard.calls.values() if not call.over]

    def cancel_request(self, request_uuid: str) -> bool:
        """Take a call out of the queue, or cancel one that rings."""
        for queue in self._queues.values():
            queued = queue.cancel(request_uuid)
            if queued is not None:
                self._give_up(queued, 1000, "API Request", "the request was cancelled before it was placed")
                return True
        call = self._switchboard.calls.get(request_uuid)
        if call is None or call.over or call.core.answered_at is not None or call.facts.direction != "outbound":
            return False
        call.hangup(cause(1000, "API Request"), "the request was cancelled while it rang")
        return True

    def conferences(self) -> Sequence[ConferenceControl]:
        """All of them, oldest first."""
        return self._switchboard.conferences.all()

    def close(self) -> None:
        """Place nothing more; what waited is accounted for."""
        self._closed = True
        for queue in self._queues.values():
            for queued in queue.close():
                self._give_up(queued, 5010, "Plivo", "the carrier was stopped before this call was placed")

    def _queue_of(self, account: Account) -> CallQueue[_Queued]:
        queue = self._queues.get(account.main_id)
        if queue is None:
            rate = self._node.profile.limits.calls_per_second
            queue = self._queues[account.main_id] = CallQueue(rate, self._place)
        return queue

    def _record(self, account: Account, request: CallRequest, destination: str) -> CallRecord:
        call_id = self._node.ids.uuid()
        plus = self._node.profile.plus_in_numbers
        return CallRecord(
            call_uuid=call_id,
            request_uuid=call_id,
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            node=self._node.name,
            direction="outbound",
            from_number=written_number(request.from_, plus=plus),
            to_number=written_number(destination, plus=plus),
            caller_name=request.caller_name,
            parent_call_uuid=request.parent_call_uuid,
            initiation_time=datetime.fromtimestamp(time.time(), UTC),
            rate=self._node.config.rates.outbound,
            country_code=country_of(destination),
            answer_url=request.answer_url,
            answer_method=request.answer_method,
            hangup_url=request.hangup_url or request.answer_url,
            hangup_method=request.hangup_method,
            sip_headers={f"X-PH-{name}": value for name, value in request.sip_headers},
        )

    def _place(self, queued: _Queued) -> None:
        try:
            self._dial(queued)
        except UsageError as error:
            self._give_up(queued, 5010, "Error", str(error))

    def _dial(self, queued: _Queued) -> None:
        request, record = queued.request, queued.record
        headers = tuple(record.sip_headers.items())
        auth = None
        if request.sip_auth_username and request.sip_auth_password:
            auth = SipAuth(request.sip_auth_username, request.sip_auth_password)
        order = CallOrder(
            CallPlan(
                answer_url=request.answer_url,
                answer_method=request.answer_method,
                fallback_url=request.fallback_url,
                fallback_method=request.fallback_method,
                time_limit=request.time_limit,
                outbound=True,
                ring_timeout=request.ring_timeout,
                hangup_on_ring=request.hangup_on_ring,
                screened=request.machine_detection is not None and request.machine_detection.url is None,
            ),
            hangup_url=record.hangup_url,
            hangup_method=record.hangup_method,
            ring_url=request.ring_url,
            ring_method=request.ring_method,
            screening=_screening(request.machine_detection),
        )
        party = Party(
            record.from_number,
            record.to_number,
            direction="outbound",
            sip_headers=headers,
            caller_name=request.caller_name,
            request_uuid=record.request_uuid,
            parent_call_uuid=request.parent_call_uuid or "",
        )
        summons = Summons(
            from_=record.from_number,
            to=record.to_number,
            caller_name=request.caller_name,
            headers=headers,
            sip_auth=auth,
            digits=read_digits(request.send_digits),
            digits_on_early_media=request.send_on_preanswer,
        )
        leg = self._lines.leg_to(record.to_number, MULAW_8K)
        self._switchboard.dial(leg, summons, party, order, queued.account, call_id=record.call_uuid)

    def _give_up(self, queued: _Queued, code: int, source: str, detail: str) -> None:
        """A call that was never placed is over, and accounted for like any other."""
        self._switchboard.never_placed(queued.record, queued.account, cause(code, source), detail)


def _screening(asked: MachineDetection | None) -> Screening | None:
    if asked is None:
        return None
    usual = MachineSettings()
    settings = MachineSettings(
        time=asked.time,
        maximum_speech_length=asked.maximum_speech_length,
        initial_silence=asked.initial_silence,
        maximum_words=asked.maximum_words or usual.maximum_words,
        initial_greeting=asked.initial_greeting or usual.initial_greeting,
        silence=asked.silence or usual.silence,
    )
    return Screening(settings, asked.mode == "hangup", asked.url, asked.method)
