"""Which names of Celery, kombu, redis-py, amqp and Flower our sources use that those do not promise to keep."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from events_core.system import systems
from tests.support.processes import ROOT

# Importing the worker sets up every EventSystem there is: those of other tests have no broker now.
_others = list(systems)
systems.clear()
importlib.import_module("events_worker.app")
systems.update(_others)

FOREIGN = ("amqp", "billiard", "celery", "flower", "kombu", "redis", "vine")
PACKAGES = ("events_core", "events_worker")
DJANGO = ROOT / "events_core" / "contrib" / "django"
#: Modules that their documentation tells users to import from.
DOCUMENTED = {
    "amqp", "celery", "celery.bootsteps", "celery.exceptions", "celery.signals", "kombu", "kombu.exceptions",
    "kombu.utils.encoding", "kombu.utils.json", "redis", "redis.asyncio", "redis.backoff", "redis.exceptions",
    "redis.retry",
}  # fmt: skip
#: Classes whose documentation tells users to override these.
TO_BE_OVERRIDDEN = {
    "celery.bootsteps": {"requires", "start", "stop", "terminate"},
    "celery.app.task": {
        "abstract", "acks_late", "ignore_result", "max_retries", "reject_on_worker_lost", "run", "serializer",
        "store_errors_even_if_ignored", "throws", "track_started", "typing",
    },
}  # fmt: skip
#: Of named tuples; documented in spite of the underscore.
_OF_PYTHON = {"_replace", "_asdict", "_fields", "_make"}


class Use(NamedTuple):
    """One use of a name that is not ours to rely on. how: ``accesses``, ``overrides`` or ``imports``."""

    file: str
    line: int
    how: str
    name: str


def uses() -> Iterator[Use]:
    """Every use in the sources, those of Django's adapter excepted: its modules need a project's settings."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if DJANGO in path.parents:
                continue
            tree = ast.parse(path.read_text())
            file = str(path.relative_to(ROOT))
            yield from _imports(file, tree)
            yield from _accesses(file, tree, _defined_in(path.parent))
            yield from _overrides(file, tree)


def _imports(file: str, tree: ast.AST) -> Iterator[Use]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in FOREIGN:
            for name in node.names:
                if not _is_documented(node.module, name.name):
                    yield Use(file, node.lineno, "imports", name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] in FOREIGN and name.name not in DOCUMENTED:
                    yield Use(file, node.lineno, "imports", name.name)


def _is_documented(module: str, name: str) -> bool:
    whole = f"{module}.{name}"
    return whole in DOCUMENTED or (module in DOCUMENTED and whole not in sys.modules)


def _accesses(file: str, tree: ast.AST, ours: set[str]) -> Iterator[Use]:
    """Underscore attributes of anything, unless a file of the same folder defines the name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not _is_private(node.attr) or node.attr in ours | _OF_PYTHON:
            continue
        if isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names:
            continue
        yield Use(file, node.lineno, "accesses", node.attr)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@functools.cache
def _defined_in(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def _overrides(file: str, tree: ast.AST) -> Iterator[Use]:
    """Names of a foreign class that a class of ours defines or assigns anew."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or not node.bases:
            continue
        ours = getattr(importlib.import_module(module_of(file)), node.name, None)
        if not isinstance(ours, type) or not foreign_bases(ours):
            continue
        for line, name in _defines(node):
            if not name.startswith("__") and any(_overridden(base, name) for base in foreign_bases(ours)):
                yield Use(file, line, "overrides", name)


def _overridden(base: type, name: str) -> bool:
    return has(base, name) and name not in TO_BE_OVERRIDDEN.get(base.__module__, ())


def _defines(class_: ast.ClassDef) -> Iterator[tuple[int, str]]:
    for statement in class_.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.lineno, statement.name
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from ((statement.lineno, target.id) for target in targets if isinstance(target, ast.Name))
    for node in ast.walk(class_):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.lineno, node.attr


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def module_of(file: str) -> str:
    """The module's name of a source file."""
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")


def foreign_bases(ours: type) -> list[type]:
    """The classes that it inherits from Celery and the others."""
    return [base for base in ours.__mro__ if base.__module__.partition(".")[0] in FOREIGN]


def has(owner: Any, name: str) -> bool:
    """Whether an object has the name; a class also if its methods give it to each instance, or pass it as a keyword."""
    if hasattr(owner, name):
        return True
    if not isinstance(owner, type):
        return inspect.ismodule(owner) and importlib.util.find_spec(f"{owner.__name__}.{name}") is not None
    return any(re.search(rf"\bself\.{name}\b|\b{name}=", _source(base)) for base in foreign_bases(owner))


@functools.cache
def _source(class_: type) -> str:
    try:
        return inspect.getsource(class_)
    except (OSError, TypeError):
        return ""  # made at run time


def resolve(owner: str) -> Any:
    """What ``module`` or ``module:attribute.attribute`` names."""
    module, _, path = owner.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def parameters(function: Any) -> str:
    """The names of a function's parameters, as ``(queue, *args)``; of a method without the instance."""
    found = [_starred(parameter) for parameter in inspect.signature(function).parameters.values()]
    return f"({', '.join(found[1:] if found[:1] == ['self'] else found)})"


def _starred(parameter: inspect.Parameter) -> str:
    stars = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
    return stars + parameter.name


def overriding() -> Iterator[tuple[str, Any, Any]]:
    """Each method of ours that overrides a foreign one: where it is, itself, and the foreign one."""
    for use in uses():
        if use.how != "overrides":
            continue
        for ours in vars(importlib.import_module(module_of(use.file))).values():
            mine = vars(ours).get(use.name) if isinstance(ours, type) else None
            if inspect.isfunction(mine) and mine.__code__.co_firstlineno == use.line:
                yield f"{use.file}:{use.line} {use.name}", mine, _next(ours, use.name)


def _next(ours: type, name: str) -> Any:
    return next(vars(base)[name] for base in foreign_bases(ours) if name in vars(base))


def takes(mine: Any, theirs: Any) -> bool:
    """Whether our method can be called with all that theirs can."""
    ours = inspect.signature(mine).parameters.values()
    kinds = {parameter.kind for parameter in ours}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return True
    names = {parameter.name for parameter in ours}
    return {p.name for p in inspect.signature(theirs).parameters.values() if p.kind is not p.VAR_POSITIONAL} <= names
