"""What all messages between a supervisor and the programs that work for it have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """One line of JSON on a pipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_line(self) -> str:
        """Return the message as one line of JSON, newline included."""
        return self.model_dump_json() + "\n"
