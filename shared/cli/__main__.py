"""`python -m shared.cli`: the command `trainyard`, without its script."""

from shared.cli import main

main()
