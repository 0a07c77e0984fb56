from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bothway.errors import UsageError
from bothway.testing.expectation import CallFailedError, Expectation
from bothway.testing.virtual_loop import run


class Call:
    """The smallest scene: a list of things that happened."""

    def __init__(self) -> None:
        self.over = False
        self.seen: list[str] = []
        self.failures: list[str] = []
        self.promises: list[str] = []
        self.looks: list[Callable[[], None]] = []

    def watch(self, look: Callable[[], None]) -> None:
        self.looks.append(look)

    def unwatch(self, look: Callable[[], None]) -> None:
        self.looks.remove(look)

    def promised(self, what: str) -> None:
        self.promises.append(what)

    def awaited(self, what: str) -> None:
        self.promises.remove(what)

    def failed(self, why: str) -> CallFailedError:
        self.failures.append(why)
        return CallFailedError(why)

    def happens(self, what: str = "") -> None:
        if what:
            self.seen.append(what)
        for look in tuple(self.looks):
            look()

    def ends(self) -> None:
        self.over = True
        self.happens()

    def expects(self, what: str, **options: bool) -> Expectation[str]:
        def check() -> str | None:
            return what if what in self.seen else None

        return Expectation(self, f"the {what}", check, instead=lambda: f"there was {self.seen}", **options)


def test_what_has_happened_takes_no_time() -> None:
    async def main() -> None:
        call = Call()
        call.seen.append("bell")
        began = asyncio.get_running_loop().time()
        assert await call.expects("bell").within(0.001) == "bell"
        assert asyncio.get_running_loop().time() == began
        assert not call.looks

    run(main())


def test_what_happens_later_is_seen_at_that_moment() -> None:
    async def main() -> None:
        call = Call()
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_later(1.5, call.happens, "whistle")
        loop.call_later(2.0, call.happens, "bell")
        assert await call.expects("bell").within(2.0) == "bell"
        assert loop.time() - began == pytest.approx(2.0)
        assert not call.looks

    run(main())


def test_what_does_not_happen_fails_when_its_time_is_over() -> None:
    async def main() -> None:
        call = Call()
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_later(1.5, call.happens, "whistle")
        with pytest.raises(CallFailedError) as caught:
            await call.expects("bell").within(3)
        assert str(caught.value) == "expected the bell within 3 s; there was ['whistle']"
        assert call.failures == [str(caught.value)]
        assert loop.time() - began == pytest.approx(3.01)
        assert not call.looks

    run(main())


def test_the_end_of_the_call_is_the_end_of_waiting() -> None:
    async def main() -> None:
        call = Call()
        loop = asyncio.get_running_loop()
        loop.call_later(1, call.ends)
        with pytest.raises(CallFailedError, match=r"^expected the bell before the call ended; there was"):
            await call.expects("bell")
        assert loop.time() < 1_000_000
        with pytest.raises(CallFailedError, match="before the call ended"):
            await call.expects("bell")

    run(main())


def test_what_may_come_after_the_end_is_waited_for() -> None:
    async def main() -> None:
        call = Call()
        loop = asyncio.get_running_loop()
        loop.call_later(1, call.ends)
        loop.call_later(2, call.happens, "bell")
        assert await call.expects("bell", on_line=False).within(5) == "bell"

    run(main())


def test_ten_seconds_are_waited_unless_told() -> None:
    async def main() -> None:
        call = Call()
        with pytest.raises(CallFailedError, match="within 10 s"):
            await call.expects("bell")

    run(main())


def test_no_time_is_refused() -> None:
    call = Call()
    call.seen.append("bell")
    expectation = call.expects("bell")
    with pytest.raises(UsageError, match="needs some time"):
        expectation.within(0)
    run(_kept(expectation))


async def _kept(expectation: Expectation[str]) -> None:
    await expectation


def test_one_that_is_not_awaited_is_a_promise_that_is_not_kept() -> None:
    call = Call()
    call.seen.append("bell")
    expectation = call.expects("bell")
    call.expects("whistle")
    assert call.promises == ["the bell", "the whistle"]
    run(_kept(expectation))
    assert call.promises == ["the whistle"]


def test_two_may_wait_at_once() -> None:
    async def main() -> None:
        call = Call()
        loop = asyncio.get_running_loop()
        loop.call_later(1, call.happens, "whistle")
        loop.call_later(2, call.happens, "bell")

        async def wait(what: str) -> str:
            return await call.expects(what)

        bell, whistle = await asyncio.gather(wait("bell"), wait("whistle"))
        assert (bell, whistle) == ("bell", "whistle")

    run(main())
