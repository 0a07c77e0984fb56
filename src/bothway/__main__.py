"""`python -m bothway` is the command `bothway`."""

from __future__ import annotations

import sys

from bothway.cli import main

if __name__ == "__main__":
    sys.exit(main())
