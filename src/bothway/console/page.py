"""One call as one HTML page: both waveforms, what happened, and the recording to listen to.

The page is a single file that loads nothing but, at most, the recording beside it, and works from a disk as from a
server. What strangers have written is escaped, and a content security policy lets no script run but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from bothway.audio.wav import wav_header
from bothway.console.evidence import CallEvidence
from bothway.console.timeline import (
    Latencies,
    Line,
    clock,
    duration,
    ending,
    latencies,
    lines,
    printable,
    totals,
    waits,
)
from bothway.errors import UsageError

__all__ = ["MAX_COLUMNS", "MAX_EMBEDDED", "MAX_MARKS", "MAX_ROWS", "write_page"]

MAX_COLUMNS = 2_000
"""Columns of a waveform, each from its lowest to its highest sample, however long the call."""

MAX_EMBEDDED = 8_000_000
"""Bytes of audio that a page carries in itself; a longer recording is linked."""

MAX_ROWS = 5_000
"""Lines of the timeline in a page: what a browser still lays out at once."""

MAX_MARKS = 1_000
"""Events marked in the picture: about one for every pixel of a wide screen."""

_HEIGHT = 100  # of one side's waveform, in units of the picture
_QUIETEST_PEAK = 1_000.0  # what is quieter is not magnified to fill the picture: it is noise
_TICKS = 10
_TICK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600)
_FINE = 5  # ticks in the place of one, once the picture is zoomed

_CLEAR_LABELS = 25  # of waits, side by side in one picture; more are shown once it is zoomed

_UNMARKED = frozenset(("speech", "verb", "stream_opening", "callback", "answered"))
_GUIDED = frozenset(("cleared", "stream_started", "stream_ended", "ended"))

_KEYS = (
    ("caller", "the caller"),
    ("app", "what the caller hears"),
    ("turn", "the caller waits for a reply"),
    ("carrier round", "an event: point at it"),
)

_CSS = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#667080;--line:#dfe3e8;--caller:#2563eb;
--app:#0d8a66;--carrier:#7a8494;--bad:#c62f2f;--turn:#b45309;--mark:#9333ea}
@media (prefers-color-scheme:dark){:root{--bg:#101317;--card:#181c22;--text:#e6e9ee;--soft:#97a1b0;--line:#2b313a;
--caller:#6ea0ff;--app:#3fcf9f;--carrier:#8f9aab;--bad:#ff7b72;--turn:#f0a04b;--mark:#c48bff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1280px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:22px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:15px;margin:0}
.soft{color:var(--soft)}.mono,td.at{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:13px}
.head{display:flex;gap:16px;align-items:flex-start;justify-content:space-between;flex-wrap:wrap}
.badge{border:1px solid;border-radius:99px;padding:2px 12px;font-size:13px;white-space:nowrap}
.good{color:var(--app)}.bad{color:var(--bad)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin-top:18px;padding:16px}
.remarks{border-color:var(--bad);padding:10px 16px}.remarks p{margin:2px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin-top:18px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.tile b{display:block;font-weight:600}
.bar{display:flex;gap:8px 18px;align-items:center;flex-wrap:wrap;margin-bottom:10px}
.bar .key{font-size:13px;color:var(--soft)}.bar .key::before{content:"";display:inline-block;width:10px;height:10px;
border-radius:3px;margin-right:6px;background:var(--c)}
.bar .round::before{border-radius:50%}
.bar .zoom{margin-left:auto}
button{font:inherit;font-size:14px;min-width:34px;padding:1px 9px;border:1px solid var(--line);border-radius:6px;
background:none;color:inherit;cursor:pointer}
.view{overflow-x:auto;overflow-y:hidden;padding:0 6px}
.wave{position:relative;width:calc(100% * var(--zoom,1));min-width:640px;cursor:crosshair;overflow:clip;
overflow-clip-margin:6px}
.side{position:relative;height:112px}.side svg{position:absolute;top:0;height:100%;display:block}
.side path{stroke:none}
.caller{--c:var(--caller)}.app{--c:var(--app)}.carrier{--c:var(--carrier)}.turn{--c:var(--turn)}.note{--c:var(--mark)}
.side path{fill:var(--c)}
.said{position:absolute;top:0;bottom:0;border-radius:5px;background:var(--c);opacity:.13}
.name{position:sticky;left:4px;z-index:2;display:inline-block;font-size:12px;color:var(--c);font-weight:600;top:0;
pointer-events:none}
.lane{position:relative;height:42px;border-top:1px solid var(--line);border-bottom:1px solid var(--line)}
.wait{position:absolute;top:5px;min-width:2px;height:12px;border-radius:3px;background:var(--turn);opacity:.85}
.wait span{position:absolute;left:100%;top:-4px;padding-left:4px;font-size:12px;line-height:20px;color:var(--turn);
white-space:nowrap}
.many span{display:none}.deep .many span{display:block}
.mark{position:absolute;width:9px;height:9px;margin-left:-4px;top:27px;border-radius:50%;background:var(--c);
border:1px solid var(--card);padding:0;min-width:0;z-index:3}
.mark.trouble{--c:var(--bad)}.mark:hover{transform:scale(1.5)}
.guide{position:absolute;top:0;bottom:20px;width:0;border-left:1px dashed var(--c);opacity:.6;pointer-events:none}
.guide.trouble,.guide.cleared{--c:var(--bad)}
.head-line{position:absolute;top:0;bottom:20px;width:0;border-left:2px solid var(--text);z-index:4;pointer-events:none;
display:none}
.axis{position:relative;height:20px;overflow:hidden;font-size:11px;color:var(--soft)}
.axis span{position:absolute;border-left:1px solid var(--line);padding:3px 0 0 4px;white-space:nowrap}
.axis .fine{display:none}.fine-axis .axis .fine{display:block}
audio{display:block;width:100%;margin-top:14px}
table{border-collapse:collapse;width:100%}
td{padding:3px 12px 3px 0;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:first-child td{border-top:0}td.at{white-space:nowrap;color:var(--soft);width:1%;text-align:right}
td.who{white-space:nowrap;color:var(--c);font-weight:600;width:1%}tr.speech td.what{color:var(--soft)}
tr.trouble td.what{color:var(--bad)}tr[data-ms]{cursor:pointer}tr[data-ms]:hover{background:var(--bg)}
"""

_JS = """
"use strict";
const wave = document.querySelector(".wave"), view = document.querySelector(".view");
const audio = document.querySelector("audio"), line = document.querySelector(".head-line");
if (wave) {
  const total = Number(wave.dataset.ms);
  let zoom = 1;
  const show = () => {
    line.style.display = audio && audio.currentTime ? "block" : "none";
    line.style.left = 100000 * (audio ? audio.currentTime : 0) / total + "%";
    if (audio && !audio.paused) requestAnimationFrame(show);
  };
  const seek = (ms) => { if (audio) { audio.currentTime = ms / 1000; show(); } };
  const scale = (to) => {
    const middle = (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth;
    zoom = Math.min(64, Math.max(1, to));
    wave.style.setProperty("--zoom", zoom);
    wave.classList.toggle("fine-axis", zoom >= 4);
    wave.classList.toggle("deep", zoom >= 16);
    view.scrollLeft = middle * view.scrollWidth - view.clientWidth / 2;
  };
  document.getElementById("in").onclick = () => scale(zoom * 2);
  document.getElementById("out").onclick = () => scale(zoom / 2);
  document.getElementById("all").onclick = () => scale(1);
  wave.onclick = (event) => {
    const box = wave.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * total);
  };
  for (const row of document.querySelectorAll("tr[data-ms]")) {
    row.onclick = () => {
      const ms = Number(row.dataset.ms);
      seek(ms);
      view.scrollLeft = ms / total * view.scrollWidth - view.clientWidth / 2;
    };
  }
  if (audio) for (const what of ["play", "pause", "seeked"]) audio.addEventListener(what, show);
}
"""


def write_page(evidence: CallEvidence, path: str | os.PathLike[str]) -> None:
    """Write the page of a call; what is at `path` is replaced.

    Raises:
        UsageError: `path` cannot be written.
    """
    path = Path(path)
    try:
        path.write_text("".join(_page(evidence, path)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _page(evidence: CallEvidence, path: Path) -> Iterator[str]:
    told, found = lines(evidence), latencies(evidence)
    script = base64.b64encode(hashlib.sha256(_JS.encode()).digest()).decode()
    # `file:` lets a page that lies on a disk play the recording beside it; 'self' does so on a server.
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; media-src 'self' data: file:; "
        "base-uri 'none'; form-action 'none'"
    )
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Call {_html(evidence.call_id)}</title>
<style>{_CSS}</style>
</head>
<body>
<main>
"""
    yield from _heading(evidence)
    yield from _tiles(evidence, found)
    yield from _picture(evidence, told, found, path)
    yield from _table(told, evidence.duration_ms)
    yield f"</main>\n<script>{_JS}</script>\n</body>\n</html>\n"


def _html(text: str) -> str:
    return escape(printable(text), quote=True)


def _heading(evidence: CallEvidence) -> Iterator[str]:
    call, ended = evidence.first("call"), evidence.first("ended")
    title = f"Call {evidence.call_id}"
    about = [f"{duration(evidence.duration_ms)} long"]
    if call is not None:
        title = f"{call.text('from') or 'no number'} → {call.text('to') or 'nobody'}"
        about = [call.text("wall"), call.text("direction"), *about, call.text("leg"), f"profile {call.text('profile')}"]
    yield f'<div class="head"><div><h1>{_html(title)}</h1>\n'
    yield f'<div class="soft">{_html(" · ".join(about))}</div>\n'
    yield f'<div class="soft mono">{_html(evidence.call_id)}</div></div>\n'
    if ended is not None:
        whole = ended.facts.get("ran_to_end") is True
        yield f'<div class="badge {"good" if whole else "bad"}">{_html(ending(ended))}</div>\n'
    yield "</div>\n"
    if evidence.remarks:
        yield '<div class="card remarks bad">'
        yield from (f"<p>{_html(remark)}</p>" for remark in evidence.remarks)
        yield "</div>\n"


def _tiles(evidence: CallEvidence, found: Latencies) -> Iterator[str]:
    yield '<div class="tiles">\n'
    for name, value in waits(found):
        yield f'<div class="tile"><span class="soft">{_html(name)}</span><b>{_html(value)}</b></div>\n'
    wrong = [f"{name}: {count}" for name, count in totals(evidence).items() if count]
    if wrong:
        yield f'<div class="tile bad"><span>what went wrong</span><b>{"<br>".join(map(_html, wrong))}</b></div>\n'
    yield "</div>\n"


def _picture(evidence: CallEvidence, told: list[Line], found: Latencies, path: Path) -> Iterator[str]:
    total_ms = evidence.duration_ms
    if evidence.samples is None or not evidence.recorded_ms:
        yield '<section class="card soft">No audio was kept of this call.</section>\n'
        return
    marked = [line for line in told if line.kind not in _UNMARKED and 0 <= line.start_ms <= total_ms]
    yield '<section class="card">\n<div class="bar"><h2>Who was heard when</h2>'
    for kind, words in _KEYS:
        yield f'<span class="key {kind}">{words}</span>'
    yield '<span class="zoom"><button id="out" title="zoom out">−</button> '
    yield '<button id="all" title="show all">all</button> <button id="in" title="zoom in">+</button></span></div>\n'
    yield f'<div class="view"><div class="wave" data-ms="{total_ms:.3f}">\n'
    yield from _side(evidence, told, total_ms, channel=0)
    yield f'<div class="lane{" many" if len(found.turns) > _CLEAR_LABELS else ""}">\n'
    for turn in found.turns:
        wait = f"{turn.ms} ms"
        yield f'<div class="wait" {_place(turn.asked_ms, turn.replied_ms, total_ms)} title="the caller waits {wait}">'
        yield f"<span>{wait}</span></div>\n"
    for line in marked[:MAX_MARKS]:
        trouble = " trouble" if line.trouble else ""
        place = _place(line.start_ms, None, total_ms)
        yield f'<div class="mark {line.who}{trouble}" {place} title="{_title(line)}"></div>\n'
    yield "</div>\n"
    yield from _side(evidence, told, total_ms, channel=1)
    for line in marked[:MAX_MARKS]:
        if line.kind in _GUIDED:
            kind = " trouble" if line.trouble else " cleared" if line.kind == "cleared" else ""
            yield f'<div class="guide {line.who}{kind}" {_place(line.start_ms, None, total_ms)}></div>\n'
    yield from _axis(total_ms)
    yield '<div class="head-line"></div>\n</div></div>\n'
    source = escape(_source(evidence, path), quote=True)
    yield f'<audio controls preload="metadata" src="{source}"></audio>\n</section>\n'


def _title(line: Line) -> str:
    return _html(f"{clock(line.start_ms)} {line.who}: {line.text}")


def _place(start_ms: float, end_ms: float | None, total_ms: float) -> str:
    """The style attribute that puts something at its time."""
    left = f"left:{100 * start_ms / total_ms:.4f}%"
    return f'style="{left}"' if end_ms is None else f'style="{left};width:{100 * (end_ms - start_ms) / total_ms:.4f}%"'


def _side(evidence: CallEvidence, told: list[Line], total_ms: float, *, channel: int) -> Iterator[str]:
    kind, name = (("caller", "caller"), ("app", "app"))[channel]
    yield f'<div class="side {kind}"><span class="name">{name}</span>\n'
    for line in told:
        if line.kind == "speech" and (line.who == "caller") == (channel == 0):
            title, place = _title(line), _place(line.start_ms, line.end_ms, total_ms)
            yield f'<div class="said {line.who}" {place} title="{title}"></div>\n'
    outline, columns = _outline(evidence, channel)
    # A damaged recording fills only its part of the call.
    place = _place(0, evidence.recorded_ms, total_ms)
    yield f'<svg {place} viewBox="0 0 {columns} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
    yield f'<path d="{outline}"/></svg></div>\n'


def _outline(evidence: CallEvidence, channel: int) -> tuple[str, int]:
    """One side's waveform as a filled path: along the highest samples of its columns, and back along the lowest.

    Both sides have one scale, on which the loudest sample of the call almost fills the picture.
    """
    assert evidence.samples is not None, "only a recording is drawn"
    columns = min(MAX_COLUMNS, len(evidence.samples))
    starts = np.linspace(0, len(evidence.samples), columns, endpoint=False).astype(np.int64)
    highest = np.maximum.reduceat(evidence.samples, starts).astype(np.float64)
    lowest = np.minimum.reduceat(evidence.samples, starts).astype(np.float64)
    scale = 0.92 * _HEIGHT / 2 / max(float(highest.max()), -float(lowest.min()), _QUIETEST_PEAK)
    # At least a hair's breadth, so that silence is a line.
    top = _HEIGHT / 2 - np.maximum(highest[:, channel] * scale, 0.25)
    bottom = _HEIGHT / 2 - np.minimum(lowest[:, channel] * scale, -0.25)
    there = " ".join(f"{column} {y:.1f}" for column, y in enumerate(top.tolist()))
    back = " ".join(f"{column} {y:.1f}" for column, y in reversed(list(enumerate(bottom.tolist()))))
    return f"M{there} L{back}Z", columns


def _axis(total_ms: float) -> Iterator[str]:
    step = next((step for step in _TICK_SECONDS if total_ms <= step * 1000 * _TICKS), total_ms / 1000 / _TICKS)
    fine_ms = step * 1000 / _FINE
    yield '<div class="axis">'
    for tick in range(int(total_ms / fine_ms) + 1):
        at = tick * fine_ms
        fine = "" if tick % _FINE == 0 else ' class="fine"'
        text = clock(at)[: 5 if at % 1000 == 0 else 9]
        yield f"<span{fine} {_place(at, None, total_ms)}>{text}</span>"
    yield "</div>\n"


def _source(evidence: CallEvidence, path: Path) -> str:
    """Where the page's player gets the recording from: out of the page itself, or the file."""
    assert evidence.samples is not None, "only a recording is played"
    assert evidence.rate is not None, "a recording has a rate"
    assert evidence.recording is not None, "a recording has a path"
    if evidence.samples.nbytes <= MAX_EMBEDDED:
        # With a header of its own: that of a damaged file may tell of no audio.
        wav = wav_header(evidence.rate, 2, evidence.samples.nbytes) + evidence.samples.tobytes()
        return "data:audio/wav;base64," + base64.b64encode(wav).decode()
    return quote(Path(os.path.relpath(evidence.recording, path.parent)).as_posix())


def _table(told: list[Line], total_ms: float) -> Iterator[str]:
    yield '<section class="card">\n<div class="bar"><h2>What happened</h2></div>\n<table>\n'
    for line in told[:MAX_ROWS]:
        classes = " ".join((line.who, *(("speech",) if line.kind == "speech" else ()), *(("trouble",) * line.trouble)))
        at = f' data-ms="{line.start_ms:.0f}"' if 0 <= line.start_ms <= total_ms else ""
        yield f'<tr class="{classes}"{at}><td class="at">{clock(line.start_ms)}</td>'
        yield f'<td class="who">{line.who}</td><td class="what">{_html(line.text)}</td></tr>\n'
    yield "</table>\n"
    if len(told) > MAX_ROWS:
        yield f'<p class="soft">{len(told) - MAX_ROWS} more lines are in the log.</p>\n'
    yield "</section>\n"
