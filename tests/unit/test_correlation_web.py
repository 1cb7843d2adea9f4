"""The correlation id of HTTP requests, over ASGI: from the header or made, in the response, in events and logs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from events_core.contrib._correlation import CorrelationMiddleware, CorrelationWSGI
from events_core.correlation import CorrelationFilter, current_correlation_id

Headers = list[tuple[bytes, bytes]]


def ask(
    app: Any, headers: Headers | None = None, kind: str = "http", header: str = "X-Correlation-ID"
) -> list[dict[str, Any]]:
    """What an ASGI application behind the middleware sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": f"{kind}.request"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(CorrelationMiddleware(app, header)({"type": kind, "headers": headers or []}, receive, send))
    return sent


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(current_correlation_id()).encode()})


def test_the_id_of_the_header_is_the_requests_and_the_responses() -> None:
    start, body = ask(hello, [(b"x-correlation-id", b"from-outside")])
    assert start["headers"] == [(b"content-type", b"text/plain"), (b"x-correlation-id", b"from-outside")]
    assert body["body"] == b"from-outside"


def test_without_a_header_each_request_has_a_new_one() -> None:
    (first, body), (second, _) = ask(hello), ask(hello)
    assert first["headers"][1] == (b"x-correlation-id", body["body"])
    assert first["headers"][1] != second["headers"][1]


@pytest.mark.parametrize("bad", [b"", b"x" * 201, b"a\tb", b"\x1b[31mred", b"\xa0"])
def test_one_that_would_spoil_a_log_is_replaced(bad: bytes) -> None:
    start, _ = ask(hello, [(b"x-correlation-id", bad)])
    assert start["headers"][1][1] != bad


def test_one_that_is_not_ascii_comes_back_as_it_came() -> None:
    start, _ = ask(hello, [(b"x-correlation-id", "bestellung-ü".encode("latin-1"))])
    assert start["headers"][1][1] == "bestellung-ü".encode("latin-1")


def test_another_header_can_carry_it() -> None:
    start, body = ask(hello, [(b"x-request-id", b"r-1"), (b"x-correlation-id", b"c-1")], header="X-Request-ID")
    assert start["headers"][1] == (b"x-request-id", b"r-1")
    assert body["body"] == b"r-1"


def test_a_web_socket_has_one_from_its_beginning() -> None:
    async def talk(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": current_correlation_id()})

    accept, said = ask(talk, [(b"x-correlation-id", b"socket")], kind="websocket")
    assert accept["headers"] == [(b"x-correlation-id", b"socket")]
    assert said == {"type": "websocket.send", "text": "socket"}


def test_a_lifespan_has_none() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert current_correlation_id() is None
        await send({"type": "lifespan.startup.complete"})

    assert ask(app, kind="lifespan") == [{"type": "lifespan.startup.complete"}]


def test_requests_at_once_have_their_own() -> None:
    async def both() -> None:
        together = asyncio.Barrier(2)

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await together.wait()
            await hello(scope, receive, send)

        async def one(name: bytes) -> bytes:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {"type": "http", "headers": [(b"x-correlation-id", name)]}
            await CorrelationMiddleware(slow)(scope, None, send)  # type: ignore[arg-type]
            return bytes(sent[1]["body"])

        assert await asyncio.gather(one(b"one"), one(b"two")) == [b"one", b"two"]

    asyncio.run(both())


def test_the_servers_line_about_a_failed_request_has_it_and_the_next_request_has_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server logs an exception after all middleware, in the request's own task."""
    caplog.handler.addFilter(CorrelationFilter())

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    async def server() -> None:
        scope = {"type": "http", "headers": [(b"x-correlation-id", b"id")]}

        async def request() -> None:
            try:
                await CorrelationMiddleware(fails)(scope, None, None)  # type: ignore[arg-type]
            except ValueError:
                logging.getLogger("server").error("failed")

        await asyncio.create_task(request())
        logging.getLogger("server").error("idle")

    asyncio.run(server())
    assert [record.correlation_id for record in caplog.records] == ["id", "-"]  # type: ignore[attr-defined]


def test_wsgi() -> None:
    answers = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(current_correlation_id()).encode()]

    def start(status: str, headers: Any) -> None:
        answers.append((status, headers))

    body = CorrelationWSGI(app, "X-Request-ID")({"HTTP_X_REQUEST_ID": "r-1"}, start)
    assert body == [b"r-1"]
    assert answers == [("200 OK", [("Content-Type", "text/plain"), ("X-Request-ID", "r-1")])]
    assert current_correlation_id() is None
