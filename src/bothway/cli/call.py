"""`bothway call`: one scripted call into a carrier."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bothway.carrier.carrier import Carrier
from bothway.carrier.clips import prepare
from bothway.carrier.config import Account
from bothway.carrier.evidence import LOG_NAME, RECORDING_NAME, Evidence
from bothway.carrier.legs.client import RemoteCaller, leg_url
from bothway.carrier.script import Script
from bothway.carrier.scripted_caller import CallResult, ScriptedCaller
from bothway.carrier.writer import Writer
from bothway.cli.process import account_of, set_up_logs
from bothway.console.evidence import read_evidence
from bothway.console.page import write_page
from bothway.console.timeline import render
from bothway.core.profile import profile_named
from bothway.errors import UsageError
from bothway.runtime.settings import Settings, add_options
from bothway.speech.voices import offline_voice
from bothway.wire.leg import LEG_FORMATS, Dial

__all__ = ["PAGE_NAME", "add_parser", "place_call", "run", "show"]

PAGE_NAME = "timeline.html"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "call",
        help="place one scripted call",
        description="Place one scripted call, keep its recording and event log, and show what happened. "
        "Exit code 0 means that the call ran to its end and the script succeeded.",
    )
    parser.add_argument("--carrier", metavar="URL", help="the carrier to call into (default: one inside this process)")
    called = parser.add_mutually_exclusive_group(required=True)
    called.add_argument("--to", metavar="NUMBER", help="a number of the carrier's")
    called.add_argument("--answer-url", metavar="URL", help="the answer URL of an app, without a number")
    parser.add_argument("--from", dest="from_", metavar="NUMBER", help="who calls")
    words = parser.add_mutually_exclusive_group(required=True)
    words.add_argument("--wav", metavar="FILE", help="play this file, then listen until the line is silent")
    words.add_argument("--say", metavar="TEXT", help="say this, then listen until the line is silent")
    words.add_argument("--script", metavar="FILE", help="do what this YAML file says (docs/scripts.md)")
    parser.add_argument("--leg", choices=sorted(LEG_FORMATS), help="the coding of the caller's audio (default: pcmu)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_options(parser, "call")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Place the call, and show it."""
    settings = Settings.from_arguments("call", arguments)
    set_up_logs(settings)
    if arguments.to and not arguments.carrier:
        raise UsageError("--to needs --carrier: the carrier inside this process has no numbers, so use --answer-url")
    script = _script(arguments)
    account = account_of(settings)
    # Without --out each call gets a folder of its own, so that none is written over.
    out = settings.out if "out" in arguments else settings.out / time.strftime("call-%Y%m%d-%H%M%S")
    form = arguments.leg or script.leg or "pcmu"
    dial = Dial(
        to=arguments.to,
        answer_url=arguments.answer_url,
        from_=arguments.from_ or script.from_ or "15550100",
        format=form,
        events=True,
    )
    async with AsyncExitStack() as stack:
        if arguments.carrier:
            url = leg_url(arguments.carrier)
        else:
            carrier = Carrier(
                account=account, profile=profile_named(settings.profile), allow_private=settings.allow_private
            )
            await stack.enter_async_context(carrier)
            url = carrier.leg_url
        result = await place_call(url, account, script, dial, out, record=settings.recordings)
    show(result, out, as_json=arguments.json)
    return 0 if result.ok else 1


async def place_call(
    url: str, account: Account, script: Script, dial: Dial, out: Path, *, record: bool = True
) -> CallResult:
    """Place one call over a WebSocket leg, and leave its evidence in `out`.

    Raises:
        UsageError: The script cannot be spoken, or the URL cannot be used.
        PeerError: There is no carrier, or it does not let us in.
        ProviderError: The voice failed.
    """
    leg_format = LEG_FORMATS[dial.format]
    voice = offline_voice()
    try:
        clips = await prepare(script, leg_format, voice)
    finally:
        await voice.close()
    writer = Writer()
    failures: list[str] = []
    evidence = Evidence(
        writer, out, on_record=None, on_failure=lambda name, error: failures.append(f"{out / name}: {error}")
    )
    recording = evidence.record_audio(leg_format) if record else None
    caller = ScriptedCaller(script, leg_format, clips)
    remote = RemoteCaller(caller, dial, tap=recording.frame if recording is not None else None, on_log=evidence.append)
    try:
        return await remote.call(url, auth_id=account.auth_id, auth_token=account.auth_token)
    finally:
        evidence.close()
        await writer.close()
        for failure in failures:
            print(f"bothway: the evidence could not be kept: {failure}", file=sys.stderr)


def show(result: CallResult, out: Path, *, as_json: bool) -> None:
    """Print what happened, and leave the page beside the evidence."""
    page: Path | None = None
    text = ""
    if (out / LOG_NAME).is_file():
        evidence = read_evidence(out)
        page = out / PAGE_NAME
        write_page(evidence, page)
        text = render(evidence)
    if as_json:
        ended = result.ended
        facts = {
            "ok": result.ok,
            "call_id": result.call_id,
            "code": ended.code if ended else None,
            "cause": ended.name if ended else None,
            "source": ended.source if ended else None,
            "detail": ended.detail if ended else result.outcome.reason,
            "script_ok": result.outcome.ok,
            "script": result.outcome.reason,
            "heard_ms": result.heard_ms,
            "log": str(out / LOG_NAME),
            "recording": str(out / RECORDING_NAME) if (out / RECORDING_NAME).is_file() else None,
            "page": str(page) if page else None,
        }
        print(json.dumps(facts))
        return
    print(text)
    if page is not None:
        print(f"page       {page}")
    if not result.outcome.ok:
        print(f"the script failed: {result.outcome.reason}", file=sys.stderr)
    elif not result.ok:
        detail = f"{result.ended.code} {result.ended.name}: {result.ended.detail}" if result.ended else "no end"
        print(f"the call did not run to its end: {detail}", file=sys.stderr)


def _script(arguments: argparse.Namespace) -> Script:
    if arguments.wav:
        if not Path(arguments.wav).is_file():
            raise UsageError(f"there is no file {arguments.wav}")
        return Script.for_wav(arguments.wav)
    if arguments.say:
        return Script.for_text(arguments.say)
    return Script.load(arguments.script)
