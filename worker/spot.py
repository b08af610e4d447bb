"""Watches for the notice that a spot machine is about to be taken away.

The notice is a bonus: AWS gives two minutes, Google and Azure thirty seconds or less, none of
them for sure. Periodic checkpoints are what a job's safety rests on.

    AWS    GET /latest/meta-data/spot/instance-action, with a session token: 404 until the notice
    GCP    GET /computeMetadata/v1/instance/preempted: `FALSE` until the notice
    Azure  GET /metadata/scheduledevents, which lists those of a whole scale set: an event of type
           `Preempt` that names this machine (/metadata/instance/compute/name) is the notice
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

_POLL_SECONDS = 2.0
_TIMEOUT_SECONDS = 1.0
_AWS_TOKEN_SECONDS = 21_600

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "GET"


def _aws(base_url: str) -> bool:
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(_AWS_TOKEN_SECONDS)}
    token = _ask(base_url, _Request("/latest/api/token", lifetime, "PUT"))
    headers = {"X-aws-ec2-metadata-token": token or ""}
    action = _ask(base_url, _Request("/latest/meta-data/spot/instance-action", headers))
    return action is not None


def _gcp(base_url: str) -> bool:
    headers = {"Metadata-Flavor": "Google"}
    answer = _ask(base_url, _Request("/computeMetadata/v1/instance/preempted", headers))
    return answer is not None and answer.strip().upper() == "TRUE"


def _azure(base_url: str) -> bool:
    request = _Request("/metadata/scheduledevents?api-version=2020-07-01", {"Metadata": "true"})
    events = json.loads(_ask(base_url, request) or "{}").get("Events", [])
    preempted = [event for event in events if event.get("EventType") == "Preempt"]
    if not preempted:
        return False
    path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
    name = _ask(base_url, _Request(path, {"Metadata": "true"}))
    # Better to hand back in vain than to lose what was not saved.
    return name is None or any(name.strip() in event["Resources"] for event in preempted)


_ASK: dict[str, Callable[[str], bool]] = {"aws": _aws, "gcp": _gcp, "azure": _azure}
_URLS = {
    "aws": "http://169.254.169.254",
    "gcp": "http://metadata.google.internal",
    "azure": "http://169.254.169.254",
}


class SpotWatcher:
    """Looks for the notice every two seconds, in a thread of its own.

    Args:
        cloud: `aws`, `gcp` or `azure`.
        on_notice: called once, when the notice has come.
        base_url: address of the metadata service; the cloud's own unless given.
        poll_seconds: pause between two looks.
    """

    def __init__(
        self,
        cloud: str,
        on_notice: Callable[[], None],
        *,
        base_url: str = "",
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._cloud = cloud
        self._on_notice = on_notice
        self._base_url = base_url or _URLS[cloud]
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spot", daemon=True)
        self._silent = False

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._noticed():
                log.warning("This machine is about to be taken away.")
                self._on_notice()
                return
            self._stop.wait(self._poll_seconds)

    def _noticed(self) -> bool:
        try:
            noticed = _ASK[self._cloud](self._base_url)
        except Exception as error:  # noqa: BLE001 - whatever it answers, this goes on watching
            if not self._silent:
                log.warning("The metadata service of %s does not answer: %s", self._cloud, error)
            self._silent = True
            return False
        self._silent = False
        return noticed


def _ask(base_url: str, request: _Request) -> str | None:
    """Return the body of an answer; None for 404."""
    message = urllib.request.Request(
        base_url + request.path, headers=request.headers, method=request.method
    )
    # No proxy stands between a machine and its metadata.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(message, timeout=_TIMEOUT_SECONDS) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise
