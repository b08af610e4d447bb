r"""The life of a job: the only writer of `jobs.status` and `attempts.outcome`.

    queued --claim--> running --succeed--> succeeded
      ^  \               | |\---fail-----> failed      (also: too many crashes, time limit)
      |   \--cancel------|-|----cancel---> cancelled
      \---lost, crashed,-/
          preempted

Every change is an UPDATE guarded by the present state, in the caller's transaction, with one row
in `job_events`. Whoever runs an attempt shows its lease token with every write; once the lease
has ended, by whatever way, the write raises `LeaseLost` and nothing is stored.
"""

from shared.jobs.attempts import (
    Lease,
    Slot,
    cancel,
    cancel_requested,
    claim,
    crash,
    fail,
    give_back,
    hold,
    renew,
    succeed,
)
from shared.jobs.losses import expire_leases, expire_worker, time_out
from shared.jobs.requests import delete, edit, request_cancel, retry, submit
from shared.jobs.transitions import add_event, get

__all__ = [
    "Lease",
    "Slot",
    "add_event",
    "cancel",
    "cancel_requested",
    "claim",
    "crash",
    "delete",
    "edit",
    "expire_leases",
    "expire_worker",
    "fail",
    "get",
    "give_back",
    "hold",
    "renew",
    "request_cancel",
    "retry",
    "submit",
    "succeed",
    "time_out",
]
