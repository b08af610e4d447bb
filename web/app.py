"""The app factory: settings, parts, security, blueprints, in this order.

Touches neither the database nor Redis, so that it is quick, and safe before a fork.
"""

from __future__ import annotations

from flask import Flask

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.live import Publisher
from shared.queue import Bell
from shared.settings import Settings
from web import api, auth, compression, errors, health, metrics, pages, security
from web.counts import StatusCounts
from web.live import LiveHub
from web.wire import JsonProvider
from web.yard import KEY, Yard


def create_app(
    settings: Settings, *, database: Database | None = None, bound_host: str = "127.0.0.1"
) -> Flask:
    """Build the web application.

    Args:
        settings: the configuration.
        database: the database; opened from the settings unless given.
        bound_host: what the server is bound to; decides which Host headers are ours.

    Returns:
        The app; its parts are at `web.yard.current_yard()`.
    """
    app = Flask(__name__)
    app.json = JsonProvider(app)
    app.url_map.strict_slashes = False
    app.extensions[KEY] = make_yard(settings, database or Database(settings.resolved_database_url))
    compression.init_app(app)  # first, to be last: what follows still sees the page
    metrics.init_app(app)
    errors.init_app(app)
    security.init_app(app, settings, bound_host=bound_host)
    auth.init_app(app, settings)
    for blueprint in (health.bp, auth.bp, api.bp, pages.bp):
        app.register_blueprint(blueprint)
    return app


def make_yard(settings: Settings, database: Database) -> Yard:
    """Put together what views need."""
    redis_url = settings.resolved_redis_url
    return Yard(
        settings=settings,
        database=database,
        artifacts=ArtifactStore(settings.resolved_artifacts_url),
        bell=Bell(settings),
        publisher=Publisher(redis_url),
        live=LiveHub(database, redis_url, max_streams=settings.max_streams),
        counts=StatusCounts(),
    )
