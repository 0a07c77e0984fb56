"""An app inside a FastAPI application, beside its other routes. Run it with uvicorn:

    uvicorn --app-dir examples fastapi_mount:api --port 5000
    bothway dev --answer-url http://127.0.0.1:5000/calls/answer

The carrier and the app have to know the same account: set PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN for uvicorn to the
BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN that `bothway dev` runs with.
"""

from __future__ import annotations

from fastapi import FastAPI

from bothway import App, Call

calls = App()


@calls.answer("/answer")
async def keys(call: Call) -> None:
    """Send every key back as a tone towards the caller, and hang up at `#`."""
    async for digit in call.dtmf():
        if digit == "#":
            await call.hangup()
            return
        call.send_dtmf(digit)


api = FastAPI()


@api.get("/")
def home() -> dict[str, int]:
    """A route of the application's own."""
    return {"live_calls": calls.live_calls}


api.mount("/calls", calls)
