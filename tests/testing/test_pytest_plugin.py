"""The plugin as its users have it: in a project of its own, with and without a plugin for asyncio."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

APP = """
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request):
        return Response("<Response><Speak>Good morning</Speak></Response>")

    app = Starlette(routes=[Route("/answer", answer, methods=["POST"])])
"""

PLAIN = ("-p", "no:asyncio")
STRICT = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest("")
    pytester.makepyfile(greeter=textwrap.dedent(APP))
    pytester.syspathinsert()
    return pytester


def outcome(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    project.makepyfile(test_it="from greeter import app\n" + textwrap.dedent(test))
    return project.runpytest_subprocess("-W", "error", *options)


@pytest.mark.parametrize("options", [PLAIN, STRICT, AUTO], ids=["no plugin", "strict", "auto"])
def test_a_test_that_takes_a_carrier_is_run(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    test = """
        import asyncio, pytest, time

        async def test_greeting(carrier):
            caller = await carrier.call(app)
            await caller.hears("good morning")
            await asyncio.sleep(600)
            assert carrier.virtual

        @pytest.mark.parametrize("word", ["good", "morning"])
        async def test_other_fixtures_too(carrier, tmp_path, word):
            assert tmp_path.exists()
            await (await carrier.call(app)).hears(word)

        class TestInAClass:
            async def test_greeting(self, carrier):
                assert isinstance(self, TestInAClass)
                await (await carrier.call(app)).hears("good morning")

        @pytest.mark.real_sockets
        async def test_for_real(carrier):
            began = time.monotonic()
            await (await carrier.call(app)).hears("good morning")
            assert not carrier.virtual
            assert time.monotonic() - began > 0.5

        @pytest.mark.virtual_time
        async def test_without_a_carrier():
            began = time.time()
            await asyncio.sleep(3600)
            assert time.time() - began == 3600

        def test_another():
            pass
    """
    outcome(project, test, *options).assert_outcomes(passed=7)


def test_a_failed_expectation_shows_the_timeline_with_its_place_marked(project: pytest.Pytester) -> None:
    test = """
        async def test_greeting(carrier):
            caller = await carrier.call(app)
            await caller.hears("good evening").within(2)
    """
    result = outcome(project, test, *PLAIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * expected the caller to hear “good evening” * heard since: “Good morning”*",
            "*- timeline of call 1 -*",
            "call ????????-????-????-????-????????????",
            " 00:00.* app      is heard to say “Good morning”",
            "▶00:0?.* test     expected the caller to hear “good evening” *",
        ]
    )
    assert "_outcome" not in result.stdout.str(), "the traceback ends in the test"


def test_a_plain_assert_shows_every_timeline(project: pytest.Pytester) -> None:
    test = """
        async def test_greeting(carrier):
            first, second = await carrier.call(app), await carrier.call(app)
            await second.hears("good")
            assert second.heard_text == "bad"
    """
    result = outcome(project, test, *PLAIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- timeline of call 1 -*",
            "▶*test     here the test failed: AssertionError",
            "*- timeline of call 2 -*",
            "*is heard to say “Good”",
            "▶*test     here the test failed: AssertionError",
        ]
    )


def test_a_test_that_passes_shows_nothing(project: pytest.Pytester) -> None:
    test = """
        async def test_greeting(carrier):
            await carrier.call(app)
    """
    result = outcome(project, test, *PLAIN, "-rA")
    result.assert_outcomes(passed=1)
    assert "timeline" not in result.stdout.str()


def test_options_of_the_carrier_are_given_by_a_marker(project: pytest.Pytester) -> None:
    test = """
        import pytest

        pytestmark = pytest.mark.carrier(profile="live", level="bytes", seed=7)

        async def test_live(carrier):
            assert carrier.seed == 7
            caller = await carrier.call(app)
            assert caller.records[0].text("profile") == "live"

        @pytest.mark.carrier(profile="other")
        async def test_unknown(carrier):
            pass

        @pytest.mark.carrier(colour="red")
        async def test_misspelt(carrier):
            pass
    """
    result = outcome(project, test, *PLAIN, "--strict-markers")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*UsageError: there is no profile 'other': choose documented or live"])
    result.stdout.fnmatch_lines(["*UsageError: the marker `carrier` does not take 'colour'*"])


def test_the_seed_is_that_of_the_loop_too(project: pytest.Pytester) -> None:
    test = """
        import pytest, random, uuid

        seen = []

        @pytest.mark.parametrize("_", range(2))
        @pytest.mark.carrier(seed=7)
        async def test_seven(carrier, _):
            seen.append((random.random(), uuid.uuid4(), (await carrier.call(app)).call_id))

        @pytest.mark.carrier(seed=8)
        async def test_eight(carrier):
            seen.append((random.random(), uuid.uuid4(), (await carrier.call(app)).call_id))

        def test_compare():
            first, again, other = seen
            assert first == again
            assert not set(first) & set(other)
    """
    outcome(project, test, *PLAIN).assert_outcomes(passed=4)


def test_a_plain_function_cannot_take_a_carrier(project: pytest.Pytester) -> None:
    test = """
        def test_greeting(carrier):
            pass
    """
    result = outcome(project, test, *PLAIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError: the test test_greeting takes `carrier`*has to be an `async def`"])


def test_somebody_elses_fixture_of_that_name_is_left_alone(project: pytest.Pytester) -> None:
    test = """
        import pytest

        @pytest.fixture
        def carrier():
            return "pigeon"

        def test_plain(carrier):
            assert carrier == "pigeon"

        @pytest.mark.asyncio
        async def test_async(carrier):
            assert carrier == "pigeon"
    """
    outcome(project, test, *STRICT).assert_outcomes(passed=2)


def test_the_account_is_in_the_environment_for_the_time_of_a_test(project: pytest.Pytester) -> None:
    test = """
        import os

        async def test_set(carrier):
            assert os.environ["PLIVO_AUTH_ID"] == carrier.account.auth_id
            assert os.environ["PLIVO_AUTH_TOKEN"] == carrier.account.auth_token
            assert os.environ["BOTHWAY_API_URL"] == carrier.api_url

        def test_gone():
            assert not {"PLIVO_AUTH_ID", "PLIVO_AUTH_TOKEN", "BOTHWAY_API_URL"} & set(os.environ)
    """
    for name in ("PLIVO_AUTH_ID", "PLIVO_AUTH_TOKEN", "BOTHWAY_API_URL"):
        project._monkeypatch.delenv(name, raising=False)
    outcome(project, test, *PLAIN).assert_outcomes(passed=2)


def test_a_test_that_waits_for_ever_is_told_what_waits(project: pytest.Pytester) -> None:
    test = """
        import asyncio, pytest

        @pytest.mark.virtual_time
        async def test_nothing_comes():
            await asyncio.Event().wait()
    """
    result = outcome(project, test, *PLAIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*StandstillError: *"])
    assert "test_it.py" in result.stdout.str()


def test_the_markers_are_listed(project: pytest.Pytester) -> None:
    listed = project.runpytest_subprocess("--markers").stdout.str()
    assert all(f"@pytest.mark.{name}" in listed for name in ("carrier(", "real_sockets", "virtual_time"))
    fixtures = project.runpytest_subprocess("--fixtures").stdout.str()
    assert "A carrier that calls your app" in fixtures


def test_the_plugin_is_installed_with_the_package() -> None:
    from importlib.metadata import entry_points

    (found,) = [entry for entry in entry_points(group="pytest11") if entry.name == "bothway"]
    assert found.value == "bothway.testing.pytest_plugin"
