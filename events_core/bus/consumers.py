"""Consumers: what an asyncio application does with the integration events that it hears."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from events_core.errors import BindError
from events_core.event_map import refuse_dataclass
from events_core.events import IntegrationEvent
from events_core.policies import Retry

#: A function of an event, or a coroutine function.
Handler = Callable[[Any], Any]

#: In a process that others wait for: two more attempts, within about a second.
BRIEFLY = Retry(max_attempts=3, base=0.2, factor=4.0, max_delay=5.0)


class ConsumerOptions(TypedDict, total=False):
    """See `Consumer`."""

    every_instance: bool
    concurrency: int
    prefetch: int
    retry: Retry | None


class Consumer(ABC):
    """A named receiver of integration events. Derive from it, or use `EventHandlerConsumer`.

    name: names its queue, ``{service}.{name}``, which is durable: all instances of the service share it, each event
    goes to one of them, and what comes while none is there waits.
    every_instance: every instance has a queue of its own instead, and hears every event, from its start to its end.
    concurrency: how many events it handles at once in each instance. With 1 they are handled one after another, in
    the order in which they came. prefetch: events that an instance holds at most, those that are handled included;
    raised to `concurrency`. retry: when a failed handler is tried again, here and keeping its place; None: never.

    Raises BindError for values that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        every_instance: bool = False,
        concurrency: int = 1,
        prefetch: int = 100,
        retry: Retry | None = BRIEFLY,
    ) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise BindError(f"the consumer's name {name!r} names a queue: use letters, digits, _ . -")
        for option, value in (("concurrency", concurrency), ("prefetch", prefetch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BindError(f"consumer {name!r}: {option}={value!r} must be a whole number from 1 on")
        if retry is not None and not isinstance(retry, Retry):
            raise BindError(f"consumer {name!r}: retry={retry!r} must be a Retry or None")
        self.name = name
        self.every_instance = every_instance
        self.concurrency = concurrency
        self.prefetch = max(prefetch, concurrency)
        self.retry = retry

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @abstractmethod
    async def on_event(self, event: IntegrationEvent) -> None:
        """Handle an event. It may come more than once: after a crash, or when it has raised an exception."""

    def handlers_of(self, event: IntegrationEvent) -> Sequence[Handler]:
        """What is run for an event, each part with attempts of its own. Default: `on_event` alone."""
        return (self.on_event,)


class EventHandlerConsumer(Consumer):
    """Calls functions by the class of the event; those of one event in order, the next also after one has failed.

    handlers: for each event class its handlers: functions or coroutine functions of one parameter, the event. They
    run on the event loop: a function that would block it belongs in ``asyncio.to_thread``. Of several handlers only
    those that failed are tried again. options: see `Consumer`.

    Raises BindError for what cannot be a handler or is no integration event.
    """

    def __init__(
        self, name: str, handlers: Mapping[type[Any], Iterable[Handler]], **options: Unpack[ConsumerOptions]
    ) -> None:
        super().__init__(name, **options)
        self.handlers: dict[type[IntegrationEvent], tuple[Handler, ...]] = {}
        if not isinstance(handlers, Mapping):
            raise BindError(f"consumer {name!r}: handlers are a dict, {{Event: [function]}}, not {handlers!r:.80}")
        for event, functions in handlers.items():
            if not isinstance(event, type) or not issubclass(event, IntegrationEvent):
                raise BindError(f"consumer {name!r}: {event!r:.80} is no integration event")
            refuse_dataclass(event)
            if callable(functions):
                raise BindError(f"consumer {name!r}: write [{_name(functions)}], a list, for {event.__qualname__}")
            if not isinstance(functions, Iterable):
                raise BindError(f"consumer {name!r}: {event.__qualname__} needs a list, not {functions!r:.80}")
            self.handlers[event] = tuple(functions)
            for function in self.handlers[event]:
                _check(function, name)

    async def on_event(self, event: IntegrationEvent) -> None:
        """Run all handlers of the event; raises the failures of those that failed."""
        failures = []
        for handler in self.handlers_of(event):
            try:
                await call(handler, event)
            except Exception as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup(f"{len(failures)} handlers of {self!r} failed", failures)

    def handlers_of(self, event: IntegrationEvent) -> Sequence[Handler]:
        """The handlers of the event's class."""
        return self.handlers.get(type(event), ())


async def call(handler: Handler, event: IntegrationEvent) -> None:
    """Run a handler, sync or async, once."""
    result = handler(event)
    if inspect.isawaitable(result):
        await result


def _check(function: Any, consumer: str) -> None:
    if not callable(function) or inspect.isclass(function):
        raise BindError(f"consumer {consumer!r}: {function!r:.80} is no function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise BindError(f"consumer {consumer!r}: {_name(function)} is a generator: it would never run")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        raise BindError(f"consumer {consumer!r}: {_name(function)} must take one parameter, the event") from None


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
