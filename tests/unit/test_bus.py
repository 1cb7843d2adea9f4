"""What can be registered on the bus, and what a queue hears after it."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest

from events_core import BindError, ConfigurationError, DomainEvent, ECSTEvent, NotificationEvent, Retry
from events_core import catalog as catalog_module
from events_core.brokers import InMemoryBroker, RedisPubSubBroker
from events_core.bus import (
    Consumer,
    EventBus,
    EventHandlerConsumer,
    IntegrationEventBus,
    IntegrationEventBusRegistration,
    Topic,
)
from events_core.bus.plan import Plan


class Said(NotificationEvent, event_type="bus.said", topic="chat"):
    text: str


class SaidAnew(NotificationEvent, event_type="bus.said", version=2, topic="chat"):
    text: str


class Left(NotificationEvent, event_type="bus.left", topic="chat"):
    name: str


class Elsewhere(NotificationEvent, event_type="bus.elsewhere", topic="mail"):
    name: str


class Renamed(ECSTEvent, event_type="bus.renamed"):
    name: str


class Inside(DomainEvent, event_type="bus.inside"):
    pass


def hear(event: Any) -> None: ...


def consumer(name: str = "rooms", **options: Any) -> EventHandlerConsumer:
    return EventHandlerConsumer(name, {cls: [hear] for cls in (Said, SaidAnew, Left, Elsewhere, Renamed)}, **options)


def registration(*events: Any, topic: str = "chat", by: Consumer | None = None) -> IntegrationEventBusRegistration:
    return IntegrationEventBusRegistration(by or consumer(), Topic(topic), events)


class TestTopic:
    @pytest.mark.parametrize("name", ["", "two words", "a*", "#", "x" * 201, "ü" * 101, "\ud800", 7, None])
    def test_a_name_that_is_none_is_refused(self, name: Any) -> None:
        with pytest.raises(BindError, match="a name is a text of 1 to 200 bytes"):
            Topic(name)

    def test_its_length_counts_in_bytes(self) -> None:
        assert Topic("ü" * 100).name == "ü" * 100

    def test_one_of_the_same_name_is_the_same(self) -> None:
        assert Topic("chat") == Topic("chat")


class TestConsumer:
    @pytest.mark.parametrize(
        ("name", "options", "told"),
        [
            ("", {}, "names a queue"),
            ("two words", {}, "names a queue"),
            ("rooms", {"concurrency": 0}, "concurrency=0"),
            ("rooms", {"concurrency": True}, "concurrency=True"),
            ("rooms", {"prefetch": 1.5}, "prefetch=1.5"),
            ("rooms", {"retry": 3}, "must be a Retry or None"),
        ],
    )
    def test_options_that_cannot_work_are_refused(self, name: str, options: dict[str, Any], told: str) -> None:
        with pytest.raises(BindError, match=told):
            consumer(name, **options)

    def test_it_never_runs_more_at_once_than_it_holds(self) -> None:
        assert consumer(concurrency=300).prefetch == 300

    def test_it_is_abstract(self) -> None:
        with pytest.raises(TypeError):
            Consumer("rooms")  # type: ignore[abstract]


class Callable_:
    def __call__(self, event: Said) -> None: ...


class TestHandlers:
    @pytest.mark.parametrize(
        "function", [hear, lambda event: None, functools.partial(print, "heard"), Callable_(), [].append]
    )
    def test_whatever_can_be_called_with_an_event(self, function: Callable[[Any], Any]) -> None:
        assert EventHandlerConsumer("rooms", {Said: [function]}).handlers == {Said: (function,)}

    @pytest.mark.parametrize(
        ("handlers", "told"),
        [
            ({Said: [1]}, "1 is no function"),
            ({Said: [Callable_]}, "is no function"),
            ({Said: hear}, r"write \[hear\], a list"),
            ({Said: [lambda: None]}, "must take one parameter"),
            ({Said: [lambda one, two: None]}, "must take one parameter"),
            ({Inside: [hear]}, "is no integration event"),
            ({Said: None}, "needs a list, not None"),
            ([Said], "handlers are a dict"),
            ({"bus.said": [hear]}, "is no integration event"),
        ],
    )
    def test_what_could_never_run_is_refused(self, handlers: Any, told: str) -> None:
        with pytest.raises(BindError, match=told):
            EventHandlerConsumer("rooms", handlers)

    def test_a_generator_is_refused(self) -> None:
        def generator(event: Said) -> Any:
            yield event

        async def stream(event: Said) -> Any:
            yield event

        for function in (generator, stream):
            with pytest.raises(BindError, match="is a generator"):
                EventHandlerConsumer("rooms", {Said: [function]})

    def test_on_event_runs_all_and_tells_of_each_failure(self) -> None:
        ran: list[str] = []

        async def fails(event: Said) -> None:
            raise ValueError

        one = EventHandlerConsumer("rooms", {Said: [fails, lambda event: ran.append("sync")]})
        two = EventHandlerConsumer("rooms", {Said: [fails, fails, lambda event: ran.append("sync")]})
        with pytest.raises(ValueError):
            asyncio.run(one.on_event(Said(text="hello")))
        with pytest.raises(ExceptionGroup):
            asyncio.run(two.on_event(Said(text="hello")))
        assert ran == ["sync", "sync"]


class TestRegistration:
    def test_it_takes_the_keys_of_a_consumers_handlers_as_they_are(self) -> None:
        whole = consumer()
        assert registration(*whole.handlers.keys(), by=whole).events == (Said, SaidAnew, Left, Elsewhere, Renamed)

    @pytest.mark.parametrize(
        ("events", "told"),
        [([], "name the events"), ([Inside], "no integration event"), (["bus.said"], "no integration event")],
    )
    def test_what_is_no_list_of_integration_events_is_refused(self, events: Any, told: str) -> None:
        with pytest.raises(BindError, match=told):
            registration(*events)

    def test_an_event_without_a_handler_is_refused(self) -> None:
        with pytest.raises(BindError, match="has no handler for Left"):
            registration(Left, by=EventHandlerConsumer("rooms", {Said: [hear]}))
        with pytest.raises(BindError, match="has no handler for Said"):
            registration(Said, by=EventHandlerConsumer("rooms", {Said: []}))

    def test_what_is_no_consumer_or_topic_is_refused(self) -> None:
        with pytest.raises(BindError, match="takes a Consumer and a Topic"):
            IntegrationEventBusRegistration(consumer(), "chat", [Said])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("events", "told"),
        [
            (Said, r"write \[Said\]"),
            ("bus.said", r"write \['bus.said'\]"),
            (None, "are a list"),
            ([[Said]], "is no integ"),
        ],
    )
    def test_events_that_are_no_list_of_classes_are_refused(self, events: Any, told: str) -> None:
        with pytest.raises(BindError, match=told):
            IntegrationEventBusRegistration(consumer(), Topic("chat"), events)


class TestPlan:
    def test_its_bindings_are_those_of_all_registrations(self) -> None:
        plan = Plan("chat.rooms", True).with_registration(registration(Said, Left))
        plan = plan.with_registration(registration(Renamed, topic="users"))
        assert plan.subscription.bindings == {
            ("chat", "notification_event.bus.said"),
            ("chat", "notification_event.bus.left"),
            ("users", "ecst_event.bus.renamed"),
        }

    def test_registering_again_changes_nothing(self) -> None:
        once = Plan("chat.rooms", True).with_registration(registration(Said, Left))
        twice = once.with_registration(registration(Left, Said))
        assert twice.subscription == once.subscription
        assert len(twice.registrations) == 1

    def test_what_went_is_obsolete(self) -> None:
        plan = Plan("chat.rooms", True).with_registration(registration(Said, Left))
        plan = plan.with_registration(registration(Said))
        assert plan.subscription.bindings == {("chat", "notification_event.bus.said")}
        assert ("chat", "notification_event.bus.left") in plan.obsolete
        gone = plan.without_registration(registration(Said))
        assert gone.subscription.bindings == set()
        assert ("chat", "notification_event.bus.said") in gone.obsolete

    def test_what_an_earlier_version_may_have_bound_is_obsolete(self) -> None:
        """Other events of the topic that are loaded: this process was never told that the queue had them."""
        obsolete = Plan("chat.rooms", True).with_registration(registration(Said)).obsolete
        assert ("chat", "notification_event.bus.left") in obsolete
        assert ("chat", "ecst_event.bus.renamed") in obsolete  # of no topic of its own
        assert ("chat", "notification_event.bus.elsewhere") not in obsolete
        assert ("chat", "notification_event.bus.said") not in obsolete

    def test_each_topic_has_a_consumer_of_its_own(self) -> None:
        chat, users = consumer(), consumer()
        plan = Plan("chat.rooms", True).with_registration(registration(Said, by=chat))
        plan = plan.with_registration(registration(Said, topic="users", by=users))
        said = Said(text="")
        assert plan.consumers("chat", said) == [chat]
        assert plan.consumers("users", said) == [users]
        assert set(plan.consumers("", said)) == {chat, users}  # the broker does not tell

    def test_a_version_that_is_not_registered_has_no_consumer(self) -> None:
        plan = Plan("chat.rooms", True).with_registration(registration(SaidAnew))
        assert plan.consumers("chat", Said(text="")) == []
        assert plan.wanted("chat") == {"bus.said": [SaidAnew]}

    def test_between_two_plans_both_are_heard(self) -> None:
        old = Plan("chat.rooms", True).with_registration(registration(Left))
        both = old.between(old.with_registration(registration(Said)))
        assert set(both.wanted("chat")) == {"bus.said", "bus.left"}


def run(*registrations: IntegrationEventBusRegistration, broker: Any = None) -> None:
    async def register() -> None:
        bus = EventBus(broker or InMemoryBroker(), "chat")
        for one in registrations:
            await bus.register(one)

    asyncio.run(register())


@pytest.fixture
def upcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each Said a SaidAnew, in this test."""
    monkeypatch.setattr(catalog_module, "_upcasters", {})

    def anew(data: dict[str, Any]) -> dict[str, Any]:
        return data

    catalog_module.upcaster("bus.said", from_version=1)(anew)


class TestEventBus:
    def test_two_consumers_of_one_name_must_agree_on_the_queue(self) -> None:
        run(registration(Said), registration(Said, topic="mail", by=consumer()))
        for options in (
            {"every_instance": True},
            {"concurrency": 2},
            {"prefetch": 7},
            {"retry": Retry(max_attempts=9)},
        ):
            other = registration(Said, topic="mail", by=consumer(**options))
            if "every_instance" in options:
                run(registration(Said), other)  # another queue
                continue
            with pytest.raises(ConfigurationError, match="give them the same, or one of them another name"):
                run(registration(Said), other)

    def test_a_durable_queue_on_a_broker_that_keeps_nothing_is_refused(self) -> None:
        broker = RedisPubSubBroker("redis://127.0.0.1:1/0")
        with pytest.raises(ConfigurationError, match="pass every_instance=True"):
            run(registration(Said), broker=broker)
        run(registration(Said, by=consumer(every_instance=True)), broker=broker)

    @pytest.mark.parametrize("service", ["", "a b", "-x", 5])
    def test_a_service_name_that_cannot_name_a_queue_is_refused(self, service: Any) -> None:
        with pytest.raises(ConfigurationError, match="names queues"):
            EventBus(InMemoryBroker(), service)

    def test_a_url_is_no_message_broker(self) -> None:
        with pytest.raises(ConfigurationError, match=r"takes a message broker, such as .*, not a str"):
            EventBus("amqp://me:secret@localhost", "chat")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "options",
        [{"emit_timeout": "5"}, {"emit_timeout": 0}, {"max_event_bytes": None}, {"shutdown_timeout": float("nan")}],
    )
    def test_options_that_are_no_sensible_numbers_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="must be a number from"):
            EventBus(InMemoryBroker(), "chat", **options)

    def test_a_queue_whose_name_is_too_long_for_a_broker_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="more than 200 characters"):
            run(registration(Said, by=consumer("x" * 196)))
        run(registration(Said, by=consumer("x" * 195)))

    def test_what_is_no_registration_is_refused(self) -> None:
        async def main() -> None:
            bus = EventBus(InMemoryBroker(), "chat")
            for call in (bus.register, bus.unregister):
                with pytest.raises(BindError, match="takes one IntegrationEventBusRegistration"):
                    await call([registration(Said)])  # type: ignore[arg-type]

        asyncio.run(main())

    def test_what_is_no_topic_is_refused(self) -> None:
        with pytest.raises(BindError, match=r"write Topic\('chat'\)"):
            asyncio.run(EventBus(InMemoryBroker(), "chat").send("chat", Said(text="")))  # type: ignore[arg-type]

    def test_an_event_that_an_upcaster_makes_another_of_is_refused(self, upcaster: None) -> None:
        """It would never reach the handler: each would be refused as one that nobody registered for."""
        with pytest.raises(BindError, match="makes each Said a SaidAnew, which is not among its events"):
            run(registration(Said, Left))
        run(registration(SaidAnew))
        run(registration(Said, SaidAnew))

    def test_constructing_and_registering_connects_to_nothing(self) -> None:
        broker = RedisPubSubBroker("redis://127.0.0.1:1/0")
        run(registration(Said, by=consumer(every_instance=True)), broker=broker)

    def test_copies_of_one_process_are_instances_of_their_own(self) -> None:
        """A server may make the bus, and then fork its workers."""
        bus = EventBus(InMemoryBroker(), "chat")
        copies = [copy.copy(bus), copy.copy(bus)]
        own = consumer(every_instance=True)
        assert len({one._queue_of(own) for one in copies}) == 2
        assert copies[0]._queue_of(own) == copies[0]._queue_of(own)


class TestBusOfOnesOwn:
    def test_it_is_started_and_shut_down_as_a_context_manager(self) -> None:
        did: list[str] = []

        class Own(IntegrationEventBus):
            async def register(self, registration: IntegrationEventBusRegistration) -> None:
                did.append("register")

            async def unregister(self, registration: IntegrationEventBusRegistration) -> None:
                did.append("unregister")

            async def startup(self) -> None:
                did.append("startup")

            async def shutdown(self) -> None:
                did.append("shutdown")

            async def send(self, topic: Topic, event: Any) -> None:
                did.append(f"send {event.text}")

        async def main() -> None:
            async with Own() as bus:
                await bus.send(topic=Topic("chat"), event=Said(text="hello"))

        asyncio.run(main())
        assert did == ["startup", "send hello", "shutdown"]
