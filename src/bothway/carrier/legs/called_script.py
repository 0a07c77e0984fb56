"""Scripted callees: telephones that behave as a `Behaviour` says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from bothway.audio.format import AudioFormat
from bothway.carrier.callee import Answers, Behaviour, Echo, Refuses, RingsOn
from bothway.carrier.clips import ClipShelf
from bothway.carrier.echo_caller import EchoCaller
from bothway.carrier.legs.phone import PhoneLeg
from bothway.carrier.scripted_caller import FrameCaller, ScriptedCaller
from bothway.errors import BothwayError
from bothway.runtime.tasks import Tasks
from bothway.wire.hangup import HangupCause

__all__ = ["scripted_callee"]

logger = logging.getLogger(__name__)


def scripted_callee(
    fmt: AudioFormat,
    does: Behaviour,
    *,
    rings_for: float,
    shelf: ClipShelf,
    tasks: Tasks,
    tap: Callable[[bytes, bytes], None] | None = None,
    on_log: Callable[[Mapping[str, object]], None] | None = None,
) -> PhoneLeg:
    """A leg to a callee that behaves like this. Its audio is prepared while it rings, and it answers no earlier.

    Args:
        fmt: Of the frames of both directions.
        does: What it does.
        rings_for: For how many seconds it rings before; nobody hears it ring for none.
        shelf: Has what it says.
        tasks: Owns what it does until the answer.
        tap: As of `PhoneLeg`.
        on_log: As of `PhoneLeg`.
    """
    conduct = _Conduct(does, rings_for, shelf, tasks)
    return PhoneLeg(fmt, conduct.begin, on_over=conduct.stop, tap=tap, on_log=on_log)


class _Conduct:
    """What a callee does from the ring to the answer: a task, that ends with the call at the latest."""

    def __init__(self, does: Behaviour, rings_for: float, shelf: ClipShelf, tasks: Tasks) -> None:
        self._does = does
        self._rings_for = rings_for
        self._shelf = shelf
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None

    def begin(self, leg: PhoneLeg) -> None:
        self._task = self._tasks.spawn(self._run(leg), f"callee of {leg.call_id}")

    def stop(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self, leg: PhoneLeg) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._rings_for
        if isinstance(self._does, RingsOn):
            leg.rings()
            return
        if self._rings_for > 0:
            leg.rings()
        if isinstance(self._does, Refuses):
            await asyncio.sleep(ends - loop.time())
            leg.refuses(self._does.cause, self._does.detail)
            return
        try:
            party = await _party(self._does, leg.format, self._shelf)
        except BothwayError as error:
            logger.warning("call %s: the callee has nothing to say: %s", leg.call_id, error)
            leg.refuses(HangupCause.of(2010, "Carrier"), f"the callee could not be prepared: {error}")
            return
        await asyncio.sleep(ends - loop.time())
        leg.answers(party)


async def _party(does: Answers, fmt: AudioFormat, shelf: ClipShelf) -> FrameCaller:
    if isinstance(does.talk, Echo):
        return EchoCaller(fmt)
    return ScriptedCaller(does.talk, fmt, await shelf.of(does.talk, fmt))
