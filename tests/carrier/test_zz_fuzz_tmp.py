"""Random calls."""
from __future__ import annotations
import asyncio, random, os, sys, gc
from pathlib import Path
import pytest
from tests.carrier.phone import Phone
from tests.carrier.world import Caller, World, page, world, until, MULAW_8K, listen
from tests.carrier.talker import doc, offline
from bothway.carrier.call_control import LiveCallControl
from bothway.carrier.api.switch import TransferRequest, RecordRequest, PlayRequest, SpeakRequest
from bothway.carrier.live_call import LiveCall
from bothway.errors import UsageError
import logging
pytestmark = pytest.mark.virtual_time

def elements(w, r):
    A = w.site.url + "/action"
    red = r.choice(["true", "false"])
    bag = [
      "<Speak>hello there</Speak>", '<Wait length="2"/>', '<Wait length="3" silence="true"/>', '<Wait length="3" beep="true"/>',
      f'<GetDigits action="{A}" redirect="{red}" numDigits="2" timeout="2"><Speak>press</Speak></GetDigits>',
      f'<GetDigits action="nowhere" numDigits="1" timeout="2"/>',
      f'<GetInput action="{A}" redirect="{red}" inputType="dtmf speech" executionTimeout="5"><Speak>say</Speak></GetInput>',
      f'<Record action="{A}" redirect="{red}" timeout="2" maxLength="4" fileFormat="wav" callbackUrl="{w.site.url}/rec"/>',
      f'<Record action="" timeout="2" maxLength="4" fileFormat="wav" callbackUrl="nowhere"/>',
      f'<Record recordSession="true" fileFormat="wav" redirect="{red}" action="{A}"/>',
      f'<Record startOnDialAnswer="true" fileFormat="wav" redirect="false" callbackUrl="{w.site.url}/rec"/>',
      f'<Dial action="{A}" redirect="{red}" timeout="6" callbackUrl="{w.site.url}/dial" digitsMatch="1,22" digitsMatchBLeg="3"><Number>2000</Number><Number>2001</Number></Dial>',
      f'<Dial hangupOnStar="true" timeLimit="3" dialMusic="{w.site.url}/music" callbackUrl="nowhere"><Number>2000</Number><Number>2001</Number><Number>2002</Number></Dial>',
      f'<Dial confirmSound="{w.site.url}/music" confirmKey="12" confirmTimeout="3" dialMusic="real"><Number sendDigits="1w2" sendOnPreanswer="true">2000</Number><Number>2001</Number></Dial>',
      f'<Dial confirmSound="{w.site.url}/music" dialMusic="rubbish"><Number>2000</Number><User>sip:no@x.y</User></Dial>',
      f'<Conference callbackUrl="{w.site.url}/conf" digitsMatch="1" timeLimit="6" enterSound="beep:1" exitSound="beep:2" waitSound="{w.site.url}/music" hangupOnStar="true" floorEvent="true" record="true" recordFileFormat="wav" action="{A}" redirect="{red}" startConferenceOnEnter="{red}">room</Conference>',
      f'<Conference stayAlone="false" endConferenceOnExit="true" timeLimit="4" maxMembers="2" callbackUrl="::">room</Conference>',
      f"<Stream>{w.streams.url}</Stream>", f'<Stream keepCallAlive="true" bidirectional="true" streamTimeout="3">{w.streams.url}</Stream>',
      f'<Stream bidirectional="true" streamTimeout="4" statusCallbackUrl="nowhere">{w.streams.url}</Stream>', '<DTMF async="false">12w3</DTMF>', "<DTMF>1W2</DTMF>",
      '<Hangup schedule="5"/>', "<Hangup/>", f"<Redirect>{A}</Redirect>", "<PreAnswer><Speak>early</Speak><Wait/></PreAnswer>", "<Message>x</Message>", "<Play>rubbish</Play>", "<Speak loop='0'>again and again</Speak>",
    ]
    return [r.choice(bag) for _ in range(r.randint(1, 5))]

class Wild(Phone):
    def __init__(self, r, loop_tasks):
        super().__init__(MULAW_8K); self.r = r; self.ts = loop_tasks
    def ring(self, summons):
        super().ring(summons)
        self.ts.append(asyncio.create_task(self.act()))
    async def act(self):
        r = self.r
        await asyncio.sleep(r.uniform(0, 3))
        if self.done.is_set(): return
        if r.random() < .6: self.sink.callee_ringing()
        await asyncio.sleep(r.uniform(0, 2))
        if self.done.is_set(): return
        if r.random() < .4:
            self.plays_early = b"\x33" * 160; self.sink.callee_early_media()
            await asyncio.sleep(r.uniform(0, 2))
            if self.done.is_set(): return
        x = r.random()
        if x < .15:
            from bothway.wire.hangup import HangupCause
            self.sink.callee_refused(HangupCause.of(3010, "Carrier"), "no"); self.done.set(); return
        if x < .25: return
        self.has_answered = True
        self.sink.callee_answered()
        for _ in range(6):
            await asyncio.sleep(r.uniform(0, 1.5))
            if self.done.is_set(): return
            y = r.random()
            if y < .6: self.press(r.choice("123*"))
            elif y < .7: self.hang_up(); return

async def one(tmp_path, seed):
    r = random.Random(seed)
    errors = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda l, c: errors.append(c))
    ts = []
    async with offline(tmp_path, limits={"streams_per_call": 3, "redirects": 12}) as w:
        def action(request):
            async def go():
                if r.random() < .15: return page("nope", "500 No")
                if r.random() < .3: await asyncio.sleep(r.uniform(0, 2))
                return page("<Response>" + "".join(elements(w, r)) + "</Response>")
            return go()
        w.site.pages["/action"] = action
        w.site.pages["/answer"] = action
        w.site.pages["/music"] = page("<Response><Speak>music</Speak><Wait/></Response>")
        phones = []
        def made(_):
            p = Wild(r, ts); phones.append(p); return p
        for n in ("2000", "2001", "2002"): w.carrier.lines.connect(n, made)
        callers = []
        seen = {}
        async def user():
            c = Caller(); callers.append(c)
            w.place(page("<Response>" + "".join(elements(w, r)) + "</Response>"), caller=c)
            seen[c.call_id] = c
            for _ in range(r.randint(3, 14)):
                await asyncio.sleep(r.uniform(0, 2))
                if c.done.is_set(): return
                y = r.random()
                call = r.choice([*w.carrier.calls.values()])
                if call.over: continue
                ctl = LiveCallControl(call)
                try:
                    if y < .4:
                        if c.is_answered or c.heard: c.press(r.choice("123#*"))
                    elif y < .5: ctl.transfer(TransferRequest(legs="aleg", aleg_url=w.site.url + "/action", bleg_url=None, aleg_method="POST", bleg_method="POST"))
                    elif y < .58: ctl.transfer(TransferRequest(legs=r.choice(["bleg", "both"]), aleg_url=w.site.url + "/action", bleg_url=w.site.url + "/action", aleg_method="POST", bleg_method="POST"))
                    elif y < .63: ctl.hangup()
                    elif y < .7: await ctl.start_recording(RecordRequest(file_format="wav", channels="stereo", time_limit=2))
                    elif y < .75: ctl.stop_recording()
                    elif y < .8: ctl.speak(SpeakRequest(text="hi", legs=r.choice(["aleg", "both"]), mix=bool(r.getrandbits(1)), loop=True))
                    elif y < .85: ctl.stop_streams()
                    elif y < .9:
                        for conf in w.carrier._switchboard.conferences.all():
                            for m in list(conf.members): r.choice([m.kick, m.hangup, lambda: m.mute(True)])()
                except UsageError as e:
                    if type(e) is UsageError: errors.append({"usage": e, "state": call.core.state})
            if r.random() < .7 and not c.done.is_set():
                c.hang_up()
        await asyncio.gather(*(user() for _ in range(3)))
        await asyncio.sleep(300)
        live = list(w.carrier.calls.values())
        if live:
            for call in live:
                call.hangup(__import__("bothway.core.execution", fromlist=["cause"]).cause(4000, "API Request"))
        await asyncio.sleep(60)
        problems = []
        if w.carrier.calls: problems.append(("stuck", [(c.call_id, c.over) for c in w.carrier.calls.values()]))
        node = w.carrier._node
        n = sum(len(p) for p in node.ticker._phases)
        if n: problems.append(("ticker", n, node.ticker._phases))
        if w.carrier._switchboard.conferences._live: problems.append(("conf", w.carrier._switchboard.conferences._live))
        for c in [*callers, *phones]:
            if c.summons is not None if isinstance(c, Phone) else True:
                if not c.done.is_set(): problems.append(("leg not ended", c, isinstance(c, Phone), c.call_id))
        for t in ts:
            if t.done() and not t.cancelled() and t.exception(): problems.append(("phone", t.exception()))
        hang = [q.params["CallUUID"] for q in w.site.asked("/hangup")]
        for c in callers:
            if hang.count(c.call_id) != 1: problems.append(("hangups", hang.count(c.call_id)))
        names = sorted(t.get_name() for t in node.tasks._running)
        from collections import Counter
        if len(names) > 8: problems.append(("tasks", names))
        for c in callers:
            for e in w.log(c):
                if "fault" in str(e): problems.append(("fault", e))
        return problems, errors, names, {s.name: 0 for s in []}, [ (call.core.state) for call in live]

def seeds():
    a, b = map(int, os.environ.get("SEEDS", "0,10").split(","))
    return range(a, b)

@pytest.mark.parametrize("seed", seeds())
async def test_fuzz(tmp_path, seed, caplog):
    caplog.set_level(logging.ERROR)
    problems, errors, names, _, live = await one(tmp_path, seed)
    bad = [rec.getMessage()[:300] + (str(rec.exc_info[1]) if rec.exc_info else "") for rec in caplog.records if rec.levelno >= logging.ERROR]
    assert not problems and not errors and not bad, (problems, errors, bad, live)
