"""`python -m worker.training`: train one job, alone or for a supervisor."""

from __future__ import annotations

import sys

from worker.training.program import main

if __name__ == "__main__":
    sys.exit(main())
