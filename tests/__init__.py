"""The tests: unit, integration (real Redis, PostgreSQL and SQLite), faults, browser, bench."""
