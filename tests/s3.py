"""An S3 server on loopback, moto's, for this process and those that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from tests.faults.proxy import BlackHoleProxy


@contextmanager
def s3_server() -> Iterator[BlackHoleProxy]:
    """Serve S3 while the block lasts; the environment tells every client where.

    Returns:
        The way to the server, which can turn into a black hole.
    """
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with (
            BlackHoleProxy(server.get_host_and_port()[1]) as proxy,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "testing")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            # Clients are kept for good, and keep to the address that they met first.
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            yield proxy
    finally:
        server.stop()
