"""In which forms a value may stand in an error's text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

#: What is left of a value in the Base64 of something longer, in characters; less is in many a text.
_SHORTEST_PIECE: Final = 6


def forms_of(value: Any) -> Iterator[str]:
    """The value as text, as repr() and JSON write it, percent-encoded, in hexadecimal digits and in Base64.

    Base64 also within that of a longer text, such as ``user:password``.
    """
    if isinstance(value, bytes | bytearray):
        yield from _forms_of_bytes(bytes(value))
        return
    if not isinstance(value, str):
        yield repr(value)
    text = str(value)
    yield text
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    encoded = text.encode(errors="surrogatepass")
    yield quote(encoded, safe="")
    yield quote(encoded)
    yield quote_plus(encoded)
    yield from _forms_of_bytes(encoded)


def _forms_of_bytes(value: bytes) -> Iterator[str]:
    if not value:
        return
    yield repr(value)[2:-1]
    yield value.decode(errors="replace")
    if len(value) > 1:  # two digits are in every text
        yield value.hex()
        yield value.hex().upper()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(value).decode()
        yield whole
        yield whole.rstrip("=")
        yield from _pieces(value, encode)


def _pieces(value: bytes, encode: Any) -> Iterator[str]:
    """What the Base64 of a longer text has of it, wherever in it the value begins."""
    for before in range(3):
        digits = encode(b"\0" * before + value).decode()
        # digits at both ends are also made of what stands beside the value
        piece = digits[(0, 2, 3)[before] : (before + len(value)) * 8 // 6]
        if len(piece) >= _SHORTEST_PIECE:
            yield piece
