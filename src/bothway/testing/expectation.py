"""What a test expects of a call, and how long it waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from bothway.audio.format import FRAME_MS
from bothway.errors import UsageError

__all__ = ["DEFAULT_SECONDS", "CallFailedError", "Expectation", "Scene"]

DEFAULT_SECONDS = 10.0
"""How long an expectation waits if the test does not say: longer than any caller would."""

_HALF_FRAME = FRAME_MS / 2000
"""Seconds: what comes with the very frame that ends the time is in time."""

_T = TypeVar("_T")


class CallFailedError(AssertionError):
    """A call did not go as the test expects. The message is a sentence; the plugin prints the call's timeline."""


class Scene(Protocol):
    """The call that an expectation is about."""

    @property
    def over(self) -> bool:
        """Whether the call has ended, and nothing more will be heard on it."""
        ...

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` after everything that happens."""

    def unwatch(self, look: Callable[[], None]) -> None:
        """Stop that."""

    def promised(self, what: str) -> None:
        """An expectation was made, which has to be awaited before the test is over."""

    def awaited(self, what: str) -> None:
        """It is."""

    def failed(self, why: str) -> CallFailedError:
        """The error that tells of a failure, which is noted at the present place of the timeline."""
        ...


@dataclass(frozen=True)
class _Question(Generic[_T]):
    """What is waited for.

    Attributes:
        what: Words that go behind “expected”.
        check: Gives what was waited for, or None.
        instead: What there was instead; empty for nothing to tell.
        on_line: Whether it can only come while the call lasts.
    """

    what: str
    check: Callable[[], _T | None]
    instead: Callable[[], str]
    on_line: bool


class Expectation(Generic[_T]):
    """Something that is to happen on a call. Await it: until then nothing is checked, and a test that forgets it fails.

    It is fulfilled by what has happened already and was not claimed by an earlier expectation, or by what happens
    within the time that it gives. That time is the call's: in virtual time, waiting costs none.

    Raises:
        CallFailedError: When awaited: it did not happen in time, or the call ended before.
    """

    def __init__(
        self,
        scene: Scene,
        what: str,
        check: Callable[[], _T | None],
        *,
        instead: Callable[[], str] = str,
        on_line: bool = True,
    ) -> None:
        self._scene = scene
        self._question = _Question(what, check, instead, on_line)
        self._seconds = DEFAULT_SECONDS
        scene.promised(what)

    def within(self, seconds: float) -> Expectation[_T]:
        """Wait for no longer than this, from the moment at which it is awaited.

        Raises:
            UsageError: The time is not positive.
        """
        if not seconds > 0:
            raise UsageError(f"an expectation needs some time to be fulfilled, not {seconds} s")
        self._seconds = seconds
        return self

    def __await__(self) -> Generator[Any, None, _T]:
        self._scene.awaited(self._question.what)
        return self._outcome().__await__()

    async def _outcome(self) -> _T:
        __tracebackhide__ = True
        question = self._question
        found = question.check()
        if found is not None:
            return found
        answer: asyncio.Future[_T | None] = asyncio.get_running_loop().create_future()

        def look() -> None:
            if answer.done():
                return
            found = question.check()
            if found is not None:
                answer.set_result(found)
            elif question.on_line and self._scene.over:
                answer.set_result(None)

        self._scene.watch(look)
        look()  # the call may be over already
        try:
            async with asyncio.timeout(self._seconds + _HALF_FRAME):
                found = await answer
        except TimeoutError:
            raise self._failure(f"within {self._seconds:g} s") from None
        finally:
            self._scene.unwatch(look)
        if found is None:
            raise self._failure("before the call ended")
        return found

    def _failure(self, when: str) -> CallFailedError:
        instead = self._question.instead()
        return self._scene.failed(f"expected {self._question.what} {when}" + (f"; {instead}" if instead else ""))
