"""RequestMap: what can be bound, and what is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pytest

from events_core.errors import BindError, EventsError
from events_core.mediator import Request, RequestHandler, RequestHandlerDoesNotExist, RequestMap

T = TypeVar("T")


class Buy(Request):
    item: str


class BuyMuch(Buy):
    number: int


@dataclass
class Sell:
    item: str


class BuyHandler(RequestHandler[Buy, None]):
    def handle(self, request: Buy) -> None: ...


class SellHandler:
    async def handle(self, request: Sell) -> None: ...


class AnyHandler(RequestHandler[T, None], Generic[T]):
    def handle(self, request: Any) -> None: ...


class Bought(Protocol):
    item: str


class OfAProtocol:
    def handle(self, request: Bought) -> None: ...


class Unannotated(RequestHandler):  # type: ignore[type-arg]
    def handle(self, request, note=""):  # type: ignore[no-untyped-def]
        ...


def test_one_handler_for_each_request() -> None:
    requests = RequestMap()
    requests.bind(Buy, BuyHandler)
    requests.bind(BuyMuch, BuyHandler)  # a subclass of what it handles
    requests.bind(Sell, SellHandler)
    assert requests.get(Sell) is SellHandler
    assert requests.bindings == ((Buy, BuyHandler), (BuyMuch, BuyHandler), (Sell, SellHandler))


@pytest.mark.parametrize("handler", [AnyHandler, OfAProtocol, Unannotated])
def test_a_handler_that_does_not_say_what_it_handles(handler: type[Any]) -> None:
    requests = RequestMap()
    requests.bind(Sell, handler)
    assert requests.get(Sell) is handler


def test_a_second_handler_is_refused() -> None:
    requests = RequestMap()
    requests.bind(Buy, BuyHandler)
    for again in (Unannotated, BuyHandler):
        with pytest.raises(BindError, match="Buy is handled by BuyHandler already: a request has one handler"):
            requests.bind(Buy, again)
    assert requests.get(Buy) is BuyHandler


class NoHandle(RequestHandler[Buy, None]):
    pass


class WrongName:
    def handel(self, request: Buy) -> None: ...


class TooMany(RequestHandler[Buy, None]):
    def handle(self, request: Buy, session: Any) -> None: ...


class TooFew(RequestHandler[Buy, None]):
    def handle(self) -> None: ...


class ByAnnotation:
    def handle(self, request: Sell) -> None: ...


class Another(RequestHandler[Sell, None]):
    def handle(self, request: Any) -> None: ...


class OnlyMuch(RequestHandler[BuyMuch, None]):
    def handle(self, request: BuyMuch) -> None: ...


def function(request: Buy) -> None: ...


@pytest.mark.parametrize(
    "handler, said",
    [
        (NoHandle, r"NoHandle has no method handle\(self, request\): add it"),
        (WrongName, "WrongName has no method handle"),
        (TooMany, r"TooMany.handle.*a handler takes handle\(self, request\); what else it needs goes into its constr"),
        (TooFew, "TooFew.handle.*a handler takes handle"),
        (ByAnnotation, "ByAnnotation handles Sell, but is bound to Buy: correct one of the two"),
        (Another, "Another handles Sell, but is bound to Buy"),
        (OnlyMuch, "OnlyMuch handles BuyMuch, but is bound to Buy"),
        (function, "is no class: bind a class with handle"),
        (BuyHandler(), "is no class: bind a class with handle"),
    ],
)
def test_what_cannot_handle_it(handler: Any, said: str) -> None:
    requests = RequestMap()
    with pytest.raises(BindError, match=said):
        requests.bind(Buy, handler)
    assert requests.bindings == ()


def test_what_is_no_request() -> None:
    with pytest.raises(BindError, match="is no class: bind the class of the requests"):
        RequestMap().bind(Buy(item="hat"), BuyHandler)  # type: ignore[arg-type]


def test_what_is_missing() -> None:
    with pytest.raises(RequestHandlerDoesNotExist, match="no handler is bound to Buy") as raised:
        RequestMap().get(Buy)
    assert isinstance(raised.value, EventsError)
