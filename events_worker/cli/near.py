"""Names that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def known_names(name: str, known: Iterable[str], what: str) -> str:
    """A sentence that says which names there are, those near to `name` where it is near to any. what: in the plural."""
    names = sorted(known)
    if not names:
        return f"there are no {what}"
    near = [other for other in names if name.lower() in other.lower()] or get_close_matches(
        name, names, n=5, cutoff=0.5
    )
    return f"did you mean {', '.join(near)}?" if near else f"the {what} are {', '.join(names)}"
