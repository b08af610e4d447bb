"""Celery as the bell: a message says "this queue has work", and nothing more.

Owns the Celery app's configuration and the bounded ringing. SQL decides who runs what
(`shared.jobs.claim`), so a message may be lost, doubled or late without harm.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote, urlsplit

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import QueueUnavailable
from shared.settings import Settings

TASK_NAME = "trainyard.work"
_CONNECT_TIMEOUT_SECONDS = 2.0
# Above kombu's blocking pop (1 s), so that waiting is no time-out; and short, because a dead
# connection is noticed after this and two health checks, and a stopping worker waits for it.
_SOCKET_TIMEOUT_SECONDS = 5.0
_HEALTH_CHECK_SECONDS = 5
_PUBLISH_TIMEOUT_SECONDS = 2.0


def broker_url(redis_url: str) -> str:
    """Return the URL in kombu's words, which call a Unix socket `redis+socket://`."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://")
    return redis_url


def list_key(queue: str) -> str:
    """Return the Redis key of the list in which a queue's messages wait."""
    return f"trainyard:{queue}"


def make_celery(settings: Settings) -> Celery:
    """Build the Celery app; `worker.celery_app` adds the task to it."""
    app = Celery("trainyard", broker=broker_url(settings.resolved_redis_url), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,  # SQL's lease, not the broker, knows whether a job is running
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=True,
        task_default_queue="default",
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_CONNECT_TIMEOUT_SECONDS,
        broker_pool_limit=4,
        broker_transport_options={
            "global_keyprefix": "trainyard:",
            "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "socket_timeout": _SOCKET_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_CHECK_SECONDS,
        },
    )
    if urlsplit(settings.resolved_redis_url).scheme == "rediss":
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return app


class Bell:
    """Tells workers that a queue has work, within a bounded time.

    Args:
        settings: for the Redis URL.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = make_celery(settings)
        self._app.conf.broker_transport_options |= {
            "socket_timeout": _PUBLISH_TIMEOUT_SECONDS,
            "max_retries": 0,
        }
        self._redis = connect(settings.resolved_redis_url, timeout_seconds=_PUBLISH_TIMEOUT_SECONDS)

    def ring(self, queue: str, job_id: int | None = None) -> None:
        """Send one message to `queue`.

        Args:
            queue: name of the queue that has work.
            job_id: a hint for whoever reads logs; the claim picks the best job anyway.

        Raises:
            QueueUnavailable: Redis did not take the message in time.
        """
        try:
            self.ping()
            self._app.send_task(
                TASK_NAME, args=[queue, job_id], queue=queue, retry=False, ignore_result=True
            )
        except (redis.RedisError, OperationalError, OSError) as error:
            raise QueueUnavailable(f"Redis did not take the message: {error}.") from error

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in `queue`.

        Raises:
            QueueUnavailable: Redis did not answer in time.
        """
        try:
            return int(self._redis.llen(list_key(queue)))
        except (redis.RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis did not answer: {error}.") from error

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            QueueUnavailable: it does not, in time.
        """
        try:
            self._redis.ping()
        except (redis.RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis did not answer: {error}.") from error

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
        self._redis.close()


def connect(
    redis_url: str, *, timeout_seconds: float | None, retries: int = 0, **options: Any
) -> redis.Redis:
    """Open a Redis client whose time-outs are stated on purpose.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`.
        timeout_seconds: for one read or write; None: wait for ever (pub/sub).
        retries: times a failed command is tried again.
    """
    if redis_url.startswith("unix://"):
        redis_url = "unix://" + quote(redis_url.removeprefix("unix://"), safe="/?=&")
    else:
        options["socket_connect_timeout"] = _CONNECT_TIMEOUT_SECONDS
        options["socket_keepalive"] = True
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), retries),
        decode_responses=True,
        **options,
    )
