"""A carrier in a process of its own, with one call: `python -m tests.carrier.fault_carrier DATA ANSWER HANGUP [LIMIT]`.

It prints the call's id. With LIMIT no file may grow beyond so many bytes, as on a full disk.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.carrier.world import ACCOUNT, Caller

from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Application


async def main(arguments: Sequence[str]) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    data, answer_url, hangup_url, *limit = arguments
    async with Carrier(account=ACCOUNT, data=Path(data), record_audio=True, allow_private=True) as carrier:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), int(limit[0])))
        caller = Caller(says=b"\x33" * 160)
        application = Application("test", answer_url, hangup_url=hangup_url)
        call = carrier.place(caller, from_="15550001", to="15550002", application=application)
        print(call.call_id, flush=True)
        await caller.done.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
