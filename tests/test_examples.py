"""Every example, and the README's first app, on a real call: a carrier, the example's server, and a scripted caller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.serving import served, uvicorn_at
from tests.source_tree import ROOT

from bothway.audio.format import L16_8K, MULAW_8K
from bothway.audio.tones import tone
from bothway.audio.wav import write_wav
from bothway.carrier.carrier import Carrier
from bothway.carrier.clips import prepare
from bothway.carrier.config import Account, load_config
from bothway.carrier.legs.client import RemoteCaller
from bothway.carrier.script import Script
from bothway.carrier.scripted_caller import CallResult, ScriptedCaller
from bothway.speech.voices import ToneVoice
from bothway.wire.leg import Dial

pytestmark = pytest.mark.virtual_time

EXAMPLES = ROOT / "examples"
ACCOUNT = Account("MAEXAMPLEEXAMPLE0001", "an-example-token-that-everybody-can-read")

SPOKEN = """
steps:
  - play: caller.wav
  - hear: {until: speech, within: 5s}
  - hang_up
rules: {hang_up_after: 10s}
"""
KEYS = """
steps:
  - wait: 200ms
  - press: "1#"
  - hear: {until: hang_up, within: 5s}
on_hang_up: accept
rules: {hang_up_after: 10s}
"""


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_ID", ACCOUNT.auth_id)
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", ACCOUNT.auth_token)


def loaded(text: str, name: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec", dont_inherit=True), namespace)
    return namespace


def example(name: str) -> dict[str, Any]:
    return loaded((EXAMPLES / name).read_text(encoding="utf-8"), name.removesuffix(".py"))


async def call(
    carrier: Carrier, answer_url: str, script_text: str, folder: Path
) -> tuple[CallResult, list[dict[str, Any]]]:
    """The result of a scripted call to `answer_url`, and the carrier's log of it."""
    write_wav(folder / "caller.wav", L16_8K, tone(440.0, 1000, L16_8K.rate, -15.0))
    script = Script.parse(script_text, folder=folder)
    caller = ScriptedCaller(script, MULAW_8K, await prepare(script, MULAW_8K, ToneVoice()))
    log: list[dict[str, Any]] = []
    remote = RemoteCaller(caller, Dial(answer_url=answer_url, from_="15550199", events=True), on_log=log.append)
    result = await remote.call(carrier.leg_url, auth_id=ACCOUNT.auth_id, auth_token=ACCOUNT.auth_token)
    return result, log


def mistakes(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in log if record["event"] in ("mistake", "remark", "document_failed", "stream_refused")]


async def test_the_first_app_of_the_readme(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    app = loaded(block[1], "app")["app"]
    async with Carrier(account=ACCOUNT, allow_private=True) as carrier, served(app) as url:
        result, log = await call(carrier, f"{url}/answer", SPOKEN, tmp_path)
    assert result.ok, result
    assert not mistakes(log)


@pytest.mark.usefixtures("both_times")
async def test_echo(tmp_path: Path) -> None:
    app = example("echo.py")["app"]
    async with Carrier(account=ACCOUNT, allow_private=True) as carrier, served(app) as url:
        result, log = await call(carrier, f"{url}/answer", SPOKEN, tmp_path)
    assert result.ok, result
    assert not mistakes(log)


async def test_fastapi_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs up by REST, so the carrier's own URL is its API."""
    async with Carrier(account=ACCOUNT, allow_private=True) as carrier:
        monkeypatch.setenv("BOTHWAY_API_URL", f"{carrier.url}/v1")
        names = example("fastapi_mount.py")
        async with uvicorn_at(names["api"]) as port:
            result, log = await call(carrier, f"http://127.0.0.1:{port}/calls/answer", KEYS, tmp_path)
        await names["calls"].stop(0.0)
    assert result.ok, result
    assert [record["digits"] for record in log if record["event"] == "send_dtmf"] == ["1"]
    assert not mistakes(log)


@pytest.mark.usefixtures("both_times")
@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")  # the SDK's own models
async def test_plain_fastapi_plivo_sdk(tmp_path: Path) -> None:
    """An app without a line of ours runs unchanged."""
    api = example("plain_fastapi_plivo_sdk.py")["api"]
    async with Carrier(account=ACCOUNT, allow_private=True) as carrier, uvicorn_at(api) as port:
        result, log = await call(carrier, f"http://127.0.0.1:{port}/answer", SPOKEN, tmp_path)
    assert result.ok, result
    assert not mistakes(log)


def test_the_script_and_the_carriers_file_are_read() -> None:
    assert Script.load(EXAMPLES / "caller.yaml").steps
    config = load_config(EXAMPLES / "carrier.yaml")
    assert {number.application for number in config.numbers} == {app.name for app in config.applications}


def test_every_example_is_here_or_has_tests_of_its_own() -> None:
    here, *others = [Path(__file__), *(ROOT / "tests" / "interop").glob("test_*.py")]
    text = here.read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in others]
    for path in EXAMPLES.iterdir():
        is_tested = f'"{path.name}"' in text or any(f"from examples import {path.stem}\n" in other for other in texts)
        assert path.name.startswith("__") or is_tested, f"{path.name} is not tested"
