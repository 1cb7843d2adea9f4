"""The correlation id of HTTP requests: read from a header, or made, and put into the response. ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from events_core.correlation import correlated, correlating

#: The header that the id is read from and written to, unless told otherwise.
HEADER = "X-Correlation-ID"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Messages that begin a response, and have headers.
_BEGINNINGS = frozenset({"http.response.start", "websocket.accept"})


class CorrelationMiddleware:
    """ASGI middleware: what a request emits and logs has its correlation id, and the response tells it.

    header: where the id is read from and written to. An id that is missing, or is no printable text of 1 to 200
    characters, is replaced by a new one.
    """

    def __init__(self, app: ASGIApp, header: str = HEADER) -> None:
        self.app = app
        self._header = header.lower().encode("latin-1")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, with its id."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        received = next((value.decode("latin-1") for name, value in scope["headers"] if name == self._header), None)
        own = None
        try:
            with correlated(received) as own:
                await self.app(scope, receive, _telling(send, self._header, own))
        except BaseException:
            correlating.set(own)  # for the server, which logs it after us, in this request's own context
            raise


class CorrelationWSGI:
    """As `CorrelationMiddleware`, for WSGI. The body of a streamed response is made outside of it."""

    def __init__(self, app: WSGIApp, header: str = HEADER) -> None:
        self.app = app
        self._header = header
        self._key = f"HTTP_{header.upper().replace('-', '_')}"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, with its id."""
        with correlated(environ.get(self._key)) as own:

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                return start_response(status, [*headers, (self._header, own)], *more)

            return self.app(environ, start)


def _telling(send: Send, header: bytes, own: str) -> Send:
    async def send_with_id(message: Message) -> None:
        if message["type"] in _BEGINNINGS:
            message = {**message, "headers": [*message.get("headers", ()), (header, own.encode("latin-1"))]}
        await send(message)

    return send_with_id
