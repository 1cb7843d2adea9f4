"""Flask: what a view emits goes out once it has succeeded, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, current_app

from events_core import ConfigurationError, DomainEvent, EmitError, EventSystem
from events_core.contrib.flask import Events
from events_core.correlation import current_correlation_id
from tests.support.broker_queues import envelopes, length
from tests.support.ports import free_port


class Ordered(DomainEvent, event_type="flask.ordered"):
    pass


def handle(event: Ordered) -> None: ...


class Shop:
    """An application, and how many events are out at each moment of its requests."""

    def __init__(self, events: EventSystem, url: str) -> None:
        self.events, self.url = events, url
        self.app = Flask("shop")
        self.extension = Events(events, self.app)
        self.seen: dict[str, int] = {}

    def out(self) -> int:
        return length(self.url, self.events.settings.default_queue)

    def look(self, moment: str) -> None:
        self.seen[moment] = self.out()

    def get(self, path: str = "/", **options: Any) -> Any:
        return self.app.test_client().get(path, **options)


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    events = EventSystem(system_name, broker_url=redis_url)
    events.bind(Ordered, handle, name="ordered")
    events.emit(Ordered())  # so that the queue exists
    yield events
    events.close()


@pytest.fixture
def shop(events: EventSystem, redis_url: str) -> Shop:
    return Shop(events, redis_url)


class TestViews:
    def test_it_goes_out_when_the_view_has_returned(self, shop: Shop) -> None:
        @shop.app.get("/")
        def view() -> str:
            shop.events.emit(Ordered())
            shop.look("view")
            return "done"

        @shop.app.after_request
        def after(response: Response) -> Response:
            shop.look("after")
            return response

        assert shop.get().status_code == 200
        assert shop.seen == {"view": 1, "after": 2}

    def test_an_async_view(self, shop: Shop) -> None:
        @shop.app.get("/")
        async def view() -> str:
            await shop.events.aemit(Ordered())
            shop.look("view")
            return "done"

        assert shop.get().status_code == 200
        assert shop.seen == {"view": 1}
        assert shop.out() == 2

    def test_nothing_goes_out_if_it_raises(self, shop: Shop) -> None:
        """Also where an error handler makes a success of it."""

        @shop.app.get("/<error>")
        def view(error: str) -> str:
            shop.events.emit(Ordered())
            if error == "conflict":
                abort(409)
            raise LookupError if error == "handled" else ValueError

        shop.app.register_error_handler(LookupError, lambda error: ("all is well", 200))
        statuses = {path: shop.get(path).status_code for path in ("/conflict", "/handled", "/other")}
        assert statuses == {"/conflict": 409, "/handled": 200, "/other": 500}
        assert shop.out() == 1

    def test_nothing_goes_out_if_it_returns_no_response(self, shop: Shop) -> None:
        @shop.app.get("/")
        def view() -> None:
            shop.events.emit(Ordered())

        assert shop.get().status_code == 500
        assert shop.out() == 1

    @pytest.mark.parametrize("handled", [False, True])
    def test_a_broker_that_is_away_is_an_error_of_the_view(self, system_name: str, handled: bool) -> None:
        """As 500, or as the application's error handler says."""
        events = EventSystem(system_name, broker_url=f"redis://127.0.0.1:{free_port()}/0", emit_timeout=0.2)
        events.bind(Ordered, handle, name="ordered")
        shop = Shop(events, "")
        if handled:
            shop.app.register_error_handler(EmitError, lambda error: ("try again", 503))

        @shop.app.get("/")
        def view() -> str:
            events.emit(Ordered())
            return "done"

        assert shop.get().status_code == (503 if handled else 500)

    def test_a_streamed_body_emits_at_once(self, shop: Shop) -> None:
        def parts() -> Iterator[str]:
            shop.events.emit(Ordered())
            yield str(shop.out())

        shop.app.get("/")(parts)
        assert shop.get().text == "2"


class TestOutsideOfViews:
    def test_a_command_emits_at_once(self, shop: Shop) -> None:
        @shop.app.cli.command("order")
        def order() -> None:
            assert current_app.extensions["events"].system is shop.events
            shop.events.emit(Ordered())
            shop.look("command")

        ran = shop.app.test_cli_runner().invoke(args=["order"])
        assert ran.exit_code == 0, ran.output
        assert shop.seen == {"command": 2}

    def test_an_application_context_emits_at_once(self, shop: Shop) -> None:
        with shop.app.app_context():
            shop.events.emit(Ordered())
            assert shop.out() == 2


class TestExtension:
    def test_one_extension_serves_several_applications(self, events: EventSystem) -> None:
        extension = Events(events)
        for name in ("first", "second"):
            app = Flask(name)
            extension.init_app(app)
            assert app.extensions["events"] is extension

    def test_twice_for_one_application_is_refused(self, shop: Shop, events: EventSystem) -> None:
        with pytest.raises(ConfigurationError, match="'shop' has its events already"):
            Events(events).init_app(shop.app)


class TestCorrelation:
    def test_the_id_of_the_header_is_in_response_and_event(self, shop: Shop, redis_url: str) -> None:
        @shop.app.get("/")
        def view() -> str:
            shop.events.emit(Ordered())
            return str(current_correlation_id())

        response = shop.get(headers={"X-Correlation-ID": "from-outside"})
        assert (response.text, response.headers["X-Correlation-ID"]) == ("from-outside", "from-outside")
        assert envelopes(redis_url, shop.events.settings.default_queue)[-1]["correlation_id"] == "from-outside"
        assert current_correlation_id() is None

    def test_a_request_without_one_gets_its_own(self, shop: Shop) -> None:
        """Also the answer to an error, where it is needed most."""
        shop.app.get("/")(lambda: 1 // 0)
        first, second = (shop.get().headers["X-Correlation-ID"] for _ in range(2))
        assert first != second
        assert shop.get(headers={"X-Correlation-ID": "x" * 201}).headers["X-Correlation-ID"] != "x" * 201


class TestHealth:
    def test_it_says_what_answers(self, shop: Shop) -> None:
        shop.app.register_blueprint(shop.extension.health())
        response = shop.get("/readyz")
        assert (response.status_code, response.json) == (
            200,
            {"ok": True, "checks": {"broker": "ok", "coordination": "ok"}},
        )

    def test_a_server_that_is_away_is_503(self, system_name: str) -> None:
        away = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
        shop = Shop(EventSystem(system_name, broker_url=away), "")
        shop.app.register_blueprint(shop.extension.health(url="/health"))
        response = shop.get("/health")
        assert response.status_code == 503
        assert "s3cret" not in response.text
