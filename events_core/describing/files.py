"""Schemas in files: what `events schema` writes, and what `events schema diff` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from events_core.describing.diff import by_event
from events_core.describing.json_schema import ABOUT
from events_core.describing.walk import Schema


def text_of(document: Any) -> str:
    """The JSON that is written: the same for the same document."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, documents: Iterable[Schema]) -> list[Path]:
    """Write each into a file of its own; return those in the folder that are of events that are not among them.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    for document in documents:
        about = document[ABOUT]
        path = folder / f"{quote(about['type'], safe='')}.v{about['version']}.json"
        path.write_text(text_of(document), encoding="utf-8")
        written.add(path)
    return sorted(path for path in folder.glob("*.v*.json") if path not in written)


def read(path: Path) -> tuple[dict[tuple[str, int], Schema], bool]:
    """The schemas in a file, or in the .json files of a folder; and whether they are all that there were.

    They are not where the file holds one schema, and not a list: somebody has asked for that one.
    Raises ValueError for what `events schema` has not written, OSError for what cannot be read.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}: give a folder or file that `events schema` wrote")
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise ValueError(f"{path} holds no .json file: give a folder or file that `events schema` wrote")
        return by_event(document for file in files for document in _documents(file)[0]), True
    documents, whole = _documents(path)
    return by_event(documents), whole


def _documents(file: Path) -> tuple[list[Schema], bool]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    documents = read if isinstance(read, list) else [read]
    for document in documents:
        about = document.get(ABOUT) if isinstance(document, dict) else None
        if not isinstance(about, Mapping) or not isinstance(about.get("version"), int) or not about.get("type"):
            raise ValueError(f"{file} has a schema without {ABOUT!r}, so it is not from `events schema`")
        if "format" in about:
            raise ValueError(f"{file} holds whole messages: write schemas to be compared without --format")
    return documents, isinstance(read, list)
