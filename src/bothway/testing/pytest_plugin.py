"""The pytest plugin: the fixture `carrier`, and tests in virtual time.

An `async def` test that takes `carrier`, or is marked `virtual_time`, is run by this plugin and by no other: it needs
no plugin for asyncio, and does not mind one. With the marker `real_sockets` it runs in real time, on the loopback.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bothway.testing.lab import LabCarrier

__all__ = ["carrier", "pytest_configure", "pytest_pyfunc_call", "pytest_runtest_makereport"]

_STORIES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in (
        "carrier(profile='documented', level='messages', seed=0): how the fixture `carrier` is made",
        "real_sockets: calls in real time over sockets on the loopback, where virtual time is the default",
        "virtual_time: run an async test in virtual time, without the fixture `carrier`",
    ):
        config.addinivalue_line("markers", line)


@pytest.fixture
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LabCarrier:
    """A carrier that calls your app: `caller = await carrier.call(app)`. See docs/testing.md."""
    # Imported when first needed: every run of pytest loads this module.
    from bothway.core.profile import profile_named
    from bothway.errors import UsageError
    from bothway.testing.lab import LabCarrier

    if not inspect.iscoroutinefunction(inspect.unwrap(request.function)):
        raise UsageError(f"the test {request.node.name} takes `carrier`, so that it has to be an `async def`")
    marker = request.node.get_closest_marker("carrier")
    options = dict(marker.kwargs) if marker is not None else {}
    unknown = options.keys() - {"profile", "level", "seed", "keep_audio"}
    if unknown or (marker is not None and marker.args):
        strange = ", ".join(map(repr, [*sorted(unknown), *(marker.args if marker is not None else ())]))
        raise UsageError(f"the marker `carrier` does not take {strange}: it takes profile, level, seed and keep_audio")
    lab = LabCarrier(profile=profile_named(options.pop("profile", "documented")), **options)
    # An app that is made within the test, or reads its environment there, is of the same account.
    monkeypatch.setenv("PLIVO_AUTH_ID", lab.account.auth_id)
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", lab.account.auth_token)
    return lab


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test, if it is one of ours."""
    function = inspect.unwrap(pyfuncitem.obj)
    takes_carrier = "carrier" in pyfuncitem.fixturenames and _is_lab(pyfuncitem.funcargs.get("carrier"))
    in_virtual_time = pyfuncitem.get_closest_marker("virtual_time") is not None
    if not inspect.iscoroutinefunction(function) or not (takes_carrier or in_virtual_time):
        return None
    if not inspect.ismethod(function) and pyfuncitem.instance is not None:
        function = function.__get__(pyfuncitem.instance)
    names = inspect.signature(function).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    lab: Any = pyfuncitem.funcargs["carrier"] if takes_carrier else None
    real = pyfuncitem.get_closest_marker("real_sockets") is not None
    seed = lab.seed if lab is not None else 0
    with asyncio.Runner(loop_factory=None if real else lambda: _virtual_loop(seed)) as runner:
        runner.run(_play(pyfuncitem, lab, function, arguments))
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Put the calls' timelines under the traceback of a test that failed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed and report.when == "call":
        stories: list[str] | None = item.stash.get(_STORIES, None)
        for number, story in enumerate(stories or [], 1):
            report.sections.append((f"timeline of call {number}", story))


def _is_lab(value: object) -> bool:
    return type(value).__name__ == "LabCarrier" and type(value).__module__ == "bothway.testing.lab"


def _virtual_loop(seed: int) -> asyncio.AbstractEventLoop:
    from bothway.testing.virtual_loop import VirtualLoop

    return VirtualLoop(seed=seed)


async def _play(
    item: pytest.Function,
    lab: LabCarrier | None,
    function: Callable[..., Coroutine[Any, Any, object]],
    arguments: dict[str, object],
) -> None:
    __tracebackhide__ = True
    if lab is None:
        await function(**arguments)
        return
    async with lab:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("BOTHWAY_API_URL", lab.api_url)  # on real sockets, only known by now
                await function(**arguments)
        except BaseException as error:
            # Before the carrier hangs up: the timeline ends where the test failed.
            for caller in lab.calls:
                if not caller.trace.marks:
                    caller.trace.mark(f"here the test failed: {type(error).__name__}")
            item.stash[_STORIES] = lab.stories()
            raise
