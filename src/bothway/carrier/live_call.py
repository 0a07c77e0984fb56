"""One call on a node: the call machine and the media machine, joined to a leg, to streams and to what is reported."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bothway.carrier.call_books import call_facts
from bothway.carrier.call_documents import CallDocuments
from bothway.carrier.call_order import CallOrder, CallWatcher, Party
from bothway.carrier.call_overlay import CallOverlay
from bothway.carrier.call_report import FRAMES_A_SECOND, CallReport
from bothway.carrier.call_screening import CallScreening
from bothway.carrier.call_streams import CallStreams
from bothway.carrier.config import Account
from bothway.carrier.leg import CalledLeg, Leg, Summons
from bothway.carrier.node import Node
from bothway.carrier.performer import CallOwner, Performer, PerformerFactory
from bothway.carrier.performers.conference import Conferring
from bothway.carrier.performers.dialling import Dialling
from bothway.carrier.performers.listening import Listening
from bothway.carrier.performers.recording import Recorder
from bothway.carrier.performers.side_documents import SideDocuments
from bothway.core.call import Call
from bothway.core.document import CallEvent
from bothway.core.ears import InBandDigit
from bothway.core.execution import (
    Answer,
    CallBack,
    CloseStream,
    Command,
    EarlyMedia,
    End,
    Fetch,
    OpenStream,
    Prompt,
    RefuseStream,
    StopPrompt,
    VerbEvent,
    cause,
)
from bothway.core.media import Heard, Media, PromptPlayed
from bothway.runtime.driver import Driver
from bothway.wire.hangup import HangupCause
from bothway.wire.stream import SendDtmf

__all__ = ["PERFORMERS", "LiveCall"]

PERFORMERS: tuple[PerformerFactory, ...] = (
    Dialling,
    SideDocuments,
    Listening,
    Conferring,
)
"""Who performs the verbs that have commands of their own."""

logger = logging.getLogger(__name__)


class LiveCall:
    """A call. It is the sink of its leg, the `StreamCall` of its streams and the `CallShell` of its performers.

    Args:
        node: What all calls share.
        owner: Is told when it is over.
        leg: The call's party: a `CalledLeg` where the order says that the carrier places the call.
        party: Who calls whom.
        order: What is to happen on the call.
        account: Whose call it is.
        call_id: Its UUID.
        watcher: Who had it dialled, if another call did.

    Attributes:
        leg: The call's party.
        call_id: Its UUID.
        account: Whose call it is.
        facts: What every webhook says of it.
        owner: Whoever keeps the node's calls, and places others.
        order: What is to happen on it.
        epoch: The Unix time at which the event loop's clock stood at zero.
        media: The call's audio, to be looked at; None until there is any.
        report: Where what happens is told.
        streams: Its streams.
        overlay: What REST plays and says over it.
        recorder: Records it.
        transfers: How often REST has transferred it.
        watcher: Who had it dialled, if another call did.
        far_leg: The other leg, while a `<Dial>` of this call has joined one.
        accounted: Set when the call is over and all about it is done: callbacks delivered or given up, files closed.
    """

    def __init__(
        self,
        node: Node,
        owner: CallOwner[LiveCall],
        leg: Leg,
        party: Party,
        order: CallOrder,
        account: Account,
        *,
        call_id: str,
        watcher: CallWatcher | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.node = node
        self.owner = owner
        self.leg = leg
        self.call_id = call_id
        self.account = account
        self.order = order
        self.accounted = asyncio.Event()
        born = self._loop.time()
        self.epoch = time.time() - born
        at = datetime.fromtimestamp(self.epoch + born, UTC)
        plus = node.profile.plus_in_numbers
        self.facts = call_facts(party, account, node.config.rates, call_id=call_id, at=at, plus=plus)
        self.report = CallReport(node, leg, self.facts, order, account, born=born, epoch=self.epoch)
        self.core = Call(order.plan, node.profile)
        self._commands: dict[type[Any], Callable[[Any], None]] = {}
        self._driver: Driver[Command, CallEvent] = Driver(
            self.core, partial(_obey, self._commands), self.report.call_event
        )
        self.media: Media | None = None
        self.streams = CallStreams(self, self.core)
        self.watcher = watcher
        self.far_leg: LiveCall | None = None
        self._documents = CallDocuments(self, self.core)
        self.overlay = CallOverlay(self)
        self.transfers = 0
        self._screening = CallScreening(self, order.screening) if order.screening is not None else None
        self._next_second = FRAMES_A_SECOND
        self.recorder = Recorder(self)
        self._performers: tuple[Performer, ...] = (self.recorder, *(made(self) for made in PERFORMERS))
        self._commands |= {
            Answer: self._answer,
            EarlyMedia: self._start_media,
            Fetch: self._documents.fetch,
            CallBack: self._documents.call_back,
            OpenStream: self.streams.open,
            CloseStream: self.streams.close,
            RefuseStream: self.streams.refuse,
            Prompt: self._documents.say,
            StopPrompt: self._documents.stop_prompt,
            End: self._end,
        }
        for performer in self._performers:
            self._commands.update(performer.commands)

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.core.end_cause is not None

    def start(self) -> None:
        """The call has come in, or is placed from now on."""
        self.leg.attach(self)
        self.leg.ringing(self.call_id)
        self.report.began(self.leg)
        self.core.start(self._loop.time())
        self.after_input()

    def ring(self, leg: CalledLeg, summons: Summons) -> None:
        """Place the call: `start` it, and call its party up."""
        self.start()
        leg.ring(summons)

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End the call from outside."""
        self.core.hangup(end_cause, self._loop.time(), detail)
        self.after_input()

    def transfer(self, url: str, method: str) -> None:
        """Go on with another document, as REST asks.

        Raises:
            UsageError: The call is not answered yet, or is over.
        """
        self.core.transfer(url, method, self._loop.time())
        self.transfers += 1
        self.report.record("transferred")
        if self.watcher is not None:
            self.watcher.leg_transferred()
        self.after_input()

    def dial_connected(self) -> None:
        """A `<Dial>` of this call has joined another leg to it."""
        self.recorder.dial_connected()

    def after_input(self) -> None:
        """The call machine was told something: do what it asks for."""
        self._driver.after_input()

    def tell(self, event: VerbEvent) -> None:
        """Something happened that the running verb may be waiting for."""
        self.core.receive(event, self._loop.time())
        self.after_input()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a task of this call's; a fault in it ends the call, and no other."""
        return self.node.tasks.spawn(_guarded(self, work), f"{name} of {self.call_id}")

    # What the leg tells.

    def callee_ringing(self) -> None:
        """The called party's telephone rings."""
        if self.over:
            return
        self.core.receive_ringing(self._loop.time())
        self.report.rang()
        self.after_input()
        if self.watcher is not None:
            self.watcher.leg_ringing()

    def callee_early_media(self) -> None:
        """There is something to hear before the answer: whoever wants it asks for early media."""
        if self.watcher is not None and not self.over:
            self.watcher.leg_early_media()

    def callee_answered(self) -> None:
        """The called party has picked up."""
        if self.over:
            return
        self.core.receive_answer(self._loop.time())
        self.after_input()
        if self.watcher is not None and not self.over:
            self.watcher.leg_answered()

    def callee_refused(self, end_cause: HangupCause, detail: str) -> None:
        """The called party will not answer."""
        self.core.receive_refusal(end_cause, self._loop.time(), detail)
        self.after_input()

    def caller_frame(self, frame: bytes) -> None:
        """20 ms of the caller."""
        if self.media is not None:
            self.media.receive_from_leg(frame)

    def caller_digit(self, digit: str, *, in_band: bool = False) -> None:
        """The caller pressed a key, the leg says, or its tones were heard; one that was both counts once."""
        media = self.media
        if media is not None and not in_band:
            counts = media.press(digit)
            self.streams.flush(media)
            self.note(media)
            if not counts:
                return
        self.report.record("dtmf", digit="redacted" if self.report.hides_input else digit)
        if self.watcher is not None:
            self.watcher.leg_digit(digit, in_band=in_band)
        self.core.receive_digit(digit, self._loop.time(), in_band=in_band)
        self.after_input()

    def caller_hung_up(self) -> None:
        """The caller has gone."""
        self.core.receive_hangup(self._loop.time())
        self.after_input()

    # The ticker.

    def tick(self, now: float) -> None:
        """Move the frames that are due."""
        media = self.media
        if media is None:
            return
        media.tick(now)
        frames = media.to_leg()
        if not frames:
            return
        self.leg.send_frames(frames)
        self.streams.send_media(media)
        self.note(media)
        if self.over:
            return  # a stream that was dropped, or a prompt that was heard, ended it
        if media.clock.taken >= self._next_second:
            self._next_second = media.clock.taken + FRAMES_A_SECOND
            self.report.count_second(media)
            seconds = self.node.profile.limits.media_timeout_seconds
            answered_at = self.core.answered_at
            silent = media.frames_since_caller >= seconds * FRAMES_A_SECOND
            if silent and answered_at is not None and now - answered_at >= seconds:
                self.hangup(cause(6020, "Plivo"), f"no audio came from the leg for {seconds:g} s")

    def tick_failed(self, error: BaseException) -> None:
        """A tick raised: a fault of the carrier's, and the end of this call alone."""
        self.hangup(cause(5010, "Error"), f"a fault in the carrier: {type(error).__name__}")

    def note(self, media: Media) -> None:
        """The media machine was told something, or moved frames: note what happened."""
        prompts, keys = [], []
        for event in media.events():
            if isinstance(event, PromptPlayed):
                prompts.append(event.prompt_id)
                continue
            self.report.media_event(event, self.streams.client_of(event))
            if isinstance(event, Heard) and isinstance(event.what, InBandDigit):
                keys.append(event.what.digit)
            if isinstance(event, SendDtmf):
                self.leg.send_digits(event.digits)
            self.overlay.media_event(event)
            if self._screening is not None:
                self._screening.media_event(event)
            for performer in self._performers:
                performer.media_event(event)
        for prompt_id in prompts:  # last, because the document may go on, and end the call
            self.report.record("prompt_played")
            self.core.receive_prompt_end(prompt_id, self._loop.time())
            self.after_input()
        for digit in keys:
            self.caller_digit(digit, in_band=True)

    # What the call machine asks.

    def _answer(self, command: Answer) -> None:
        self._start_media(command)
        assert self.media is not None, "it was made just now"
        self.report.answered(self.media)
        if self._screening is not None:
            self._screening.begin(self.media)
        self.leg.answered()

    def _start_media(self, command: Answer | EarlyMedia) -> None:
        media = self.media
        if media is None:
            start = self.node.ticker.join(self.tick, self.tick_failed)
            seconds = self.node.profile.limits.playout_seconds
            media = self.media = Media(self.leg.format, start=start, playout_seconds=seconds)
        self.report.hears(media)
        if isinstance(command, EarlyMedia):
            self.report.record("early_media")

    def _end(self, end: End) -> None:
        self.streams.end()
        self.node.ticker.leave(self.tick)
        self._documents.end()
        self.overlay.stop()
        for performer in self._performers:
            performer.ended()
        ran_to_end = end.ran_to_end and not self.streams.any_failed
        self.report.ended(end.cause, end.detail, answered_at=self.core.answered_at, ran_to_end=ran_to_end)
        self._driver.close()
        self.node.tasks.spawn(self._close(), f"end of {self.call_id}")
        if self.watcher is not None:
            self.watcher.leg_ended(end.cause, end.detail)
        # Last: whatever the leg does, the call is accounted for.
        self.leg.ended(end.cause, end.detail, ran_to_end=ran_to_end)

    async def _close(self) -> None:
        try:
            for performer in self._performers:
                await performer.close()
            await self.report.close()
        finally:
            self.owner.call_ended(self)
            self.accounted.set()
            self._let_go()

    def _let_go(self) -> None:
        """Forget all that knows this call.

        So its memory is free at once. Left to the garbage collector, hundreds of calls would go together one day, and
        hold the audio of every other for longer than a frame.
        """
        for performer in self._performers:
            performer.commands = {}
        self._performers = ()
        self._commands.clear()
        del self.streams, self._documents, self.overlay, self.recorder, self._screening


def _obey(commands: Mapping[type[Any], Callable[[Any], None]], command: Command) -> None:
    """Do what the call machine asks. No method, so that the driver does not know the call."""
    commands[type(command)](command)


async def _guarded(call: LiveCall, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The outermost edge of a call's tasks: a fault of the carrier's in one of them ends this call, and no other."""
    try:
        await work()  # made here: a task that is cancelled before its first step leaves nothing behind
    except Exception as error:
        logger.exception("call %s: a task failed", call.call_id)
        call.hangup(cause(5010, "Error"), f"a fault in the carrier: {type(error).__name__}")
