"""A real Chromium before real pages: a web server on a yard full of seeded jobs.

Without Chromium these tests are skipped, but fail when CI=true. Every page is watched: an error
on its console, or a request to another host, fails the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.live import Publisher
from shared.models import Job
from shared.schema import upgrade
from shared.settings import Settings
from tests.browser.seed import seed
from tests.services import RedisServer, free_port
from tests.waiting import wait_until
from web.vendor import is_current

_ROOT = Path(__file__).parents[2]
_ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
)
# Counts the pixels of a chart that have nearly the colour of a class's text.
_COUNT_PIXELS = """([chart, ink]) => {
  const probe = document.createElement("i");
  probe.className = ink;
  document.body.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
  const canvas = document.querySelector(`[data-chart="${chart}"] canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) {
    const far = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b);
    if (data[i + 3] > 200 && far < 24) found += 1;
  }
  return found;
}"""
# A true condition is seen at once; a machine may stand still for longer than the usual 5 s.
expect.set_options(timeout=20_000)
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}


@dataclass
class Site:
    """A running web server with a seeded yard behind it.

    Attributes:
        url: its address.
        ids: job number of each plan in `tests.browser.seed.PLANS`.
        database: the yard's database.
        publisher: tells the web server what has changed.
        store: the yard's artifacts.
    """

    url: str
    ids: dict[str, int]
    database: Database
    publisher: Publisher
    store: ArtifactStore

    def change(self, job_id: int, **values: Any) -> None:
        """Change a job's row as a worker would: write, then tell."""
        with self.database.write() as session:
            session.execute(sa.update(Job).where(Job.id == job_id).values(**values))
        self.publisher.publish(job_id, "job")


@dataclass
class Watch:
    """What a page has said and asked for.

    Attributes:
        complaints: errors on the console, and exceptions.
        hosts: hosts that requests went to.
        expected: parts of complaints that the test provokes on purpose.
    """

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    # The tests look at the pixels of charts, which Chromium comments on.
    expected: list[str] = field(default_factory=lambda: ["willReadFrequently"])

    def attach(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if request.url.startswith(("http:", "https:", "ws:", "wss:")):
            self.hosts.add(urlsplit(request.url).netloc)

    def check(self, host: str) -> None:
        """Fail if a page complained, or asked another host for anything."""
        unexpected = [
            text for text in self.complaints if not any(part in text for part in self.expected)
        ]
        assert not unexpected, "The page complained:\n" + "\n".join(unexpected)
        assert self.hosts <= {host}, f"Requests went to {self.hosts - {host}}."


Scheme = Literal["light", "dark"]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run one Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    for missing, what in ((not program, "Chromium"), (not is_current(), "uPlot (make vendor)")):
        if missing and os.environ.get("CI") == "true":
            pytest.fail(f"{what} is missing, and this is CI.")
        if missing:
            pytest.skip(f"{what} is missing on this machine.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS.split())
        yield running
        running.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Site]:
    """Serve a yard full of jobs."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("site"), redis_url=redis_server.url)
    upgrade(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    store = ArtifactStore(settings.resolved_artifacts_url)
    ids = seed(database, store)
    publisher = Publisher(redis_server.url, timeout_seconds=30)
    with serving(settings) as url:
        yield Site(url, ids, database, publisher, store)
    publisher.close()
    database.dispose()


@pytest.fixture
def watch() -> Watch:
    """Collect what the test's pages say."""
    return Watch()


@pytest.fixture
def open_page(browser: Browser, site: Site, watch: Watch) -> Iterator[OpenPage]:
    """Open pages of the seeded site: `open_page("/", scheme="dark", viewport=PHONE)`."""
    with opened_pages(browser, site.url, watch) as opener:
        yield opener


@contextmanager
def opened_pages(browser: Browser, url: str, watch: Watch) -> Iterator[OpenPage]:
    """Give a function that opens pages of a site, and check in the end what they said."""
    contexts = []

    def opener(
        path: str = "/", *, scheme: Scheme = "light", viewport: ViewportSize = DESKTOP
    ) -> Page:
        context = browser.new_context(viewport=viewport, color_scheme=scheme, base_url=url)
        contexts.append(context)
        page = context.new_page()
        watch.attach(page)
        page.goto(path)
        return page

    yield opener
    for context in contexts:
        context.close()
    watch.check(urlsplit(url).netloc)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Run `python -m web` with these settings, and give its address."""
    port = free_port()
    environment = {
        **os.environ,
        "TRAINYARD_DATA_DIR": str(settings.data_dir),
        "TRAINYARD_REDIS_URL": settings.redis_url,
    }
    with (settings.data_dir / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "web", "--port", str(port)],
            cwd=_ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{url}/healthz") or process.poll() is not None)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def pixels(page: Page, chart: str, ink: str) -> int:
    """Count the pixels of a chart that have nearly the colour of the class `ink`."""
    page.wait_for_selector(f'[data-chart="{chart}"] canvas')
    return int(page.evaluate(_COUNT_PIXELS, [chart, ink]))
