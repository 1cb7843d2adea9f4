"""An AsyncAPI 3.0 document of the integration events that an application sends and receives.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0, with the AMQP bindings 0.3.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events_core.brokers.base import MessageBroker
from events_core.brokers.redis_stream import RedisStreamBroker
from events_core.describing.channels import Channels
from events_core.describing.draft07 import draft07
from events_core.describing.json_schema import ABOUT, document, payload_schemas
from events_core.describing.keys import Keys
from events_core.describing.messages import entry_schema, message_schema
from events_core.describing.servers import Server
from events_core.describing.walk import Schema
from events_core.events import IntegrationEvent
from events_core.subscribers import Subscriber

_SCHEMAS = "#/components/schemas/"
_PROPERTIES = (
    "Each message has the AMQP properties message_id (the id of the event), type (its type), content_type and "
    "timestamp (when it happened)."
)


def asyncapi(
    name: str,
    version: str,
    broker: MessageBroker,
    events: Sequence[type[IntegrationEvent]],
    subscribers: Sequence[Subscriber] = (),
) -> Schema:
    """The document. The same arguments give the same document.

    name, version: of the system. events: all integration events that it knows. Those that a subscriber wants are
    received; the others are sent; and what it hears on the topic of its own name, it sends as well.
    Raises EventDefinitionError for an event whose fields JSON Schema cannot describe.
    """
    sent = sent_events(name, events, subscribers)
    server = Server.of(broker)
    messages = _Messages(name, broker, server, sorted({*events, *_received(subscribers)}, key=_identity), sent)
    channels = Channels(broker, server, messages.keys)
    for event in sorted(sent, key=_identity):
        channels.send(event, event.topic or name)
    for subscriber in sorted(subscribers, key=lambda one: (one.spec.name, one.queue)):
        channels.receive(subscriber)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": name, "version": version, "description": _description(name, broker, server)},
        "defaultContentType": broker.format.content_type,
        **({"servers": {"broker": server.described()}} if server is not None else {}),
        "channels": channels.channels,
        "operations": channels.operations,
        "components": {"messages": messages.described, "schemas": messages.schemas},
    }


def _description(name: str, broker: MessageBroker, server: Server | None) -> str:
    text = f"The integration events that {name} sends and receives, delivered {broker.promises.delivery}."
    return f"{text} {_PROPERTIES}" if server is not None and server.is_amqp else text


def _received(subscribers: Iterable[Subscriber]) -> set[type[IntegrationEvent]]:
    return {event for subscriber in subscribers for event in subscriber.events}


def sent_events(
    name: str, events: Iterable[type[IntegrationEvent]], subscribers: Iterable[Subscriber]
) -> list[type[IntegrationEvent]]:
    """Those that the system of that name sends: all but what it subscribes to on topics of others."""
    from_others = {
        event
        for subscriber in subscribers
        for event, topic in subscriber.topics.items()
        if not topic == (event.topic or name) == name
    }
    return [event for event in events if event not in from_others]


def _identity(event: type[IntegrationEvent]) -> tuple[str, int]:
    return event.event_type, event.version


class _Messages:
    """The messages by their keys, and the schemas that they refer to."""

    def __init__(
        self,
        system: str,
        broker: MessageBroker,
        server: Server | None,
        events: Sequence[type[IntegrationEvent]],
        sent: Sequence[type[IntegrationEvent]],
    ) -> None:
        self._system, self._broker = system, broker
        self._is_amqp = server is not None and server.is_amqp
        payloads, models = payload_schemas(events, f"{_SCHEMAS}{{model}}")
        keys = Keys()
        self.keys = {event: keys.of(f"{event.event_type}.v{event.version}") for event in events}
        self.schemas = {
            name: draft07(schema)
            for name, schema in [*models.items(), *((_payload_key(self.keys[e]), payloads[e]) for e in events)]
        }
        sources = {event: f"/{system}" if event in sent else None for event in events}
        self.described = {self.keys[event]: self._message(event, sources[event]) for event in events}

    def _message(self, event: type[IntegrationEvent], source: str | None) -> Schema:
        payload = {"$ref": f"{_SCHEMAS}{_payload_key(self.keys[event])}"}
        form = self._broker.format
        body = message_schema(form.name, event, payload, source)
        if isinstance(self._broker, RedisStreamBroker):
            body = entry_schema(form.name, event, payload, body)
        schema = document(event, self._system)
        made: Schema = {
            "name": event.event_type,
            "title": f"{event.__name__}, version {event.version}",
            "contentType": form.content_type,
            ABOUT: schema[ABOUT],
        }
        if "description" in schema:
            made["description"] = schema["description"]
        if body is not None:  # else the format is the application's own
            made["payload"] = body
        if form.name == "cloudevents":
            made["correlationId"] = {"location": "$message.payload#/correlationid"}
        if self._is_amqp:
            made["bindings"] = {"amqp": {"messageType": event.event_type, "bindingVersion": "0.3.0"}}
        return made


def _payload_key(message_key: str) -> str:
    return f"{message_key}.data"
