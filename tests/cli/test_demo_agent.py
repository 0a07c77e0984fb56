from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.processes import APPS, channels, log

from bothway.audio.format import L16_8K
from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.audio.tones import tone
from bothway.audio.wav import write_wav
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account
from bothway.carrier.script import Script
from bothway.cli.call import place_call
from bothway.runtime.server import Server
from bothway.wire.leg import Dial

pytestmark = pytest.mark.virtual_time

ACCOUNT = Account(APPS["PLIVO_AUTH_ID"], APPS["PLIVO_AUTH_TOKEN"])

STEPS = """
steps:
  - hear: {until: speech, for: 300ms}
  - press: "7"
  - hear: silence
  - play: tone.wav
  - hear: silence
  - hang_up
rules: {hang_up_after: 20s}
"""


async def test_it_greets_counts_keys_and_says_back_what_it_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in APPS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "bothway.cli.demo_agent", raising=False)
    agent = importlib.import_module("bothway.cli.demo_agent")
    said = tone(440.0, 400, 8000, -10.0)
    write_wav(tmp_path / "tone.wav", L16_8K, said)
    server = Server(agent.app, agent.app.accept)
    await server.start()
    try:
        async with Carrier(account=ACCOUNT, allow_private=True) as carrier:
            dial = Dial(answer_url=f"{server.url}/answer", events=True)
            script = Script.parse(STEPS, folder=tmp_path)
            result = await place_call(carrier.leg_url, ACCOUNT, script, dial, tmp_path / "out")
    finally:
        await agent.app.stop(1.0)
        await server.stop(grace=1.0)
        await agent.voice.close()
        monkeypatch.delitem(sys.modules, "bothway.cli.demo_agent")
    assert result.ok, result

    # The greeting was cut off by the key, and that is what was not played.
    (cleared,) = [record for record in log(tmp_path / "out") if record["event"] == "cleared" and record["ms"] > 0]
    (pressed,) = [record for record in log(tmp_path / "out") if record["event"] == "dtmf"]
    assert cleared["t_ms"] == pressed["t_ms"]
    # The tone comes back as it was said: a part of 100 ms stands for the whole, whose first sample is silence.
    caller, heard, _ = channels(tmp_path / "out")
    begun = int(np.flatnonzero(caller)[0])
    spoken = np.frombuffer(mulaw_to_l16(l16_to_mulaw(said)), "<i2")
    after = heard[begun + len(spoken) :]
    back = next(at for at in np.flatnonzero(after) if np.array_equal(after[at : at + 800], spoken[1:801]))
    # A pause of 600 ms, the 180 of quiet that come before the tone was noticed, and a frame on the way.
    assert back == (600 + 180 + 20) * 8
