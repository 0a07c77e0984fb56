"""`bothway demo`. `demos` has run two of them from the first test of this folder on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.cli.conftest import Demos
from tests.cli.processes import CARRIERS, Command, channels, event, log, none_left, script

from bothway.carrier.config import Account
from bothway.cli.demo import Pair
from bothway.runtime.settings import Address, Settings


def spoken_seconds(samples: npt.NDArray[np.int16], rate: int) -> float:
    """How long it is louder than -40 dBFS, in 20 ms frames."""
    size = rate // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(float)
    return float((np.sqrt((frames**2).mean(axis=1)) > 328).sum() * 0.02)


def test_a_demo_that_is_interrupted_hangs_up_and_leaves_nothing_running(tmp_path: Path) -> None:
    out = tmp_path / "bothway-out" / "demo"
    with Command("demo", cwd=tmp_path) as demo:
        demo.until(lambda: event(out, "media"))
        mine = demo.descendants()
        assert len(mine) >= 2
        demo.send(signal.SIGINT)
        assert demo.end(10) == 130
        assert none_left(mine)
    assert "ends the call: 4000 Normal Hangup, by Caller" in demo.stdout
    assert demo.stderr == "failed: the call was interrupted\n"
    assert len(channels(out)[0]) >= 8000


@pytest.mark.parametrize("word", ["carrier", "serve"])
def test_a_demo_of_which_a_part_is_killed_fails(word: str, tmp_path: Path) -> None:
    with Command("demo", "--once", "--out", "out", cwd=tmp_path) as demo:
        demo.until(lambda: event(tmp_path / "out", "media"))
        mine = demo.descendants()
        os.kill(demo.child(word), signal.SIGKILL)
        assert demo.end(20) == 1
        assert none_left(mine)
    assert "failed: " in demo.stderr
    assert "Traceback" not in demo.stderr


def test_a_demo_that_is_killed_takes_its_parts_with_it(tmp_path: Path) -> None:
    with Command("demo", "--once", "--out", "out", cwd=tmp_path) as demo:
        demo.until(lambda: event(tmp_path / "out", "stream_started"))
        mine = demo.descendants()
        demo.send(signal.SIGKILL)
        demo.end()
        assert none_left(mine)


def test_once(demos: Demos) -> None:
    demo, out = demos.once, demos.once.cwd / "out"
    assert demo.end() == 0
    assert demo.stderr == ""
    caller, agent, rate = channels(out)
    assert rate == 8000
    assert 5 < spoken_seconds(caller, rate) < 15
    assert 6 < spoken_seconds(agent, rate) < 20
    events = [record["event"] for record in log(out)]
    assert events.count("cleared") >= 2
    assert log(out)[-1]["code"] == 4000
    assert "<svg" in (out / "timeline.html").read_text("utf-8")
    for name in ("audio.wav", "timeline.html"):
        assert str(Path("out") / name) in demo.stdout
    assert "caller stops → app audible" in demo.stdout


def test_it_stays_up_and_can_be_called_again(demos: Demos) -> None:
    demo = demos.stays
    demo.says("Ctrl-C ends them")
    told = next(line.split() for line in demo.stdout.splitlines() if line.startswith("  bothway call --carrier"))
    again = [*told[1 : told.index("--say")], "--script"]
    steps = script(demo.cwd, "steps: [{hear: speech}, {press: '5'}, {hear: speech}]\n")
    with Command(*again, steps, cwd=demo.cwd) as call:
        assert call.end() == 0
    mine = demo.descendants()
    assert len(mine) >= 2
    demo.send(signal.SIGINT)
    assert demo.end() == 0
    assert none_left(mine)
    assert (demo.cwd / "bothway-out" / "demo" / "audio.wav").is_file()
    token = (demo.cwd / ".bothway" / "credentials.json").read_text().split('"')[-2]
    assert len(token) > 20
    assert token not in demo.stdout + demo.stderr


def pair(address: Address, **more: str) -> Pair:
    settings = Settings(data=Path(more.pop("data", ".bothway")))
    account = Account(CARRIERS["BOTHWAY_AUTH_ID"], CARRIERS["BOTHWAY_AUTH_TOKEN"])
    return Pair(settings, account, settings.data, address, log_level="info")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_where_the_carrier_is_reached(host: str, url: str) -> None:
    assert pair(Address(host, 80)).carrier_url == url
