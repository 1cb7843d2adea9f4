"""Request and RequestHandler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from events_core.events import Event
from events_core.mediator.call_events import CallEvents, events_of_call

Req_contra = TypeVar("Req_contra", contravariant=True)
Res = TypeVar("Res")

#: Where in a handler's __dict__ the list is that it has outside of any call.
_OUTSIDE = "_events_outside_of_send"


class Request(BaseModel):
    """A base for requests: a frozen pydantic model. Any other class may be a request too, such as a dataclass."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestHandler(ABC, Generic[Req_contra, Res]):
    """Handles requests of one class: ``class JoinHandler(RequestHandler[Join, None])``, with injected arguments."""

    @property
    def events(self) -> list[Event]:
        """What is emitted, in this order, when the request has succeeded: append to it.

        Each call of `Mediator.send` has a list of its own, also where one instance serves several at once. A handler
        that no mediator has used, as in a test that calls `handle` itself, has one too.
        """
        of_call = events_of_call()
        own: list[Event] = self.__dict__.setdefault(_OUTSIDE, []) if of_call is None else of_call
        return own

    if not TYPE_CHECKING:  # to type checkers it is read-only: handlers as diator's override it so

        @events.setter
        def events(self, events: list[Event]) -> None:  # for ``self.events += [...]``
            own = self.events
            if events is not own:
                own.clear()
                own.extend(events)

    @abstractmethod
    def handle(self, request: Req_contra) -> Any:
        """Do what is asked, and return the response. May be ``async def``. If it raises, nothing is emitted.

        It may return events instead (one, or a list or tuple of them; the response is None then), or yield them. The
        response of a generator is what it returns; of an async one, which cannot return, what it yields last.
        """


def belongs_to_a_mediator(handler: RequestHandler[Any, Any]) -> None:
    """From now on, what it collects outside of a call is refused: nobody would emit it."""
    handler.__dict__[_OUTSIDE] = CallEvents(ended=True)
