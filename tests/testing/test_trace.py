from __future__ import annotations

from typing import Any

from bothway.testing.exchanges import RestRequest, Webhook
from bothway.testing.trace import Mark, Trace


def record(event: str, **facts: Any) -> dict[str, Any]:
    return {"event": event, "t_ms": 40, "at": 0.5, **facts}


def test_records_are_read_and_tell_the_call_and_its_end() -> None:
    trace = Trace(lambda: 0)
    trace.log(record("call", call_id="some-uuid"))
    assert trace.call_id == "some-uuid"
    assert not trace.ended
    trace.log(record("ended", code=4000))
    trace.log(record("callback", status=200))
    assert trace.ended is trace.records[1]
    first = trace.records[0]
    assert (first.event, first.t_ms, first.at, first.facts) == ("call", 40, 0.5, {"call_id": "some-uuid"})


def test_everything_that_happens_is_told_to_every_watcher() -> None:
    trace = Trace(lambda: 0)
    seen: list[str] = []

    def once() -> None:
        seen.append("once")
        trace.unwatch(once)

    def always() -> None:
        seen.append("always")

    trace.watch(once)
    trace.watch(always)
    trace.log(record("call"))
    trace.called_back(Webhook("POST", "https://app.test/answer", {}, 200))
    trace.asked(RestRequest("DELETE", "/v1", 204))
    trace.close()
    assert seen == ["once", "always", "always", "always", "always"]
    assert trace.over
    assert len(trace.webhooks) == len(trace.rest) == 1


def test_each_thing_is_claimed_once() -> None:
    trace = Trace(lambda: 0)
    same = Webhook("POST", "https://app.test/status", {"Event": "a"}, 200)
    for webhook in (same, Webhook("POST", "https://app.test/status", {"Event": "a"}, 200)):
        trace.called_back(webhook)

    def claim() -> Webhook | None:
        return trace.claim(trace.webhooks, lambda found: found.params["Event"] == "a")

    assert claim() is same
    assert claim() is trace.webhooks[1]
    assert claim() is None


def test_a_failure_is_marked_where_it_was_noticed() -> None:
    now = [0]
    trace = Trace(lambda: now[0])
    now[0] = 1240
    assert str(trace.failed("it is late")) == "it is late"
    trace.mark("and later")
    assert trace.marks == [Mark(1240, "it is late"), Mark(1240, "and later")]


def test_promises_are_kept_by_awaiting() -> None:
    trace = Trace(lambda: 0)
    for what in ("a", "b", "a"):
        trace.promised(what)
    trace.awaited("a")
    assert trace.promises == ["b", "a"]
    trace.awaited("b")
    trace.awaited("b")
    assert trace.promises == ["a"]
