"""What a message must be to be a delivery."""

from __future__ import annotations

import json
from typing import Any

from celery.exceptions import InvalidTaskError
from pydantic_core import from_json
from uuid_utils import UUID


def open_message(message: Any) -> None:
    """Decode the body, once and for all, as plain JSON; raise InvalidTaskError for what is no delivery.

    kombu's JSON turns objects with `__type__` into datetimes and the like, which in a payload are the payload's own.
    """
    if message.content_type != "application/json":
        raise InvalidTaskError(f"the content type is {message.content_type}, not application/json")
    try:
        body = _loads(message.body)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidTaskError(f"the body is no JSON: {type(error).__name__}") from None
    if not (isinstance(body, list) and len(body) == 3 and isinstance(body[0], list) and body[1] == {}):
        raise InvalidTaskError("the body is not [[envelope], {}, embed]")
    if not isinstance(body[2], dict | None):
        raise InvalidTaskError("the embed in the body is no object")
    headers = message.headers
    try:
        UUID(headers.get("id"))
    except (ValueError, TypeError, AttributeError):
        raise InvalidTaskError("the header id is missing, or is no UUID") from None
    for name in ("timelimit", "stamps", "stamped_headers"):
        headers.pop(name, None)  # none of ours; the task sets its limits itself
    message._decoded_cache = body


def _loads(text: Any) -> Any:
    try:
        return from_json(text)  # six times faster than json
    except ValueError:  # and stricter, of surrogates for example
        return json.loads(text)
