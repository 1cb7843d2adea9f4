"""The correlation id of a request: from its header, or made, into every event and log line, and into the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from events_core.contrib._correlation import HEADER
from events_core.correlation import correlated


@sync_and_async_middleware
def correlation(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """``MIDDLEWARE = ["events_core.contrib.django.middleware.correlation", ...]``, as the first.

    An id in the header X-Correlation-ID that is missing, or is no printable text of 1 to 200 characters, is replaced by
    a new one.
    """
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> Any:
            with correlated(request.headers.get(HEADER)) as own:
                response = await get_response(request)
            response[HEADER] = own
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> Any:
        with correlated(request.headers.get(HEADER)) as own:
            response = get_response(request)
        response[HEADER] = own
        return response

    return synchronous
