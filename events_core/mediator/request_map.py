"""RequestMap: which handler belongs to which request."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from events_core.errors import BindError, RequestHandlerDoesNotExist
from events_core.mediator.requests import RequestHandler


class RequestMap:
    """Binds one handler class to each class of requests."""

    def __init__(self) -> None:
        self._handlers: dict[type[Any], type[Any]] = {}

    def bind(self, request: type[Any], handler: type[Any]) -> None:
        """Let the handler class have all requests of that very class.

        handler: a `RequestHandler`, or any class with ``handle(self, request)``.
        Raises BindError for a class that cannot handle it, and for a second handler of one request.
        """
        if not isinstance(request, type):
            raise BindError(f"{request!r:.80} is no class: bind the class of the requests")
        _check_handler(request, handler)
        known = self._handlers.get(request)
        if known is not None:
            raise BindError(
                f"{request.__qualname__} is handled by {known.__qualname__} already: a request has one handler. To let "
                f"{handler.__qualname__} follow it, bind it to an event"
            )
        self._handlers[request] = handler

    def get(self, request: type[Any]) -> type[Any]:
        """The handler class of that class of requests. Raises RequestHandlerDoesNotExist."""
        try:
            return self._handlers[request]
        except KeyError:
            raise RequestHandlerDoesNotExist(
                f"no handler is bound to {request.__qualname__}: request_map.bind({request.__qualname__}, ...), and "
                "import the module that does"
            ) from None

    @property
    def bindings(self) -> tuple[tuple[type[Any], type[Any]], ...]:
        """Every request class with its handler class, in bind order."""
        return tuple(self._handlers.items())


def _check_handler(request: type[Any], handler: Any) -> None:
    if not isinstance(handler, type):
        raise BindError(f"{handler!r:.80} is no class: bind a class with handle(self, request)")
    handle = getattr(handler, "handle", None)
    if not callable(handle) or getattr(handle, "__isabstractmethod__", False):
        raise BindError(f"{handler.__qualname__} has no method handle(self, request): add it")
    if inspect.isabstract(handler):
        missing = ", ".join(sorted(getattr(handler, "__abstractmethods__", ())))
        raise BindError(f"{handler.__qualname__} is abstract, no instance of it can be made: define {missing}")
    try:
        signature = inspect.signature(handle)
        signature.bind(None, None)
    except TypeError:
        raise BindError(
            f"{handler.__qualname__}.handle{signature}: a handler takes handle(self, request); what else it needs "
            "goes into its constructor"
        ) from None
    for accepted in (_parameter(handler), _annotation(handle)):
        if accepted is not None and not _fits(request, accepted):
            raise BindError(
                f"{handler.__qualname__} handles {accepted.__qualname__}, but is bound to {request.__qualname__}: "
                "correct one of the two"
            )


def _parameter(handler: type[Any]) -> type[Any] | None:
    """What stands in ``RequestHandler[...]``, where it is a class."""
    for cls in handler.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            origin, arguments = typing.get_origin(base), typing.get_args(base)
            if isinstance(origin, type) and issubclass(origin, RequestHandler) and arguments:
                return _class(arguments[0])
    return None


def _annotation(handle: Any) -> type[Any] | None:
    """The annotation of the request, where it is a class."""
    parameters = list(inspect.signature(handle).parameters)
    name = parameters[1] if len(parameters) > 1 else ""  # or *args
    try:
        return _class(typing.get_type_hints(handle).get(name))
    except (NameError, TypeError, AttributeError):
        return None  # an annotation that cannot be resolved here says nothing


def _class(hint: Any) -> type[Any] | None:
    return hint if isinstance(hint, type) and hint is not Any and typing.get_origin(hint) is None else None


def _fits(request: type[Any], accepted: type[Any]) -> bool:
    try:
        return issubclass(request, accepted)
    except TypeError:
        return True  # a protocol of which that cannot be told
