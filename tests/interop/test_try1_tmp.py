import pytest, warnings, asyncio, time
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from examples import sdk_agent
from bothway.speech.voices import ToneVoice
@pytest.fixture(autouse=True)
def tts(monkeypatch):
    sdk_agent.ended.clear()
    monkeypatch.setattr(sdk_agent, "speak", ToneVoice(rate=8000).synthesize)

L = ["messages", "bytes"]
def both(f):
    return pytest.mark.parametrize("i", [
    pytest.param((l,p), marks=pytest.mark.carrier(level=l, profile=p), id=f"{l}-{p}") for l in L for p in ("documented","live")])(f)
def show(caller):
    print(caller.heard_text)
    for e in sdk_agent.ended: print(e)
    for r in caller.records: print(r.event, r.t_ms, r.at, r.facts)
    for w in caller.webhooks: print(w.path, {k:v for k,v in w.params.items() if k in ("Event","Error","StatusReason","Duration","Timestamp","Name","HangupCauseCode","HangupSource","EndTime")}, w.status)

@both
async def test_conv(carrier, i):
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    print([(w.text, w.start_ms, w.end_ms) for w in await caller.hears("hello this is the bakery how can i help you")], caller.now_ms)
    await caller.say("A loaf of bread")
    print(caller.now_ms)
    print(await caller.hears("you spoke for 0.9 seconds"))
    await caller.say("Two loafs of bread")
    await caller.interrupts("Stop", after=0.5)
    print(await caller.logged("cleared"), await caller.hears_silence(0.5), caller.now_ms)
    print(await caller.hears("you spoke for"))
    await caller.press("12#")
    print(await caller.is_hung_up())
    await caller.stays_silent(0.02)
    show(caller)
    assert 0

FAULTS = ["drop","vanish","reset","bvanish","stall", "bclose"]
@pytest.mark.parametrize("fault,i", [
    pytest.param(f,(l,p), marks=pytest.mark.carrier(level=l, profile=p), id=f"{f}-{l}-{p}") for f in FAULTS for l in (["messages"] if f in ("drop","vanish") else ["bytes"]) for p in ("documented","live")])
async def test_fault(carrier, fault, i):
    caller = await carrier.call(sdk_agent.api, hangup="/hangup")
    await caller.hears("hello this is")
    print(caller.now_ms)
    if i[0] == "messages":
        s = carrier.sockets.live[0]
        {"drop": s.drop, "vanish": s.vanish}[fault]()
    else:
        print(carrier.network.links)
        l = carrier.network.links[-1]
        {"reset": l.reset, "bvanish": l.vanish, "stall": l.stall, "bclose": l.close}[fault]()
    try:
        await caller.is_hung_up().within(200)
    finally:
        print(carrier.network.links)
        await caller.stays_silent(60)
        show(caller)
    assert 0
