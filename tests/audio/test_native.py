from __future__ import annotations

import subprocess
import sys

from bothway.audio.native import audioop


def test_the_routines_are_there() -> None:
    assert audioop.ulaw2lin(b"\xff", 2) == b"\x00\x00"


def test_their_age_is_not_a_warning_of_ours() -> None:
    probe = "import bothway.audio.level, bothway.audio.g711, bothway.audio.mix"
    subprocess.run([sys.executable, "-W", "error", "-c", probe], check=True)
