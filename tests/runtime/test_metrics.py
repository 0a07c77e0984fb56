"""Metrics: the table, the children, and the page."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bothway.errors import UsageError
from bothway.runtime.metrics import _REASON_OF, BAD_MESSAGES, CALL_OUTCOMES, METRICS, Metrics
from bothway.wire.dialects.plivo import _APP_HINTS, _CARRIER_HINTS


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_row_of_the_table_is_on_the_page_with_its_help_and_nothing_else() -> None:
    body, content_type = Metrics().render()
    shown = {family.name: family for family in text_string_to_metric_families(body.decode())}
    created = {name for name in shown if name.endswith("_created")}
    assert content_type.startswith("text/plain")
    assert {name for name in shown if name not in created} == {one.name.removesuffix("_total") for one in METRICS}
    for one in METRICS:
        family = shown[one.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (one.kind, one.help)


def test_every_series_is_there_before_its_first_event() -> None:
    metrics = Metrics()
    assert [sample(metrics, "bothway_calls_total", outcome=outcome) for outcome in CALL_OUTCOMES] == [0] * 6
    assert sample(metrics, "bothway_frames_total", track="from_caller") == 0
    assert sample(metrics, "bothway_http_fetches_total", kind="answer", outcome="timeout") == 0


def test_names_follow_the_rules() -> None:
    for one in METRICS:
        assert one.name.startswith("bothway_")
        assert (one.kind == "counter") == one.name.endswith("_total")
        assert (one.kind == "histogram") == bool(one.buckets)
        assert list(one.buckets) == sorted(one.buckets)
        assert hasattr(Metrics(), one.name.removeprefix("bothway_").removesuffix("_total")) or one.name == (
            "bothway_frames_total"
        )


def test_events_are_counted_where_they_belong() -> None:
    metrics = Metrics()
    metrics.calls_active.inc()
    metrics.frames_from_caller.inc(50)
    metrics.frames_to_caller.inc(49)
    metrics.call_ended("completed", 12.5)
    metrics.call_ended("busy", 0)
    metrics.fetched("answer", "ok", 0.02)
    metrics.fetched("answer", "status", 0.3)
    metrics.checkpoints("cleared").inc(3)
    metrics.bad_message("json")
    metrics.bad_message("what a client wrote")
    assert sample(metrics, "bothway_calls_active") == 1
    assert sample(metrics, "bothway_frames_total", track="from_caller") == 50
    assert sample(metrics, "bothway_frames_total", track="to_caller") == 49
    assert sample(metrics, "bothway_calls_total", outcome="completed") == 1
    assert sample(metrics, "bothway_calls_total", outcome="busy") == 1
    assert sample(metrics, "bothway_call_seconds_count") == 1
    assert sample(metrics, "bothway_http_fetches_total", kind="answer", outcome="ok") == 1
    assert sample(metrics, "bothway_http_fetch_seconds_count", kind="answer") == 2
    assert sample(metrics, "bothway_checkpoints_total", outcome="cleared") == 3
    assert sample(metrics, "bothway_ws_bad_messages_total", reason="json") == 1
    assert sample(metrics, "bothway_ws_bad_messages_total", reason="other") == 1


def test_every_mistake_is_counted_by_a_word_of_the_table() -> None:
    assert set(_REASON_OF.values()) <= set(BAD_MESSAGES)


@pytest.mark.parametrize("code", [code for hints in (_APP_HINTS, _CARRIER_HINTS) for code, _ in hints.values()])
def test_a_message_of_another_protocol_is_an_unknown_one(code: str) -> None:
    metrics = Metrics()
    metrics.bad_message(code, times=3)
    reason = "other" if code == "carrier-error" else "unknown"
    assert sample(metrics, "bothway_ws_bad_messages_total", reason=reason) == 3


def test_two_nodes_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.clears.inc()
    assert sample(one, "bothway_clears_total") == 1
    assert sample(other, "bothway_clears_total") == 0


def test_a_label_value_outside_the_table_is_refused() -> None:
    metrics = Metrics()
    with pytest.raises(UsageError, match="bothway_calls_total has no child lost: outcome is one of completed, busy"):
        metrics.call_ended("lost", 1)
    with pytest.raises(UsageError, match="kind is one of answer"):
        metrics.fetched("answer", "strange", 1)
