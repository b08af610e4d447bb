"""The database's revisions, run by Alembic on SQLite and PostgreSQL.

Owns how tables come to be and change; `shared.schema` is the only way to run it. A revision
stands alone: it never imports `shared.models`, which goes on changing after it.
"""
