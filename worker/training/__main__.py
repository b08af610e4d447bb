"""`python -m worker.training`: train one job, alone or for a supervisor."""

from __future__ import annotations

from worker.training.pages import use_huge_pages

if __name__ == "__main__":
    use_huge_pages()

    import sys

    from worker.training.program import main

    sys.exit(main())
