"""Keys and references of an AsyncAPI document."""

from __future__ import annotations

import re


class Keys:
    """Gives each text a key of the characters that AsyncAPI allows in one, and no two texts the same."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The key; the same one each time."""
        if text not in self._keys:
            key = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_") or "_"
            while key in self._keys.values():
                key += "_"
            self._keys[text] = key
        return self._keys[text]


def pointer(*keys: str) -> str:
    """A reference into the document."""
    return "#/" + "/".join(keys)
