"""Logs: the chain, and that no secret gets out of it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.runtime import logs

SECRET = "s3cr3t/with+odd=characters"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level, config = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    logs.redact(SECRET)
    yield stream
    logs.forget(SECRET)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**config)


def last(stream: io.StringIO) -> dict[str, object]:
    line: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return line


def test_a_line_has_its_fields_and_a_utc_time(lines: io.StringIO) -> None:
    logs.get_logger("bothway.test").info("a call began", call="c-1", frames=3, ratio=0.5, ok=True, nothing=None)
    line = last(lines)
    at = datetime.fromisoformat(str(line.pop("time")))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {
        "event": "a call began",
        "level": "info",
        "logger": "bothway.test",
        "call": "c-1",
        "frames": 3,
        "ratio": 0.5,
        "ok": True,
        "nothing": None,
    }


def test_the_level_holds_for_both_kinds_of_logger(lines: io.StringIO) -> None:
    logs.get_logger("bothway.test").debug("too quiet")
    logging.getLogger("other").debug("too quiet")
    assert lines.getvalue() == ""


def test_bound_ids_are_on_every_line_inside_the_block(lines: io.StringIO) -> None:
    with logs.bound(call="c-1"), logs.bound(stream="s-1"):
        logs.get_logger("bothway.test").info("ours")
        logging.getLogger("other").warning("theirs")
    logs.get_logger("bothway.test").info("after")
    ours, theirs, after = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (ours["call"], ours["stream"]) == (theirs["call"], theirs["stream"]) == ("c-1", "s-1")
    assert "call" not in after
    assert "stream" not in after


class Holder:
    def __repr__(self) -> str:
        return f"Holder({SECRET})"


LEAKS = [
    {"event": f"the token is {SECRET}"},
    {"event": "x", "url": f"wss://host/stream/{SECRET}?a=b"},
    {"event": "x", "url": "wss://host/stream/s3cr3t%2Fwith%2Bodd%3Dcharacters"},
    {"event": "x", "headers": {"X-Any": SECRET}},
    {"event": "x", "nested": [{"deep": ({"er": SECRET},)}]},
    {"event": "x", "too_deep": [[[[[[[[[SECRET]]]]]]]]]},
    {"event": "x", "raw": SECRET.encode()},
    {"event": "x", "thing": Holder()},
    {"event": "x", "things": {Holder()}},
    {"event": "x", "error": ValueError(SECRET)},
    {"event": "x", SECRET: "as a name"},
    {"event": Holder()},
]


@pytest.mark.parametrize("fields", LEAKS, ids=str)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_registered_secret_is_cut_wherever_it_stands(
    lines: io.StringIO, fields: dict[str, object], as_json: bool
) -> None:
    logs.configure("info", json=as_json, stream=lines)
    logs.get_logger("bothway.test").info(**fields)  # type: ignore[arg-type]
    structlog.get_logger("someone").info(**fields)
    logs.get_logger("bothway.test").bind(**{k: v for k, v in fields.items() if k != "event"}).info("bound")
    written = lines.getvalue()
    assert "s3cr3t" not in written
    assert logs.REDACTED in written


@pytest.mark.parametrize("as_json", [True, False])
def test_a_registered_secret_is_cut_from_exceptions(lines: io.StringIO, as_json: bool) -> None:
    logs.configure("info", json=as_json, stream=lines)
    known: dict[str, str] = {}
    for logger in (logs.get_logger("bothway.test"), logging.getLogger("other")):
        try:
            try:
                _ = known[SECRET]
            except KeyError as error:
                raise UsageError(f"no entry for {SECRET}") from error
        except UsageError:
            logger.exception("it failed")
    written = lines.getvalue()
    assert written.count("UsageError: no entry for ***") == 2
    assert "s3cr3t" not in written


def test_a_registered_secret_is_cut_from_the_standard_librarys_lines(lines: io.StringIO) -> None:
    logs.configure("info", json=True, stream=lines)  # again: pytest's own capture would fail at the last line
    other = logging.getLogger("other")
    other.info("GET /stream/%s", SECRET)
    other.info("fields", extra={"header": SECRET, "auth_token": "unregistered"})
    other.info("stack of %s", SECRET, stack_info=True)
    other.info("%d of", SECRET)
    assert "s3cr3t" not in lines.getvalue()
    assert "unregistered" not in lines.getvalue()
    assert "a log line of other could not be written" in lines.getvalue()


NAMES = ["auth_token", "AuthToken", "client-secret", "password", "Authorization", "X-Plivo-Signature-V3", "api_key"]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_whose_name_says_secret_is_never_printed(lines: io.StringIO, name: str) -> None:
    log = logs.get_logger("bothway.test")
    log.info("direct", **{name: "plain-1"})
    log.info("a number", **{name: 71823})
    log.info("nested", headers={name: ["plain-2"]})
    log.info("pairs", headers=[(name, "plain-3"), ("Host", "example.com")])
    log.info("unset", **{name: None})
    written = lines.getvalue()
    assert "plain" not in written
    assert "71823" not in written
    assert "example.com" in written
    assert last(lines)[name] is None


def test_a_secret_inside_another_leaves_no_remainder(lines: io.StringIO) -> None:
    logs.redact("abcdef")
    logs.redact("abcdef-and-more")
    logs.get_logger("bothway.test").info("abcdef-and-more abcdef")
    assert last(lines)["event"] == "*** ***"
    logs.forget("abcdef-and-more")
    logs.get_logger("bothway.test").info("abcdef-and-more")
    assert last(lines)["event"] == "***-and-more"
    logs.forget("abcdef")
    logs.forget("never known")
    logs.get_logger("bothway.test").info("abcdef")
    assert last(lines)["event"] == "abcdef"


def test_a_secret_is_cut_until_all_who_registered_it_have_forgotten_it(lines: io.StringIO) -> None:
    for _ in range(2):
        logs.redact("shared-token")
    told = []
    for _ in range(3):
        logs.get_logger("bothway.test").info("shared-token")
        told.append(last(lines)["event"])
        logs.forget("shared-token")
    assert told == ["***", "***", "shared-token"]


def test_a_secret_of_digits_is_cut_from_numbers(lines: io.StringIO) -> None:
    logs.redact("90210042")
    logs.get_logger("bothway.test").info("a pin", entered=90210042, other=7)
    assert (last(lines)["entered"], last(lines)["other"]) == (logs.REDACTED, 7)
    logs.forget("90210042")


def test_our_events_are_cut_before_anyone_elses_log_file_sees_them() -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keep = Keep()
    logging.getLogger("bothway.unconfigured").addHandler(keep)
    logs.redact(SECRET)
    logs.get_logger("bothway.unconfigured").error(f"got {SECRET}", field=SECRET)
    logs.forget(SECRET)
    logging.getLogger("bothway.unconfigured").removeHandler(keep)
    assert "s3cr3t" not in str(records[0].__dict__)


def test_text_lines_carry_the_fields(lines: io.StringIO) -> None:
    logs.configure("info", json=False, stream=lines)
    logs.get_logger("bothway.test").warning("slow", late_ms=12)
    assert "slow" in lines.getvalue()
    assert "late_ms=12" in lines.getvalue()


def test_a_closed_stream_does_not_bring_the_program_down(lines: io.StringIO) -> None:
    closed = io.StringIO()
    logs.configure("info", json=True, stream=closed)
    closed.close()
    logs.get_logger("bothway.test").info("into the void")


def test_what_cannot_be_configured_or_redacted_is_refused() -> None:
    with pytest.raises(UsageError, match="the levels are debug, info"):
        logs.configure("loud", json=True, stream=io.StringIO())
    with pytest.raises(UsageError, match="empty"):
        logs.redact("")


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.just(f"<{SECRET}>")),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(st.text(), inner)),
    max_leaves=12,
)


@given(value=VALUES)
def test_no_shape_of_value_lets_the_secret_out(value: object) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level, config = root.handlers[:], root.level, structlog.get_config()
    logs.redact(SECRET)
    logs.configure("info", json=True, stream=stream)
    try:
        logs.get_logger("bothway.test").info("x", value=value)
    finally:
        logs.forget(SECRET)
        root.handlers[:] = before
        root.setLevel(level)
        structlog.configure(**config)
    assert "s3cr3t" not in stream.getvalue()
    assert "value" in json.loads(stream.getvalue())
