"""The bell and the live channel over a real Redis, over TCP and over its Unix socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import QueueUnavailable
from shared.live import Message, Publisher, Subscriber
from shared.queue import Bell, broker_url
from shared.settings import Settings
from tests.services import RedisServer, free_port
from tests.waiting import wait_until


@pytest.fixture(params=["tcp", "socket"])
def url(request: pytest.FixtureRequest, redis_server: RedisServer) -> str:
    redis_server.flush()
    return redis_server.url if request.param == "tcp" else redis_server.socket_url


@pytest.fixture
def absent_url() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def test_each_ring_waits_in_its_own_queue(url: str, tmp_path: Path) -> None:
    bell = Bell(Settings(data_dir=tmp_path, redis_url=url))
    bell.ring("default", 1)
    bell.ring("default", 2)
    bell.ring("big", 3)

    assert (bell.waiting("default"), bell.waiting("big"), bell.waiting("none")) == (2, 1, 0)
    bell.close()


def test_an_absent_redis_is_a_named_error(absent_url: str, tmp_path: Path) -> None:
    bell = Bell(Settings(data_dir=tmp_path, redis_url=absent_url))

    with pytest.raises(QueueUnavailable, match="Redis"):
        bell.ring("default", 1)
    with pytest.raises(QueueUnavailable, match="Redis"):
        bell.waiting("default")
    bell.close()


def test_a_unix_socket_has_another_name_in_kombus_words() -> None:
    assert broker_url("unix:///var/redis.sock") == "redis+socket:///var/redis.sock"
    assert broker_url("redis://host:6379/0") == "redis://host:6379/0"


def test_what_is_published_arrives_in_order(url: str) -> None:
    subscriber = Subscriber(url)
    subscriber.subscribe()
    publisher = Publisher(url)
    publisher.publish(7, "progress", {"epoch": 1})
    publisher.publish(7, "job")

    received: list[Message] = []

    def both_arrived() -> bool:
        received.extend(subscriber.messages(timeout_seconds=0.1))
        return len(received) >= 2

    wait_until(both_arrived)
    assert received == [Message(7, "progress", {"epoch": 1}), Message(7, "job", {})]
    publisher.close()
    subscriber.close()


def test_publishing_without_redis_neither_raises_nor_tries_every_time(
    absent_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    publisher = Publisher(absent_url, clock=lambda: now[0])
    for _ in range(5):
        publisher.publish(1, "job")

    assert [record.message.split(",")[0] for record in caplog.records] == ["Live updates pause"]
    publisher.close()


def test_publishing_works_again_when_redis_is_back(redis_server: RedisServer) -> None:
    now = [0.0]
    publisher = Publisher(redis_server.url, clock=lambda: now[0])
    redis_server.stop()
    try:
        publisher.publish(1, "job")
    finally:
        redis_server.start()
    now[0] += 60
    subscriber = Subscriber(redis_server.url)
    subscriber.subscribe()
    publisher.publish(2, "job")

    arrived = wait_until(lambda: list(subscriber.messages(timeout_seconds=0.1)))
    assert arrived == [Message(2, "job", {})]
    publisher.close()
    subscriber.close()
