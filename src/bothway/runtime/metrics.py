"""Metrics: what a node counts, by Prometheus's rules, in a registry of its own.

`METRICS` is the one table of names, labels and meanings. Every label has a fixed set of values, so every child exists
from the start: a series is there, at zero, before its first event, and counting never looks a label up. Media is
counted by the tick (`inc(n)`), never by a label look-up per frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bothway.errors import UsageError

__all__ = [
    "BAD_MESSAGES",
    "CALLBACK_OUTCOMES",
    "CALL_OUTCOMES",
    "CHECKPOINT_OUTCOMES",
    "FETCH_KINDS",
    "FETCH_OUTCOMES",
    "METRICS",
    "REFUSED",
    "STREAM_OUTCOMES",
    "TRACKS",
    "Metric",
    "Metrics",
]

TRACKS = ("from_caller", "to_caller")
"""Whose audio a frame is."""

CALL_OUTCOMES = ("completed", "busy", "no-answer", "timeout", "cancel", "failed")
"""How a call ended: the final values of CallStatus (plivo-protocol.md, 6.2)."""

STREAM_OUTCOMES = ("ended", "dropped", "failed")
"""How a stream ended: as it should; cut off for a slow reader or a lost socket; never connected."""

CHECKPOINT_OUTCOMES = ("played", "cleared")
"""What became of a checkpoint: reported, or dropped by a clear."""

FETCH_KINDS = ("answer", "action", "play", "other")
"""What was asked for over HTTP: the first document, a later one, a sound file, or anything else."""

FETCH_OUTCOMES = ("ok", "status", "invalid", "timeout", "unreachable", "refused")
"""How it went: well; an HTTP error; a body that is no use; too slow; no connection; a URL that may not be fetched."""

CALLBACK_OUTCOMES = ("delivered", "retried", "abandoned")
"""What became of one attempt at a callback, the last being the giving up."""

REFUSED = ("webhook", "stream")
"""What an app turned away: no good signature, no token of its own, or a second stream for a call."""

BAD_MESSAGES = ("json", "schema", "unknown", "size", "audio", "state", "binary", "other")
"""What was wrong with a stream message: no JSON; JSON of a wrong shape; an event that does not exist; too large; audio
that does not decode or has another format; not at this time; a binary frame; anything else."""

_REASON_OF = {
    "not-json": "json",
    "no-event": "schema",
    "wrong-type": "schema",
    "long-name": "schema",
    "bad-digit": "schema",
    "unknown-event": "unknown",
    "play-stream": "unknown",
    "twilio-connected": "unknown",
    "twilio-media": "unknown",
    "twilio-mark": "unknown",
    "twilio-clear": "unknown",
    "app-stop": "unknown",
    "app-hangup": "unknown",
    "bad-base64": "audio",
    "bad-format": "audio",
    "odd-bytes": "audio",
    "wav-header": "audio",
    "out-of-order": "state",
    "one-way": "state",
    "stray-played": "state",
    "stray-cleared": "state",
    "binary": "binary",
    "too-big": "size",
}
"""The codes of `bothway.wire.stream.Mistake`, by the fewer words that are counted."""

_CALL_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
_FETCH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
_LATE_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.5)


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`.

    Attributes:
        kind: What Prometheus calls it.
        name: Its full name, as Prometheus shows it.
        help: What it counts.
        labels: Each label and every value that it may take.
        buckets: The upper bounds of a histogram, in its unit.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric("gauge", "bothway_calls_active", "Calls that are up or being set up"),
    Metric("counter", "bothway_calls_total", "Calls that ended", (("outcome", CALL_OUTCOMES),)),
    Metric("histogram", "bothway_call_seconds", "How long calls lasted", buckets=_CALL_SECONDS),
    Metric("gauge", "bothway_streams_active", "Audio streams that are connected"),
    Metric("counter", "bothway_streams_total", "Audio streams that ended", (("outcome", STREAM_OUTCOMES),)),
    Metric("counter", "bothway_streams_degraded_total", "Times that a stream's reader fell behind a threshold"),
    Metric("counter", "bothway_frames_total", "Frames of 20 ms that passed", (("track", TRACKS),)),
    Metric("counter", "bothway_frame_slips_total", "Frames that left later than their place on the grid"),
    Metric("histogram", "bothway_tick_late_seconds", "How late the media ticker woke", buckets=_LATE_SECONDS),
    Metric("counter", "bothway_playout_refused_chunks_total", "Chunks refused because the playout queue was full"),
    Metric("counter", "bothway_clears_total", "Times that a playout queue was cleared"),
    Metric("counter", "bothway_checkpoints_total", "Checkpoints settled", (("outcome", CHECKPOINT_OUTCOMES),)),
    Metric(
        "counter",
        "bothway_http_fetches_total",
        "Documents and sounds fetched",
        (("kind", FETCH_KINDS), ("outcome", FETCH_OUTCOMES)),
    ),
    Metric(
        "histogram",
        "bothway_http_fetch_seconds",
        "How long fetching took, whatever came of it",
        (("kind", FETCH_KINDS),),
        _FETCH_SECONDS,
    ),
    Metric("counter", "bothway_callbacks_total", "Attempts to deliver callbacks", (("outcome", CALLBACK_OUTCOMES),)),
    Metric(
        "counter",
        "bothway_ws_bad_messages_total",
        "Stream messages that broke the contract",
        (("reason", BAD_MESSAGES),),
    ),
    Metric(
        "counter",
        "bothway_refused_total",
        "Requests and streams that an app refused as not the carrier's",
        (("kind", REFUSED),),
    ),
    Metric("counter", "bothway_record_write_failures_total", "Records of calls, streams and recordings not written"),
    Metric("counter", "bothway_evidence_write_failures_total", "Writes of event logs and recordings that failed"),
    Metric(
        "counter",
        "bothway_stream_audio_dropped_frames_total",
        "Caller's frames dropped because the app's code was slow",
    ),
)
"""Every metric of Bothway."""

_BY_NAME = {metric.name: metric for metric in METRICS}
_Child = TypeVar("_Child", Counter, Gauge, Histogram)


class _Bound(Generic[_Child]):
    """The children of one labelled metric, made at the start."""

    def __init__(self, metric: Metric, family: _Child) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], _Child] = {
            values: family.labels(*values) for values in product(*(allowed for _, allowed in metric.labels))
        }

    def __call__(self, *values: str) -> _Child:
        """The child of these label values, to be kept by whoever counts often.

        Raises:
            UsageError: A value that `METRICS` does not allow.
        """
        try:
            return self._children[values]
        except KeyError:
            allowed = "; ".join(f"{name} is one of {', '.join(known)}" for name, known in self._metric.labels)
            raise UsageError(f"{self._metric.name} has no child {', '.join(values)}: {allowed}") from None


class Metrics:
    """One node's metrics. Two of them in one process share nothing.

    Attributes are named as in `METRICS`, without `bothway_` and `_total`. Those with labels are called with the
    values of their labels: `metrics.calls("busy").inc()`; the others count as they are: `metrics.clears.inc()`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls_active = self._gauge("bothway_calls_active")
        self.calls = _Bound(*self._counters("bothway_calls_total"))
        self.call_seconds = self._histogram("bothway_call_seconds")
        self.streams_active = self._gauge("bothway_streams_active")
        self.streams = _Bound(*self._counters("bothway_streams_total"))
        self.streams_degraded = self._counter("bothway_streams_degraded_total")
        frames = _Bound(*self._counters("bothway_frames_total"))
        self.frames_from_caller, self.frames_to_caller = frames("from_caller"), frames("to_caller")
        self.frame_slips = self._counter("bothway_frame_slips_total")
        self.tick_late_seconds = self._histogram("bothway_tick_late_seconds")
        self.playout_refused_chunks = self._counter("bothway_playout_refused_chunks_total")
        self.clears = self._counter("bothway_clears_total")
        self.checkpoints = _Bound(*self._counters("bothway_checkpoints_total"))
        self.http_fetches = _Bound(*self._counters("bothway_http_fetches_total"))
        fetch_seconds = _BY_NAME["bothway_http_fetch_seconds"]
        self.http_fetch_seconds = _Bound(fetch_seconds, self._histogram(fetch_seconds.name))
        self.callbacks = _Bound(*self._counters("bothway_callbacks_total"))
        self.ws_bad_messages = _Bound(*self._counters("bothway_ws_bad_messages_total"))
        self.refused = _Bound(*self._counters("bothway_refused_total"))
        self.record_write_failures = self._counter("bothway_record_write_failures_total")
        self.evidence_write_failures = self._counter("bothway_evidence_write_failures_total")
        self.stream_audio_dropped_frames = self._counter("bothway_stream_audio_dropped_frames_total")

    def call_ended(self, outcome: str, seconds: float) -> None:
        """Count a call that ended.

        Args:
            outcome: One of `CALL_OUTCOMES`.
            seconds: How long it lasted, from answer to end; 0 if it was never answered.

        Raises:
            UsageError: Another outcome.
        """
        self.calls(outcome).inc()
        if seconds > 0:
            self.call_seconds.observe(seconds)

    def fetched(self, kind: str, outcome: str, seconds: float) -> None:
        """Count one fetch.

        Args:
            kind: One of `FETCH_KINDS`.
            outcome: One of `FETCH_OUTCOMES`.
            seconds: How long it took.

        Raises:
            UsageError: Another kind or outcome.
        """
        self.http_fetches(kind, outcome).inc()
        self.http_fetch_seconds(kind).observe(seconds)

    def bad_message(self, reason: str, times: int = 1) -> None:
        """Count stream messages that broke the contract.

        Args:
            reason: The code of their `Mistake`, or a word of `BAD_MESSAGES`. What is neither counts as `other`.
            times: How many there were.
        """
        reason = _REASON_OF.get(reason, reason)
        self.ws_bad_messages(reason if reason in BAD_MESSAGES else "other").inc(times)

    def render(self) -> tuple[bytes, str]:
        """The body of `/metrics`, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, _BY_NAME[name].help, registry=self.registry)

    def _counter(self, name: str) -> Counter:
        metric = _BY_NAME[name]
        return Counter(name, metric.help, [label for label, _ in metric.labels], registry=self.registry)

    def _counters(self, name: str) -> tuple[Metric, Counter]:
        return _BY_NAME[name], self._counter(name)

    def _histogram(self, name: str) -> Histogram:
        metric = _BY_NAME[name]
        labels = [label for label, _ in metric.labels]
        return Histogram(name, metric.help, labels, buckets=metric.buckets, registry=self.registry)
