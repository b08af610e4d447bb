"""`python -m worker.importing`: read files for an importer."""

from __future__ import annotations

from worker.importing.program import main

if __name__ == "__main__":
    main()
