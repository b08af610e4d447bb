"""What a job is: the `JobSpec`, its parts, its presets and its checks.

Validated once, at the edge. The form, the API schema, the CLI and the trainer all read it.
"""

from shared.spec.job import JobSpec, JobSubmission, parse_submission, validate

__all__ = ["JobSpec", "JobSubmission", "parse_submission", "validate"]
