from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.console.call_folder import RATE, CallFolder, conversation

from bothway.console import page
from bothway.console.evidence import read_evidence
from bothway.console.page import MAX_COLUMNS, MAX_MARKS, MAX_ROWS, write_page
from bothway.errors import UsageError

_VOID = frozenset(("meta", "br", "path"))


class _Page(HTMLParser):
    """What a browser would find: every element with its attributes, and the text; the nesting is held to be sound."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says something twice"
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif not self._open or self._open[-1] != "style":
            self.text += data

    def having(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that class."""
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]

    def first(self, tag: str) -> dict[str, str | None]:
        return next(attrs for found, attrs in self.elements if found == tag)


def written(call: CallFolder, path: Path | None = None) -> tuple[str, _Page]:
    path = path or call.path / "page.html"
    write_page(read_evidence(call.write()), path)
    text = path.read_text(encoding="utf-8")
    return text, _Page(text)


def places(elements: list[dict[str, str | None]]) -> list[float]:
    found = [re.match(r"left:([\d.]+)%", attrs["style"] or "") for attrs in elements]
    return [float(match[1]) for match in found if match is not None]


def test_a_conversation(tmp_path: Path) -> None:
    _, found = written(conversation(tmp_path))
    assert "15550001 → 15550100" in found.text
    assert "p50 770 ms, max 900 ms, in 2 turns" in found.text
    assert "late frames: 2caller frames missing: 1mistakes: 1" in found.text
    assert places(found.having("said")) == pytest.approx(
        [100 * ms / 16_000 for ms in (2600, 9100, 400, 4640, 8000, 11_300)], abs=1e-3
    )
    assert places(found.having("wait")) == pytest.approx([25, 65])
    assert [attrs["title"] for attrs in found.having("wait")] == ["the caller waits 640 ms", "the caller waits 900 ms"]
    titles = [attrs["title"] for attrs in found.having("mark")]
    assert "00:09.400 app: clears: 2.6 s of audio dropped" in titles
    assert len(places(found.having("guide"))) == 4
    assert len([tag for tag, _ in found.elements if tag == "tr"]) == 29
    assert found.first("html")["lang"] == "en"


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    text, found = written(conversation(tmp_path))
    assert "//" not in text.replace(str(found.first("audio")["src"]), "")
    links = {attrs[key] for _, attrs in found.elements for key in ("src", "href", "action", "data") if attrs.get(key)}
    assert links == {found.first("audio")["src"]}
    assert not [tag for tag, _ in found.elements if tag in ("link", "iframe", "object", "embed", "img", "base")]


def test_no_script_runs_but_the_pages_own(tmp_path: Path) -> None:
    _, found = written(conversation(tmp_path))
    policy = next(attrs["content"] for _, attrs in found.elements if attrs.get("http-equiv"))
    (script,) = found.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy
    assert not [key for _, attrs in found.elements for key in attrs if key.startswith("on")]


INJECTIONS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></script><svg onload=alert(1)>",
    "<!--",
    "]]>&lt;b&gt;&#60;",
)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_what_strangers_write_is_only_text(tmp_path: Path, injection: str) -> None:
    safe, hostile = conversation(tmp_path / "safe"), conversation(tmp_path / "hostile")
    for call, text in ((safe, "@@"), (hostile, injection)):
        call.call.update(from_=text, to=text, call_id=text, wall=text, direction=text, leg=text, profile=text)
        call.records[0].update(call.call)
        for event in ("remark", "mistake", "stream_refused", "prompt_failed", "evidence_failed", "document_failed"):
            call.record(event, 5000, text=text, code=text, file=text, kind=text)
        call.record("checkpoint", 5000, name=text).record("played", 5000, name=text).record("dtmf", 5000, digit=text)
        call.record("callback", 5000, kind=text, what=text, error=text).record("stream_started", 5000, format=text)
        call.record("send_dtmf", 5000, digits=text).record(text, 5000, None, **{text: text})
        call.record("ended", 16_000, code=text, name=text, source=text, detail=text, ran_to_end=False)
    _, expected = written(safe)
    _, found = written(hostile)
    assert found.text == expected.text.replace("@@", injection)
    assert found.elements == [
        (tag, {key: value and value.replace("@@", injection) for key, value in attrs.items()})
        for tag, attrs in expected.elements
    ]
    assert expected.text.count("@@") > 20


def test_a_short_recording_is_in_the_page_itself(tmp_path: Path) -> None:
    call = conversation(tmp_path)
    folder = call.write()
    wav = folder / "audio.wav"
    whole = wav.read_bytes()
    wav.write_bytes(whole[:40] + bytes(4) + whole[44:])  # a header that tells of nothing
    write_page(read_evidence(folder), folder / "page.html")
    source = str(_Page((folder / "page.html").read_text(encoding="utf-8")).first("audio")["src"])
    assert base64.b64decode(source.removeprefix("data:audio/wav;base64,")) == whole


def test_a_long_recording_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_EMBEDDED", 1000)
    (tmp_path / "pages").mkdir()
    text, found = written(conversation(tmp_path / "the <call> #1"), tmp_path / "pages" / "p.html")
    assert found.first("audio")["src"] == "../the%20%3Ccall%3E%20%231/audio.wav"
    assert len(text) < 200_000


def test_the_waveform_has_a_column_for_a_stretch_of_samples(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 10_000).begin()
    call.audio[RATE * 5, 0] = 20_000  # one sample, which no column may lose
    call.audio[RATE * 2, 1] = -10_000
    text, _ = written(call.end())
    caller, app = re.findall(r'viewBox="0 0 2000 100".*?<path d="M(.*?)Z"', text)
    top, bottom = (side.split() for side in caller.split(" L"))
    assert len(top) == len(bottom) == 2 * MAX_COLUMNS
    assert [(column, y) for column, y in zip(top[::2], top[1::2], strict=True) if y != "49.8"] == [("1000", "4.0")]
    assert set(bottom[1::2]) == {"50.2"}
    lowest = app.split(" L")[1].split()
    assert [(column, y) for column, y in zip(lowest[::2], lowest[1::2], strict=True) if y != "50.2"] == [
        ("400", "73.0")
    ]


def test_a_damaged_recording_fills_its_part(tmp_path: Path) -> None:
    call = conversation(tmp_path)
    folder = call.write()
    wav = folder / "audio.wav"
    wav.write_bytes(wav.read_bytes()[: 44 + RATE * 4 * 4])
    write_page(read_evidence(folder), folder / "page.html")
    found = _Page((folder / "page.html").read_text(encoding="utf-8"))
    assert found.first("svg")["style"] == "left:0.0000%;width:25.0000%"
    assert "audio.wav is cut short" in found.text
    assert "00:16.000" in found.text


def test_a_call_without_a_recording(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    (folder / "audio.wav").unlink()
    write_page(read_evidence(folder), folder / "page.html")
    found = _Page((folder / "page.html").read_text(encoding="utf-8"))
    assert "No audio was kept of this call." in found.text
    assert "presses 4" in found.text
    assert not [tag for tag, _ in found.elements if tag in ("audio", "svg")]


def test_a_recording_without_a_log(tmp_path: Path) -> None:
    folder = conversation(tmp_path / "lone").write()
    (folder / "log.jsonl").unlink()
    write_page(read_evidence(folder), folder / "page.html")
    found = _Page((folder / "page.html").read_text(encoding="utf-8"))
    assert "Call lone" in found.text
    assert len(found.having("said")) == 6


def test_a_page_stays_small_however_much_happened(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 20_000).begin()
    for number in range(7000):
        call.record("dtmf", 1000 + number, digit="5")
    text, found = written(call.end())
    assert len([tag for tag, _ in found.elements if tag == "tr"]) == MAX_ROWS
    assert len(found.having("mark")) == MAX_MARKS
    assert "2008 more lines are in the log." in found.text
    assert len(text) < 2_500_000


def test_times_far_off_do_not_make_a_page_without_end(tmp_path: Path) -> None:
    text, found = written(CallFolder(tmp_path, 1000).begin().record("dtmf", 10**15, 2.0, digit="1").end())
    assert len(text) < 200_000
    assert len(found.having("fine")) < 60


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    evidence = read_evidence(conversation(tmp_path).write())
    with pytest.raises(UsageError, match="cannot be written"):
        write_page(evidence, tmp_path / "no" / "page.html")
