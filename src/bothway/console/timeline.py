"""What happened on a call, for people to read in a terminal, and how long what they waited for took."""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeAlias

import numpy as np

from bothway.audio.format import FRAME_MS
from bothway.audio.level import STOP_MS, THRESHOLD_DBFS
from bothway.console.evidence import CallEvidence, LogRecord, Speaker

__all__ = [
    "MAX_TEXT",
    "Clear",
    "Latencies",
    "Line",
    "Teller",
    "Turn",
    "clock",
    "duration",
    "ending",
    "latencies",
    "lines",
    "printable",
    "render",
    "totals",
    "waits",
]

MAX_TEXT = 400
"""Characters shown of any one text of a log: what a stranger wrote does not fill a terminal."""

_LEAST_WIDTH = 72
_STRIP_ROWS = 3
_STRIP_MARGIN = 9
_CELLS_MS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)
_BARS = "▁▂▃▄▅▆▇█"
_QUIET = "·"
_LOUDEST_DBFS = -6.0  # shown as a full bar; the quietest bar is the level from which a frame is loud

Teller: TypeAlias = Speaker | Literal["test"]
"""Whose doing a line tells of: a test has expectations."""

_COLOURS: dict[Teller, str] = {"caller": "36", "app": "32", "carrier": "2", "test": "1"}
_TROUBLE_COLOUR = "31"


# What people waited for.


@dataclass(frozen=True, slots=True)
class Turn:
    """The caller spoke, and the app replied.

    Attributes:
        asked_ms: Where the caller's last loud frame ends, on the media clock.
        replied_ms: Where the app's first loud frame after it starts.
    """

    asked_ms: int
    replied_ms: int

    @property
    def ms(self) -> int:
        """How long the caller waited."""
        return self.replied_ms - self.asked_ms


@dataclass(frozen=True, slots=True)
class Clear:
    """Audio was dropped that the caller had not heard yet.

    Attributes:
        t_ms: When the clear reached the carrier, on the media clock.
        dropped_ms: How much was dropped.
        silent_after_ms: How long afterwards the last of the older audio was heard. None where it cannot be told: new
            audio came at once, or the call was over.
    """

    t_ms: int
    dropped_ms: float
    silent_after_ms: int | None


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long things took, all in milliseconds; None where it did not happen. Defined in docs/evidence.md.

    Attributes:
        answer_to_stream: From the answer until the stream was open; the caller's first 20 ms leave with the next frame.
        answer_to_audible: From the answer until the app was first heard.
        turns: Every turn that the caller gave and the app took.
        clears: Every clear that dropped something.
    """

    answer_to_stream: float | None
    answer_to_audible: float | None
    turns: tuple[Turn, ...]
    clears: tuple[Clear, ...]

    @property
    def turn_p50(self) -> float | None:
        """The median wait for a reply."""
        return median(turn.ms for turn in self.turns) if self.turns else None

    @property
    def turn_max(self) -> int | None:
        """The longest wait for a reply."""
        return max((turn.ms for turn in self.turns), default=None)

    @property
    def clear_max(self) -> int | None:
        """The longest that cleared audio went on."""
        return max((clear.silent_after_ms for clear in self.clears if clear.silent_after_ms is not None), default=None)


def latencies(evidence: CallEvidence) -> Latencies:
    """What the log and the recording tell of waiting.

    A reply is measured from the caller's last voiced audio, not from the moment at which anyone noticed that the caller
    had finished: that is what the caller waits for (contracts.md, section 6.6).
    """
    answered, opened = evidence.first("answered"), evidence.first("stream_started")
    played = evidence.first("play")
    heard = next((utterance for utterance in evidence.utterances if utterance.speaker == "app"), None)
    first_play = played.t_ms if played is not None else 0
    return Latencies(
        answer_to_stream=(opened.at - answered.at) * 1000 if answered is not None and opened is not None else None,
        # An utterance may have begun as a prompt of the document's, which ran on into the app's audio.
        answer_to_audible=max(heard.start_ms, first_play) if heard is not None else None,
        turns=_turns(evidence),
        clears=_clears(evidence),
    )


def _turns(evidence: CallEvidence) -> tuple[Turn, ...]:
    """The app was silent when the caller ended, and spoke before the caller did again."""
    caller = [utterance for utterance in evidence.utterances if utterance.speaker == "caller"]
    app = [utterance for utterance in evidence.utterances if utterance.speaker == "app"]
    starts = [utterance.start_ms for utterance in app]
    turns = []
    for index, asked in enumerate(caller):
        reply = bisect_left(starts, asked.end_ms)
        still_speaking = reply > 0 and app[reply - 1].end_ms > asked.end_ms
        next_asked = caller[index + 1].start_ms if index + 1 < len(caller) else evidence.duration_ms
        if not still_speaking and reply < len(app) and app[reply].start_ms < next_asked:
            turns.append(Turn(asked.end_ms, app[reply].start_ms))
    return tuple(turns)


def _clears(evidence: CallEvidence) -> tuple[Clear, ...]:
    clears = []
    newer_ms = evidence.duration_ms
    for record in reversed(evidence.records):
        if record.event in ("play", "checkpoint", "verb"):
            # From here on what sounds may be newer than a clear before: the app's next audio, which may show only by
            # the checkpoint behind it, or a verb's prompt.
            newer_ms = record.t_ms
        elif record.event == "cleared" and record.number("ms") > 0:
            silent = _silent_after(evidence, record.t_ms, newer_ms)
            clears.append(Clear(record.t_ms, record.number("ms"), silent))
    return tuple(reversed(clears))


def _silent_after(evidence: CallEvidence, t_ms: int, until: float) -> int | None:
    """How long what sounds at `t_ms` goes on, up to the first pause; None if there is nothing to look at."""
    first = t_ms // FRAME_MS
    levels = evidence.levels[first : int(until / FRAME_MS), 1]
    if not len(levels):
        return None
    loud = np.flatnonzero(levels >= THRESHOLD_DBFS)
    last = -1
    for frame in loud.tolist():
        if (frame - last - 1) * FRAME_MS >= STOP_MS:
            break
        last = frame
    return (last + 1) * FRAME_MS


# What happened.


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline.

    Attributes:
        start_ms: When, in milliseconds since the answer; below zero before it. A call that was never answered counts
            from when it came in.
        end_ms: When it was over; `start_ms` if it took no time.
        who: Whose doing it was.
        kind: The event's name in the log, `speech` for an utterance, or `mark` for the place that one should look at.
        text: What happened, in words and without control characters; not fit for HTML as it is.
        trouble: Whether it is something that should not be.
    """

    start_ms: float
    end_ms: float
    who: Teller
    kind: str
    text: str
    trouble: bool = False


def lines(evidence: CallEvidence) -> list[Line]:
    """What happened, in order. One line is the audio of one utterance, or the checkpoints that were set at once."""
    told = [
        Line(utterance.start_ms, utterance.end_ms, utterance.speaker, "speech", f"speaks {duration(utterance.ms)}")
        for utterance in evidence.utterances
    ]
    answered = evidence.first("answered")
    since = answered.at if answered is not None else 0.0
    before_answer = True
    for group in _groups(evidence):
        before_answer = before_answer and group[0] is not answered
        start_ms = (group[0].at - since) * 1000 if before_answer else float(group[0].t_ms)
        told.append(_line(group, start_ms))
    return sorted(told, key=lambda line: (line.start_ms, line.kind == "speech"))


def _groups(evidence: CallEvidence) -> list[list[LogRecord]]:
    """The records that are told, those of one line together."""
    app = [utterance for utterance in evidence.utterances if utterance.speaker == "app"]
    starts = [utterance.start_ms for utterance in app]
    groups: list[list[LogRecord]] = []
    unfinished: dict[str, list[LogRecord]] = {}
    for record in evidence.records:
        if record.event == "media":
            continue
        group = unfinished.get(record.event, [])
        if group and record.event == "play":
            last, before = group[-1], bisect_left(starts, record.t_ms)
            expected_ms = last.t_ms + last.number("ms")
            # Only the recording tells how long an utterance went on whose audio came bit by bit.
            heard_ms = app[before - 1].end_ms if before else 0
            goes_on = record.t_ms < max(expected_ms, heard_ms) + STOP_MS
        else:
            goes_on = bool(group) and record.t_ms == group[-1].t_ms and record.facts.get("accepted") is True
        if goes_on:
            group.append(record)
            continue
        if record.event not in ("play", "checkpoint"):
            unfinished.pop("checkpoint", None)
        if record.event in ("cleared", "stream_ended"):
            unfinished.pop("play", None)
        groups.append([record])
        if record.event == "play" or (record.event == "checkpoint" and record.facts.get("accepted") is True):
            unfinished[record.event] = groups[-1]
    return groups


_WORDS: dict[str, tuple[Speaker, Callable[[LogRecord], str]]] = {
    "call": ("caller", lambda r: f"calls {_t(r, 'to') or 'nobody'} from {_t(r, 'from') or 'no number'}"),
    "document": ("carrier", lambda r: f"got the {_t(r, 'kind')} document: {_t(r, 'bytes')} bytes, after {_ms(r)}"),
    "document_failed": ("carrier", lambda r: f"got no {_t(r, 'kind')} document: {_t(r, 'text')}"),
    "verb": ("carrier", lambda r: f"runs <{_t(r, 'element')}>"),
    "remark": ("carrier", lambda r: f"remarks: {_t(r, 'text')}"),
    "early_media": ("carrier", lambda _: "lets the caller hear before it answers"),
    "answered": ("carrier", lambda _: "answers the call"),
    "stream_opening": ("carrier", lambda r: f"opens the stream {_t(r, 'stream_id')}"),
    "stream_started": ("carrier", lambda r: f"the stream is open, in {_t(r, 'format')}"),
    "stream_refused": ("carrier", lambda r: f"opens no stream: {_t(r, 'text')}"),
    "stream_degraded": ("app", lambda r: f"reads too slowly: {r.number('percent'):g} % of its buffer is full"),
    "played": ("carrier", lambda r: f"has played all up to the checkpoint {_name(r)}"),
    "refused": ("carrier", lambda r: f"refuses {_ms(r)} of the app's audio: {_ms(r, 'queued_ms')} wait already"),
    "dropped": ("carrier", lambda r: f"drops {_ms(r)} of audio not yet played, with the stream"),
    "send_dtmf": ("app", lambda r: f"sends the digits {_t(r, 'digits')}"),
    "dtmf": ("caller", lambda r: f"presses {_t(r, 'digit')}"),
    "speech": ("caller", lambda r: f"says, as it was understood: {_t(r, 'text')}"),
    "mistake": ("app", lambda r: f"makes a mistake ({_t(r, 'code')}): {_t(r, 'text')}"),
    "mistakes": ("app", lambda r: f"made the mistake {_t(r, 'code')} {r.number('count'):g} times in all"),
    "prompt": ("carrier", lambda r: f"<{_t(r, 'element')}>: {_t(r, 'text')}"),
    "prompt_played": ("carrier", lambda _: "the caller has heard it"),
    "prompt_failed": ("carrier", lambda r: f"could not play a prompt: {_t(r, 'text')}"),
    "evidence_failed": ("carrier", lambda r: f"could not write {_t(r, 'file')}: {_t(r, 'text')}"),
}
"""The events that are told in the same words each time."""

_TROUBLE = frozenset(
    (
        "document_failed",
        "evidence_failed",
        "mistake",
        "mistakes",
        "prompt_failed",
        "refused",
        "remark",
        "stream_degraded",
        "stream_refused",
    )
)


def _line(group: Sequence[LogRecord], start_ms: float) -> Line:
    record = group[0]
    event = record.event
    trouble = event in _TROUBLE
    who: Speaker
    if event in _WORDS:
        who, words = _WORDS[event]
        text = words(record)
    elif event == "play":
        dry = f", whose queue runs dry {_times(len(group) - 1)}" if len(group) > 1 else ""
        who, text = "app", f"sends audio{dry}"
    elif event == "checkpoint":
        trouble = record.facts.get("accepted") is False
        who, text = "app", f"sets the checkpoint {_name(record)}{', which is refused' if trouble else ''}"
        if len(group) > 1:
            text = f"sets {len(group)} checkpoints, {_name(record)} to {_name(group[-1])}"
    elif event == "stream_ended":
        trouble = record.facts.get("failed") is True
        who, text = "carrier", f"the stream {'failed' if trouble else 'ended'}: {_t(record, 'text')}"
    elif event == "cleared":
        ms = record.number("ms")
        who, text = "app", f"clears: {duration(ms)} of audio dropped" if ms else "clears: nothing was waiting"
    elif event == "callback":
        trouble = "error" in record.facts or record.number("status") >= 400
        who, text = "carrier", _callback(record)
    elif event == "ended":
        trouble = record.facts.get("ran_to_end") is False
        who, text = "caller" if record.text("source") == "Caller" else "carrier", f"ends the call: {ending(record)}"
    else:
        facts = ", ".join(f"{key}={value}" for key, value in record.facts.items())
        who, text = "carrier", printable(f"{event}: {facts}")
    return Line(start_ms, start_ms, who, event, text, trouble)


def ending(record: LogRecord) -> str:
    """Why a call ended, from its `ended` record."""
    detail = f" ({_t(record, 'detail')})" if record.text("detail") else ""
    return f"{_t(record, 'code')} {_t(record, 'name')}, by {_t(record, 'source')}{detail}"


def _callback(record: LogRecord) -> str:
    what = " ".join(part for part in (_t(record, "kind"), "callback", _t(record, "what")) if part)
    if "error" in record.facts:
        return f"{what} failed: {_t(record, 'error')}"
    return f"{what} delivered, answered with {_t(record, 'status')}"


# Words.


def printable(text: str) -> str:
    """A stranger's text on one line: whatever a terminal could take for an order is written as an escape."""
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def clock(ms: float) -> str:
    """A time as `mm:ss.mmm`; with a minus sign before the answer."""
    whole = round(abs(ms))
    return f"{'-' if ms < 0 and whole else ''}{whole // 60_000:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"


def duration(ms: float) -> str:
    """A length of time as people say it: `640 ms`, `2.3 s`."""
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s"


def _t(record: LogRecord, key: str) -> str:
    return printable(record.text(key))


def _name(record: LogRecord) -> str:
    return f"“{_t(record, 'name')}”"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _ms(record: LogRecord, key: str = "ms") -> str:
    return duration(record.number(key))


# The whole.


def totals(evidence: CallEvidence) -> dict[str, int]:
    """How often what should not happen did: late frames, gaps and overruns of the caller's audio, and so on."""
    records = evidence.records
    media = [record for record in records if record.event == "media"]
    # A kind of mistake is told once as it happens, and counted when the stream ends if it happened again.
    again = sum(int(record.number("count")) - 1 for record in records if record.event == "mistakes")
    return {
        "late frames": sum(int(record.number("slips")) for record in media),
        "caller frames missing": sum(int(record.number("gaps")) for record in media),
        "caller frames dropped": sum(int(record.number("overruns")) for record in media),
        "chunks refused": sum(record.event == "refused" for record in records),
        "mistakes": sum(record.event == "mistake" for record in records) + again,
    }


def waits(found: Latencies) -> list[tuple[str, str]]:
    """Each latency's name, and what it was."""
    rows = []
    if found.answer_to_stream is not None:
        rows.append(("answer → stream open", f"{found.answer_to_stream:.0f} ms"))
    if found.answer_to_audible is not None:
        rows.append(("answer → app audible", f"{found.answer_to_audible:.0f} ms"))
    if len(found.turns) == 1:
        rows.append(("caller stops → app audible", f"{found.turn_max} ms, in one turn"))
    elif found.turn_p50 is not None:
        each = f"p50 {found.turn_p50:.0f} ms, max {found.turn_max} ms, in {len(found.turns)} turns"
        rows.append(("caller stops → app audible", each))
    if found.clear_max is not None:
        measured = sum(clear.silent_after_ms is not None for clear in found.clears)
        several = f"max {found.clear_max} ms, in {measured} clears"
        rows.append(("clear → silence", several if measured > 1 else f"{found.clear_max} ms, in one clear"))
    return rows


def render(evidence: CallEvidence, *, width: int = 100, colour: bool = False, more: Sequence[Line] = ()) -> str:
    """The call as text: who called whom, a strip of who was sounding when, the timeline, and the latencies.

    Args:
        evidence: The call.
        width: Columns; at least 72 are used.
        colour: Whether to colour it, with ANSI escapes.
        more: Lines for the timeline that are not in the evidence.
    """
    width = max(width, _LEAST_WIDTH)
    blocks = [
        _heading(evidence, width),
        _strip(evidence, width, colour),
        _table([*lines(evidence), *more], width, colour),
    ]
    return "\n\n".join("\n".join(block) for block in [*blocks, _summary(evidence, width)] if block) + "\n"


def _heading(evidence: CallEvidence, width: int) -> list[str]:
    heading = [f"call {printable(evidence.call_id)}"]
    call = evidence.first("call")
    if call is not None:
        about = f"{_t(call, 'wall')}, {_t(call, 'direction')}, {_t(call, 'leg')}, profile {_t(call, 'profile')}"
        heading += textwrap.wrap(about, width)
    for remark in evidence.remarks:
        heading += textwrap.wrap(f"! {printable(remark)}", width, subsequent_indent="  ")
    return heading


def _strip(evidence: CallEvidence, width: int, colour: bool) -> list[str]:
    """Who was sounding when: a bar a cell, as high as its loudest frame."""
    frames = len(evidence.levels)
    if not frames:
        return []
    columns = (width - _STRIP_MARGIN) // 10 * 10
    length = frames * FRAME_MS
    cell_ms = next((ms for ms in _CELLS_MS if length <= ms * columns * _STRIP_ROWS), _CELLS_MS[-1])
    cells = np.maximum.reduceat(evidence.levels, np.arange(0, frames, cell_ms // FRAME_MS))
    step = (_LOUDEST_DBFS - THRESHOLD_DBFS) / len(_BARS)
    heights = np.clip((cells - THRESHOLD_DBFS) / step, 0, len(_BARS) - 1).astype(int)
    sides: tuple[Speaker, Speaker] = ("caller", "app")
    rows = [f"one mark is {duration(cell_ms)}"]
    for first in range(0, len(cells), columns):
        here = range(first, min(first + columns, len(cells)))
        marks = "".join(f"{clock(cell * cell_ms)[:-4]:<10}" for cell in here if (cell - first) % 10 == 0)
        for side, who in enumerate(sides):
            bars = "".join(
                _BARS[heights[cell, side]] if cells[cell, side] >= THRESHOLD_DBFS else _QUIET for cell in here
            )
            rows.append(_paint(f"{who:<{_STRIP_MARGIN}}", _COLOURS[who], colour) + bars)
        rows.append(" " * _STRIP_MARGIN + marks.rstrip())
    return rows


def _table(told: Sequence[Line], width: int, colour: bool) -> list[str]:
    table = []
    for line in sorted(told, key=lambda line: (line.start_ms, line.kind == "mark")):
        first, *more = textwrap.wrap(line.text, width - 21) or [""]
        text = [_paint(part, _TROUBLE_COLOUR, colour and line.trouble) for part in (first, *more)]
        who = _paint(f"{line.who:<9}", _COLOURS[line.who], colour)
        mark = "▶" if line.kind == "mark" else " "
        table.append(f"{mark}{clock(line.start_ms):>9}  {who}{text[0]}")
        table += [" " * 21 + part for part in text[1:]]
    return table


def _summary(evidence: CallEvidence, width: int) -> list[str]:
    rows = waits(latencies(evidence))
    margin = max((len(name) for name, _ in rows), default=0) + 3
    summary = [f"{name:<{margin}}{value}" for name, value in rows]
    sent = sum(record.number("app_ms") for record in evidence.records if record.event == "media")
    unheard = sum(record.number("ms") for record in evidence.records if record.event in ("cleared", "dropped"))
    if sent:
        summary.append(f"{'app sent':<{margin}}{duration(sent)} of audio, {duration(unheard)} of it never played")
    summary += textwrap.wrap(" · ".join(f"{name} {count}" for name, count in totals(evidence).items()), width)
    ended = evidence.first("ended")
    if ended is not None:
        whole = "ran to its end" if ended.facts.get("ran_to_end") is True else "did not run to its end"
        summary += textwrap.wrap(f"the call {whole}, {duration(evidence.duration_ms)}: {ending(ended)}", width)
    if evidence.recording is not None:
        summary.append(f"recording: {evidence.recording} (left the caller, right what the caller hears)")
    return summary


def _paint(text: str, colour_code: str, colour: bool) -> str:
    return f"\x1b[{colour_code}m{text}\x1b[0m" if colour else text
