"""The records of one call and its streams, kept in the carrier's store from the first moment to the last.

What has to be told of them and must not be lost is put into the outbox in the same transaction as the record: a call
that ended has its hangup callback, whatever becomes of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import cast

import msgspec

from bothway.carrier.api.calling_codes import country_of
from bothway.carrier.call_order import CallOrder, Party
from bothway.carrier.config import Account
from bothway.carrier.destination import written_number
from bothway.carrier.node import Node
from bothway.carrier.rates import Rates, bill
from bothway.carrier.store.records import (
    CallRecord,
    CallState,
    Closed,
    Method,
    OutboxItem,
    StreamRecord,
    StreamState,
)
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Stream
from bothway.wire.webhooks import CallFacts, StatusForm, hangup_params, stream_status_params, unanswered_status

__all__ = ["CallBooks", "call_facts", "closed_callbacks", "closed_record", "cut_callbacks"]


def call_facts(
    party: Party, account: Account, rates: Rates, *, call_id: str, at: datetime, plus: bool = False
) -> CallFacts:
    """What every webhook of a call will say of it.

    Args:
        party: Who calls whom.
        account: Whose call it is.
        rates: What it costs.
        call_id: Its UUID.
        at: When it came in, or was placed.
        plus: Whether its numbers are written with a `+`.
    """
    return CallFacts(
        call_uuid=call_id,
        from_=written_number(party.from_, plus=plus),
        to=written_number(party.to, plus=plus),
        direction=party.direction,
        auth_id=account.auth_id,
        session_start=at,
        bill_rate=rates.inbound if party.direction == "inbound" else rates.outbound,
        country_code=country_of(party.from_ if party.direction == "inbound" else party.to),
        caller_name=party.caller_name,
        forwarded_from=party.forwarded_from,
        stir_verification=party.stir_verification,
        stir_attestation=party.stir_attestation,
        request_uuid=party.request_uuid,
        parent_call_uuid=party.parent_call_uuid,
        sip_headers=party.sip_headers,
    )


def closed_record(record: CallRecord, cause: HangupCause, at: datetime) -> CallRecord:
    """The record of a call that was never answered, and is over."""
    return msgspec.structs.replace(
        record,
        state=cast("CallState", unanswered_status(cause)),
        end_time=at,
        hangup_cause_code=cause.code,
        hangup_cause_name=cause.name,
        hangup_source=cause.source,
        hangup_cause=cause.cause,
    )


def closed_callbacks(call: CallRecord, auth_id: str, zone: tzinfo = UTC) -> list[OutboxItem]:
    """The hangup callback that is owed for a call which has ended without a process that was in charge of it.

    Args:
        call: As it was closed.
        auth_id: Whose token signs.
        zone: The account's time zone.
    """
    if not call.hangup_url or call.end_time is None or call.hangup_cause_code is None:
        return []
    params = hangup_params(
        _facts_of(call, auth_id),
        HangupCause(call.hangup_cause_code, call.hangup_cause_name, call.hangup_source, call.hangup_cause),
        start_time=call.initiation_time,
        answer_time=call.answer_time,
        end_time=call.end_time,
        status=call.state,
        duration=call.bill_duration,
        total_cost=call.amount,
        zone=zone,
    )
    item = OutboxItem(
        key=f"{call.call_uuid} hangup",
        call_uuid=call.call_uuid,
        kind="hangup",
        account=auth_id,
        url=call.hangup_url,
        params=params,
        created=call.end_time,
        method=call.hangup_method,
    )
    return [item]


def cut_callbacks(closed: Closed, auth_id: str, form: StatusForm) -> list[OutboxItem]:
    """The status callbacks that are owed for the streams of such a call: each has failed.

    Args:
        closed: The call and its streams, as they were closed.
        auth_id: Whose token signs.
        form: In whose vocabulary.
    """
    facts, items = _facts_of(closed.call, auth_id), []
    for stream in closed.streams:
        if not stream.status_callback_url or stream.end_time is None:
            continue
        params = stream_status_params(
            form,
            "failed",
            facts,
            stream_id=stream.stream_id,
            at=stream.end_time,
            service_url=stream.service_url,
            callback_url=stream.status_callback_url,
            callback_method=stream.status_callback_method,
        )
        assert params is not None, "every vocabulary has a word for it"
        items.append(
            OutboxItem(
                key=f"{closed.call.call_uuid} stream {stream.stream_id} cut",
                call_uuid=closed.call.call_uuid,
                kind="stream",
                account=auth_id,
                url=stream.status_callback_url,
                params=params,
                created=stream.end_time,
                method=stream.status_callback_method,
            )
        )
    return items


def _facts_of(call: CallRecord, auth_id: str) -> CallFacts:
    return CallFacts(
        call_uuid=call.call_uuid,
        from_=call.from_number,
        to=call.to_number,
        direction=call.direction,
        auth_id=auth_id,
        session_start=call.initiation_time,
        bill_rate=call.rate,
        country_code=call.country_code,
        route_type=call.route_type,
        caller_name=call.caller_name,
        request_uuid=call.request_uuid,
        parent_call_uuid=call.parent_call_uuid or "",
        forwarded_from=call.forwarded_from,
        stir_verification=call.stir_verification,
        stir_attestation=call.stir_attestation,
        sip_headers=tuple(call.sip_headers.items()),
    )


class CallBooks:
    """What the store knows of one call.

    Args:
        node: Has the store and the prices.
        facts: Of the call.
        order: What happens on it.
        account: Whose call it is.
    """

    def __init__(self, node: Node, facts: CallFacts, order: CallOrder, account: Account) -> None:
        self._node = node
        self._account = account
        self._puts = 0
        self._streams: dict[str, StreamRecord] = {}
        plan = order.plan
        self._call = CallRecord(
            call_uuid=facts.call_uuid,
            request_uuid=facts.request_uuid or facts.call_uuid,
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            node=node.name,
            direction=facts.direction,
            from_number=facts.from_,
            to_number=facts.to,
            caller_name=facts.caller_name,
            parent_call_uuid=facts.parent_call_uuid or None,
            initiation_time=facts.session_start,
            state="ringing",
            rate=facts.bill_rate,
            stir_verification=facts.stir_verification,
            stir_attestation=facts.stir_attestation,
            country_code=facts.country_code,
            route_type=facts.route_type,
            forwarded_from=facts.forwarded_from,
            answer_url=plan.answer_url or "",
            answer_method=cast("Method", plan.answer_method),
            hangup_url=order.hangup_url,
            hangup_method=cast("Method", order.hangup_method),
            sip_headers=dict(facts.sip_headers),
        )

    @property
    def call(self) -> CallRecord:
        """The call as it is now."""
        return self._call

    @property
    def streams(self) -> Mapping[str, StreamRecord]:
        """Its streams as they are now, by their ids."""
        return self._streams

    def began(self) -> None:
        """The call has come in, or is placed."""
        self._node.store.calls.save(self._call)

    def answered(self, at: datetime) -> None:
        """It was picked up."""
        self._call = msgspec.structs.replace(self._call, state="in-progress", answer_time=at)
        self._node.store.calls.save(self._call)

    def in_conference(self, conference_uuid: str) -> None:
        """It is in a conference."""
        self._call = msgspec.structs.replace(self._call, conference_uuid=conference_uuid)
        self._node.store.calls.save(self._call)

    def ended(self, cause: HangupCause, status: str, at: datetime, callback: OutboxItem | None) -> asyncio.Future[None]:
        """It is over; done when that is in the store, with the callback that tells of it."""
        answered = self._call.answer_time
        cost = bill((at - answered).total_seconds() if answered is not None else 0.0, self._call.rate)
        self._call = msgspec.structs.replace(
            self._call,
            state=cast("CallState", status),
            end_time=at,
            call_duration=cost.seconds,
            bill_duration=cost.seconds,
            billed_duration=cost.billed_seconds,
            amount=cost.amount,
            hangup_cause_code=cause.code,
            hangup_cause_name=cause.name,
            hangup_source=cause.source,
            hangup_cause=cause.cause,
        )
        return self._node.store.calls.save(self._call, [callback] if callback is not None else [])

    def stream_asked(self, stream_id: str, verb: Stream, content_type: str, at: datetime) -> None:
        """A stream is being opened."""
        self._save_stream(
            StreamRecord(
                stream_id=stream_id,
                call_uuid=self._call.call_uuid,
                account=self._call.account,
                sub_account=self._call.sub_account,
                node=self._node.name,
                service_url=verb.url,
                created_at=at,
                bidirectional=verb.bidirectional,
                audio_track=verb.audio_track,
                content_type=content_type,
                stream_timeout=verb.stream_timeout,
                extra_headers=verb.extra_headers or "",
                noise_cancellation_level=verb.noise_cancellation_level if verb.noise_cancellation else 0,
                status_callback_url=verb.status_callback_url,
                status_callback_method=cast("Method", verb.status_callback_method),
                rate=self._node.config.rates.stream,
            )
        )

    def stream_opened(self, stream_id: str, at: datetime) -> None:
        """Its socket is up."""
        self._save_stream(msgspec.structs.replace(self._streams[stream_id], status="in-progress", start_time=at))

    def stream_ended(self, stream_id: str, at: datetime, *, failed: bool) -> None:
        """It is over."""
        stream = self._streams[stream_id]
        cost = bill((at - stream.start_time).total_seconds() if stream.start_time is not None else 0.0, stream.rate)
        status: StreamState = "failed" if failed else "completed"
        self._save_stream(
            msgspec.structs.replace(
                stream,
                status=status,
                end_time=at,
                bill_duration=cost.seconds,
                rounded_bill_duration=cost.billed_seconds,
                billed_amount=cost.amount,
            )
        )

    def callback(self, kind: str, url: str, method: str, params: Mapping[str, str], at: datetime) -> OutboxItem:
        """A callback of this call for the outbox."""
        self._puts += 1
        return OutboxItem(
            # The end of a call is told once, by whoever is in charge of the call then.
            key=f"{self._call.call_uuid} {kind}" + (f" {self._puts}" if kind != "hangup" else ""),
            call_uuid=self._call.call_uuid,
            kind=kind,
            account=self._account.auth_id,
            url=url,
            params=dict(params),
            created=at,
            method=cast("Method", method),
        )

    def _save_stream(self, stream: StreamRecord) -> None:
        self._streams[stream.stream_id] = stream
        self._node.store.streams.save(stream)
