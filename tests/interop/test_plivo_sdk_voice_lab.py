"""The official SDK, with not even another base address, in a test that an app's author would write."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

import plivo
from fastapi import FastAPI, Request, Response
from plivo import plivoxml
from plivo.utils import validate_v3_signature

from bothway.testing import LabCarrier
from bothway.testing.lab import AUTH_ID, AUTH_TOKEN

app = FastAPI()
told: list[str] = []


@app.post("/{kind}")
async def answer(kind: str, request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    nonce, signature = (request.headers[f"x-plivo-signature-v3{part}"] for part in ("-nonce", ""))
    if not validate_v3_signature("POST", str(request.url), nonce, AUTH_TOKEN, signature, form):
        return Response(status_code=403)
    told.append(f"{kind} {form['CallStatus']}")
    document = plivoxml.ResponseElement().add(plivoxml.SpeakElement("is that jo")).add(plivoxml.WaitElement(length=60))
    return Response(document.to_string(), media_type="application/xml")


async def test_a_call_is_placed_spoken_into_and_hung_up(carrier: LabCarrier) -> None:
    told.clear()
    url = await carrier.serve(app)
    jo = carrier.callee("+15550123")
    client = plivo.RestClient(AUTH_ID, AUTH_TOKEN)
    created = await asyncio.to_thread(
        client.calls.create, "+14155550100", "+15550123", url + "/answer",
        ring_url=url + "/ring", hangup_url=url + "/hangup",
    )  # fmt: skip
    await jo.answers(after=2)
    await jo.hears("is that jo").within(3)
    await jo.say("yes it is")
    spoken = await asyncio.to_thread(client.calls.speak, created.request_uuid, "goodbye then", voice="MAN")
    assert spoken.message == "speak started"
    await jo.hears("goodbye then").within(5)
    await asyncio.to_thread(client.calls.hangup, created.request_uuid)
    await jo.is_hung_up().within(2)
    record = await asyncio.to_thread(client.calls.get, created.request_uuid)
    assert (record.hangup_cause_code, record.hangup_source) == (4000, "API Request")
    assert told == ["ring ringing", "answer in-progress", "hangup completed"]
    client.session.close()
    client.multipart_session.close()
