"""The HTTP client of the commands.

Speaks to `/api/v1` of TRAINYARD_URL with the token TRAINYARD_TOKEN; knows nothing of SQL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from shared.cli.errors import Refused, Unreachable
from shared.errors import ConfigurationError
from shared.settings import Settings

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
_STORING_SECONDS = 3600.0
# The server sends a heartbeat every 15 s; two missing ones mean that the stream is dead.
_STREAM_READ_SECONDS = 40.0
_PREFIX = "/api/v1"
_AGENT = "trainyard/1"
_CHUNK_BYTES = 1 << 20


class Client:
    """Requests to one server.

    Args:
        url: its address.
        token: access token, if it asks for one.
        transport: replaces the network in tests.
    """

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url + _PREFIX,
            headers={"User-Agent": _AGENT}
            | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
            trust_env=False,  # a proxy is no way to one's own yard
        )

    @classmethod
    def of(cls, settings: Settings) -> Client:
        """Return the client of TRAINYARD_URL.

        Raises:
            ConfigurationError: the URL is none.
        """
        token = settings.token.get_secret_value() if settings.token else None
        try:
            if httpx.URL(settings.url).scheme in ("http", "https"):
                return cls(settings.url, token)
        except httpx.InvalidURL:
            pass
        raise ConfigurationError(
            f"TRAINYARD_URL must be an http or https address. Received: {settings.url!r}."
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def page_of(self, job_id: int) -> str:
        """Return the address of a job's page."""
        return f"{self.url}/jobs/{job_id}"

    def waiting(self, job_id: int) -> Any:
        """Return why a job waits, or None if it does so no longer; raises as `get`."""
        try:
            return self.get(f"/jobs/{job_id}/waiting")
        except Refused as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return None

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON document at `path`.

        Raises:
            Unreachable, Refused: there is no answer, or a refusal.
        """
        return self._document(self._request("GET", path, params=params))

    def get_text(self, path: str, params: Mapping[str, Any] | None = None) -> str:
        """Return the text at `path`; raises as `get`."""
        return self._request("GET", path, params=params).text

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        idempotency_key: str | None = None,
    ) -> Any:
        """Send `body` as JSON and return the answer.

        Args:
            path: where to.
            body: a JSON-compatible value.
            idempotency_key: makes it safe to send again after a broken connection; done once.

        Raises:
            Unreachable, Refused: there is no answer, or a refusal.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        body = {} if body is None else body
        if idempotency_key:
            with contextlib.suppress(Unreachable):
                return self._document(self._request("POST", path, json=body, headers=headers))
        return self._document(self._request("POST", path, json=body, headers=headers))

    def patch(self, path: str, body: Any) -> Any:
        """Change what lies at `path`, and return it; raises as `get`."""
        return self._document(self._request("PATCH", path, json=body))

    def delete(self, path: str) -> None:
        """Delete what lies at `path`; raises as `get`."""
        self._request("DELETE", path)

    def upload(self, path: str, chunks: Iterator[bytes], size: int) -> Any:
        """Send a file's content to `path` in pieces, and return the answer; raises as `get`.

        Args:
            path: where to.
            chunks: the content.
            size: its length in bytes.
        """
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        # The answer comes when the file lies in the artifact store, which may be slow.
        timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS, read=_STORING_SECONDS)
        answer = self._request("PUT", path, content=chunks, headers=headers, timeout=timeout)
        return self._document(answer)

    def items(
        self, path: str, params: Mapping[str, Any], *, at_most: int | None
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page after page.

        Args:
            path: of the list.
            params: filters.
            at_most: items; None: all.

        Raises:
            Unreachable, Refused: there is no answer, or a refusal.
        """
        cursor: str | None = None
        seen = 0
        while at_most is None or seen < at_most:
            page = self.get(path, {**params, **({"cursor": cursor} if cursor else {})})
            for item in page["items"][: None if at_most is None else at_most - seen]:
                seen += 1
                yield item
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    @contextlib.contextmanager
    def lines(self, path: str, last_event_id: str | None) -> Iterator[Iterator[str]]:
        """Open an event stream; within the block, iterate its lines.

        Raises:
            Unreachable, Refused: there is no answer, a refusal, or the stream broke.
        """
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(_STREAM_READ_SECONDS, connect=_CONNECT_SECONDS)
        with (
            self._translated(),
            self._http.stream("GET", path, headers=headers, timeout=timeout) as response,
        ):
            _require_ok(response)
            yield response.iter_lines()

    def download(self, path: str, target: Path) -> None:
        """Write what lies at `path` to a file, complete or not at all; raises as `get`."""
        partial = target.with_name(target.name + ".part")
        with self._translated(), self._http.stream("GET", path) as response:
            _require_ok(response)
            with partial.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
        partial.replace(target)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._translated():
            response = self._http.request(method, path, **options)
        _require_ok(response)
        return response

    def _document(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise Unreachable(
                f"The server at {self.url} is not Trainyard: {response.url.path} is no JSON."
            ) from error

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(
                f"The server at {self.url} cannot be reached: {_reason(error)}. "
                "Start one with `trainyard up`, or set TRAINYARD_URL."
            ) from error


def _reason(error: httpx.TransportError) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _require_ok(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    message = describe_problem(response.status_code, _document(response))
    if response.is_server_error:
        raise Unreachable(message)
    raise Refused(response.status_code, message)


def _document(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return {"detail": response.text[:500]}


def describe_problem(status: int, problem: Any) -> str:
    """Say in words what an `application/problem+json` document says.

    Args:
        status: HTTP status.
        problem: the decoded document; anything else is shown as it is.

    Returns:
        A sentence, then a line for each field: its name, its rule, the value received.
    """
    problem = problem if isinstance(problem, dict) else {"detail": str(problem)}
    lines = [str(problem.get("detail") or problem.get("title") or f"The server answered {status}.")]
    errors = problem.get("errors") or []
    if errors:
        lines = ["Not accepted:"]
    for error in errors:
        field = error.get("field") or "(whole document)"
        lines.append(f"  {field}: {error.get('rule')} Received: {error.get('received')!r}.")
    if status == httpx.codes.UNAUTHORIZED:
        lines.append("Set TRAINYARD_TOKEN to the server's access token.")
    return "\n".join(lines)
