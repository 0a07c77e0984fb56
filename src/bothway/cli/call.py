"""`bothway call`: one scripted call into a carrier."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from bothway.carrier.carrier import Carrier
from bothway.carrier.clips import prepare
from bothway.carrier.config import Account
from bothway.carrier.evidence import LOG_NAME, RECORDING_NAME, Evidence
from bothway.carrier.legs.client import RemoteCaller, leg_url
from bothway.carrier.script import Script
from bothway.carrier.scripted_caller import CallResult, Outcome, ScriptedCaller
from bothway.carrier.writer import Writer
from bothway.cli.carrier import account_of
from bothway.cli.process import EXIT_INTERRUPTED, is_given, set_up_logs, stop_signal, until_stopped, web_url
from bothway.console.evidence import CallEvidence, read_evidence
from bothway.console.page import write_page
from bothway.console.timeline import render
from bothway.core.profile import profile_named
from bothway.errors import BothwayError, PeerError, UsageError
from bothway.runtime.duplex_picows import UpgradeRefusedError
from bothway.runtime.settings import Settings, add_options
from bothway.speech.voices import offline_voice
from bothway.wire.leg import LEG_FORMATS, Dial

__all__ = ["CALLER", "INTERRUPTED", "PAGE_NAME", "add_parser", "evidence_folder", "place_call", "run", "show"]

PAGE_NAME = "timeline.html"
"""The page beside the recording and the log."""

CALLER = "15550199"
"""Who calls, if nobody says: a number that nobody has (the North American plan keeps 555-01XX for fiction)."""

INTERRUPTED = CallResult("", None, Outcome(ok=False, reason="the call was interrupted"), 0)
"""The result of a call that was stopped from outside."""

_REFUSED = re.compile(r"answered (?:the upgrade with HTTP status )?40[13]\b")
_REFUSED_HINT = (
    "the app refuses what the carrier signs. The account of the carrier (BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN, or "
    "what is kept in its data folder) has to be that of the app (PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN). The app's log "
    "says what it checked"
)
_NOT_LET_IN_HINT = (
    "the carrier has another account than this call. Set the carrier's BOTHWAY_AUTH_ID and BOTHWAY_AUTH_TOKEN here "
    "too, or name its data folder with --data"
)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "call",
        help="place one scripted call",
        description="Place one scripted call, keep its recording and event log, and show what happened. "
        "Without --out each call gets a folder of its own. Exit code 0 means that the call ran to its end and the "
        "script succeeded.",
    )
    parser.add_argument("--carrier", metavar="URL", help="the carrier to call into (default: one inside this process)")
    called = parser.add_mutually_exclusive_group(required=True)
    called.add_argument("--to", metavar="NUMBER", type=_text, help="a number of the carrier's")
    called.add_argument("--answer-url", metavar="URL", type=web_url, help="the answer URL of an app, without a number")
    parser.add_argument("--from", dest="from_", metavar="NUMBER", help=f"who calls (default: {CALLER})")
    words = parser.add_mutually_exclusive_group(required=True)
    words.add_argument("--wav", metavar="FILE", type=_text, help="play this file, then listen until the line is silent")
    words.add_argument("--say", metavar="TEXT", type=_text, help="say this, then listen until the line is silent")
    words.add_argument("--script", metavar="FILE", type=_text, help="do what this YAML file says (docs/scripts.md)")
    parser.add_argument("--leg", choices=list(LEG_FORMATS), help="the coding of the caller's audio (default: pcmu)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_options(parser, "call")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace) -> int:
    """Place the call, and show it."""
    settings = Settings.from_arguments("call", arguments)
    set_up_logs(settings)
    if arguments.to and not arguments.carrier:
        raise UsageError("--to needs --carrier: the carrier inside this process has no numbers, so use --answer-url")
    url = leg_url(arguments.carrier) if arguments.carrier else None
    script = _script(arguments)
    account = account_of(settings)
    out = evidence_folder(settings.out, own=not is_given("out", arguments))
    dial = Dial(
        to=arguments.to,
        answer_url=arguments.answer_url,
        from_=arguments.from_ or script.from_ or CALLER,
        format=arguments.leg or script.leg or "pcmu",
        events=True,
    )

    async def call() -> CallResult:
        async with AsyncExitStack() as stack:
            if url is not None:
                return await place_call(url, account, script, dial, out, record=settings.recordings)
            carrier = Carrier(
                account=account, profile=profile_named(settings.profile), allow_private=settings.allow_private
            )
            await stack.enter_async_context(carrier)
            return await place_call(carrier.leg_url, account, script, dial, out, record=settings.recordings)

    try:
        result = await until_stopped(call(), stop_signal()) or INTERRUPTED
    except BothwayError as error:
        with suppress(OSError):  # what is not empty stays
            out.rmdir()
        if arguments.json and not isinstance(error, UsageError):
            _print_facts(CallResult("", None, Outcome(ok=False, reason=str(error)), 0), out, None)
        raise
    show(result, out, as_json=arguments.json)
    if result is INTERRUPTED:
        return EXIT_INTERRUPTED
    return 0 if result.ok else 1


def evidence_folder(out: Path, *, own: bool) -> Path:
    """The folder for the evidence of one call: it is there, it can be written, and nothing of an older call is in it.

    Args:
        out: The folder that was asked for.
        own: Whether the call gets a new folder inside that one, called after the time.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        if own:
            stamp = time.strftime("call-%Y%m%d-%H%M%S")
            out.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                folder = out / (stamp if number == 1 else f"{stamp}-{number}")
                try:
                    folder.mkdir()
                except FileExistsError:
                    number += 1
                else:
                    return folder
        out.mkdir(parents=True, exist_ok=True)
        for name in (LOG_NAME, RECORDING_NAME, PAGE_NAME):
            (out / name).unlink(missing_ok=True)
        probe = out / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"the folder {out} cannot be used for the evidence: {error.strerror or error}") from None
    return out


async def place_call(
    url: str, account: Account, script: Script, dial: Dial, out: Path, *, record: bool = True
) -> CallResult:
    """Place one call over a WebSocket leg, and leave its evidence in `out`. Cancelled, it hangs up.

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
    frame: Callable[[bytes, bytes], None] | None = None

    def tap(sent: bytes, heard: bytes) -> None:
        nonlocal frame
        if frame is None:  # a call that is never answered leaves no empty recording
            recording = evidence.record_audio(leg_format)
            assert recording is not None, "there is a folder"
            frame = recording.frame
        frame(sent, heard)

    caller = ScriptedCaller(script, leg_format, clips)
    remote = RemoteCaller(caller, dial, tap=tap if record else None, on_log=evidence.append)
    try:
        result = await remote.call(url, auth_id=account.auth_id, auth_token=account.auth_token)
    except UpgradeRefusedError as error:
        if error.status == 401:
            raise PeerError(f"{error}: {_NOT_LET_IN_HINT}") from None
        raise
    finally:
        evidence.close()
        await writer.close()
    if failures and result.outcome.ok:
        reason = f"the evidence could not be kept: {'; '.join(failures)}"
        return dataclasses.replace(result, outcome=Outcome(ok=False, reason=reason))
    return result


def show(result: CallResult, out: Path, *, as_json: bool) -> None:
    """Print what happened, and leave the page beside the evidence."""
    evidence: CallEvidence | None = None
    if (out / LOG_NAME).is_file():
        evidence = read_evidence(out)
        write_page(evidence, out / PAGE_NAME)
    if as_json:
        _print_facts(result, out, evidence)
        return
    if evidence is not None:
        print(f"{render(evidence)}\npage       {out / PAGE_NAME}", flush=True)
    if complaint := _complaint(result):
        print(f"failed: {complaint}", file=sys.stderr)
    if hint := _hint(evidence):
        print(f"hint: {hint}", file=sys.stderr)


def _print_facts(result: CallResult, out: Path, evidence: CallEvidence | None) -> None:
    ended = result.ended
    facts = {
        "ok": result.ok,
        "call_id": result.call_id or (evidence.call_id if evidence is not None else ""),
        "code": ended.code if ended else None,
        "cause": ended.name if ended else None,
        "source": ended.source if ended else None,
        "detail": ended.detail if ended else result.outcome.reason,
        "hint": _hint(evidence),
        "script_ok": result.outcome.ok,
        "script": result.outcome.reason,
        "heard_ms": result.heard_ms or (int(evidence.recorded_ms) if evidence is not None else 0),
        "log": _path(out / LOG_NAME),
        "recording": _path(out / RECORDING_NAME),
        "page": _path(out / PAGE_NAME),
    }
    print(json.dumps(facts), flush=True)


def _complaint(result: CallResult) -> str:
    """What went wrong, in one line; empty if nothing did."""
    if result.ok:
        return ""
    ended = result.ended
    if not result.outcome.ok or ended is None:
        return result.outcome.reason
    detail = f" ({ended.detail})" if ended.detail else ""
    return f"the call did not run to its end: {ended.code} {ended.name}{detail}"


def _hint(evidence: CallEvidence | None) -> str | None:
    """What may help, where the evidence tells of something that it often means."""
    if evidence is None:
        return None
    failed = (record for record in evidence.records if record.event in ("document_failed", "stream_ended"))
    return _REFUSED_HINT if any(_REFUSED.search(record.text("text")) for record in failed) else None


def _path(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it must not be empty")
    return text


def _script(arguments: argparse.Namespace) -> Script:
    if arguments.wav:
        if not Path(arguments.wav).is_file():
            raise UsageError(f"there is no file {arguments.wav}")
        return Script.for_wav(arguments.wav)
    if arguments.say:
        return Script.for_text(arguments.say)
    return Script.load(arguments.script)
