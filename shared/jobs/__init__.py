r"""The life of a job: the only writer of `jobs.status` and `attempts.outcome`.

    queued --claim--> running --succeed--> succeeded
      ^  ^              | | |--fail------> failed      (also: too many crashes, time limit)
      |  |              | | +--cancel----> cancelled   (also from queued and paused)
      |  +--preempted,--+ |
      |     lost, crashed +--pause-------> paused      (also from queued)
      +---------------resume------------------+

Every change is an UPDATE guarded by the present state, in the caller's transaction, with one row
in `job_events`. Whoever runs an attempt shows its lease token with every write; once the lease
has ended, by whatever way, the write raises `LeaseLost` and nothing is stored.
"""

from shared.jobs.attempts import (
    Lease,
    Requests,
    Slot,
    cancel,
    claim,
    fail,
    give_back,
    hold,
    pause,
    renew,
    requests,
    succeed,
)
from shared.jobs.control import move, move_to_front, request_cancel, request_pause, resume
from shared.jobs.losses import crash, expire_leases, expire_worker, time_out
from shared.jobs.submissions import delete, edit, retry, submit
from shared.jobs.transitions import add_event, get, lock

__all__ = [
    "Lease",
    "Requests",
    "Slot",
    "add_event",
    "cancel",
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
    "lock",
    "move",
    "move_to_front",
    "pause",
    "renew",
    "request_cancel",
    "request_pause",
    "requests",
    "resume",
    "retry",
    "submit",
    "succeed",
    "time_out",
]
