"""Flask: what a view emits goes out once it has succeeded.

::

    events = EventSystem("shop", handlers=["shop.handlers"])
    in_flask = Events(events)

    def create_app() -> Flask:
        app = Flask(__name__)
        in_flask.init_app(app)
        app.register_blueprint(in_flask.health())
        return app
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask

from events_core.contrib._correlation import HEADER, CorrelationWSGI
from events_core.contrib._health import PATIENCE, ping
from events_core.errors import ConfigurationError
from events_core.system import EventSystem

__all__ = ["Events"]

_NAME = "events"


class Events:
    """The extension. Of an application it is ``app.extensions["events"]``.

    What a view emits is held back until it has returned something that is a response, and goes out in one batch; if it
    raises (also an HTTP error, by `abort`), nothing goes out. EmitError is an error like the view's own: 500, or what
    your error handler makes of it. Commit in the view: what ends later (`after_request`, `teardown_request`) ends after
    the events have gone. Outside of views, as in a command of `flask`, emit sends at once.

    system: what views emit with. app: as `init_app`. header: the correlation id is read from it, or made, and put into
    the response, into every event of the request, and by `CorrelationFilter` into its log lines.
    """

    def __init__(self, system: EventSystem, app: Flask | None = None, *, header: str = HEADER) -> None:
        self.system = system
        self._header = header
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add it to an application. Connects to nothing. Raises ConfigurationError if that has been done."""
        if _NAME in app.extensions:
            raise ConfigurationError(f"{app.name!r} has its events already: call init_app once, with one EventSystem")
        app.extensions[_NAME] = self
        self._hold_views(app)
        setattr(app, "wsgi_app", CorrelationWSGI(app.wsgi_app, self._header))  # noqa: B010  (Flask's own way, a method to mypy)

    def _hold_views(self, app: Flask) -> None:
        # Not by before_request and after_request: what an error handler has made a response of looks like success.
        dispatch = app.dispatch_request

        def dispatch_held(*context: Any) -> Any:
            with self.system.hold():
                return app.make_response(dispatch(*context))

        setattr(app, "dispatch_request", dispatch_held)  # noqa: B010

    def health(self, *, url: str = "/readyz", timeout: float = PATIENCE) -> Blueprint:
        """A blueprint whose one view answers 200 if the broker and the coordination Redis do, else 503; as JSON.

        timeout: seconds that it takes at most. Take it for readiness: a restart of this process repairs no broker.
        """
        blueprint = Blueprint(f"{_NAME}_health", __name__)

        def answer() -> tuple[dict[str, Any], int]:
            found = ping(self.system, timeout)
            return found.as_json(), found.status

        blueprint.add_url_rule(url, "ready", answer)
        return blueprint
