"""One scope of a container around one run of a handler."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from events_core.containers.adapting import adapted
from events_core.containers.closing import left
from events_core.containers.default import DefaultScope
from events_core.containers.steps import Run, Steps, awalk, walk

#: Gives the instance of a handler class, or what a parameter's annotation asks for.
Resolve = Callable[[Any], Any]
AsyncResolve = Callable[[Any], Awaitable[Any]]


class resolving:
    """``with resolving(container, run) as resolve: handler = resolve(HandlerClass)``.

    Where the container has scopes, the first `resolve` opens one, and it ends with the block, whose exception it is
    told. Raises what ending it raises after a success; after a failure that is logged, and the block's own exception
    stays.

    container: None is the default container. run: runs what a container does async: makes the coroutine it is given,
    awaits it to its end and returns its result.
    """

    __slots__ = ("_opening", "_run")

    def __init__(self, container: Any, run: Run) -> None:
        self._opening = _Opening(container, prefer_async=False)
        self._run = run

    def __enter__(self) -> Resolve:
        return self._resolve

    def _resolve(self, wanted: Any) -> Any:
        return walk(self._opening.resolve(wanted), self._run)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        walk(self._opening.leave(error), self._run)


class aresolving:
    """``async with aresolving(container) as resolve: handler = await resolve(HandlerClass)``: as `resolving`."""

    __slots__ = ("_opening",)

    def __init__(self, container: Any) -> None:
        self._opening = _Opening(container, prefer_async=True)

    async def __aenter__(self) -> AsyncResolve:
        return self._resolve

    async def _resolve(self, wanted: Any) -> Any:
        return await awalk(self._opening.resolve(wanted))

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        await awalk(self._opening.leave(error))


class _Opening:
    """A scope of a container, opened when it is first asked; or the container itself where it has none."""

    __slots__ = ("_container", "_is_async", "_manager", "_opened", "_prefer_async")

    def __init__(self, container: Any, *, prefer_async: bool) -> None:
        self._container = container
        self._manager: Any = None
        self._is_async = False
        self._opened: Any = None
        self._prefer_async = prefer_async

    def resolve(self, wanted: Any) -> Steps[Any]:
        if self._opened is None:
            self._opened = yield from self._open()
        if isinstance(self._opened, DefaultScope):
            return (yield from self._opened.make(wanted))
        instance = self._opened.resolve(wanted)
        return (yield instance) if inspect.isawaitable(instance) else instance

    def _open(self) -> Steps[Any]:
        container = adapted(self._container)
        if not callable(getattr(container, "scope", None)):
            return container
        manager = container.scope()
        if isinstance(manager, DefaultScope):
            return manager
        wanted = ("__aenter__", "__enter__") if self._prefer_async else ("__enter__", "__aenter__")
        self._is_async = next((name for name in wanted if hasattr(manager, name)), "") == "__aenter__"
        opened = (yield manager.__aenter__()) if self._is_async else manager.__enter__()
        self._manager = manager
        return opened

    def leave(self, error: BaseException | None) -> Steps[None]:
        if isinstance(self._opened, DefaultScope):
            yield from self._opened.leave(error)
        elif self._manager is not None:
            yield from left(self._manager, error, is_async=self._is_async)
