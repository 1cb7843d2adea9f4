"""Channels and operations of an AsyncAPI document: where events go, and who sends and receives them there."""

from __future__ import annotations

from collections.abc import Mapping

from events_core.brokers.base import MessageBroker
from events_core.describing.keys import Keys, pointer
from events_core.describing.servers import Server
from events_core.describing.walk import Schema
from events_core.events import IntegrationEvent
from events_core.subscribers import Subscriber

_VERSION = {"bindingVersion": "0.3.0"}
_PARAMETERS = {"message_id": {"description": "The id of the event."}}


class Channels:
    """Gathers them, as events and subscribers are told. keys: those of the messages among the components."""

    def __init__(
        self, broker: MessageBroker, server: Server | None, keys: Mapping[type[IntegrationEvent], str]
    ) -> None:
        self._broker = broker
        self._messages = keys
        self._channels, self._operations = Keys(), Keys()
        self._amqp = server if server is not None and server.is_amqp else None
        self.channels: dict[str, Schema] = {}
        self.operations: dict[str, Schema] = {}

    def send(self, event: type[IntegrationEvent], topic: str) -> None:
        """The system publishes it. All versions of an event are one operation."""
        channel = self._topic(event, topic)
        operation = self._operation("send", event.event_type, channel, event)
        if self._amqp is not None:
            binding = {
                "cc": [f"{event.event_kind}.{event.event_type}"],
                "deliveryMode": 2,
                "timestamp": True,
                **_VERSION,
            }
            operation["bindings"] = {"amqp": binding}

    def receive(self, subscriber: Subscriber) -> None:
        """The system has subscribed to these. On RabbitMQ by a queue, elsewhere by what the events go to."""
        for event, topic in sorted(subscriber.topics.items(), key=lambda item: (item[0].event_type, item[0].version)):
            channel = self._topic(event, topic)
            if self._amqp is not None:
                channel = self._queue(subscriber, event, topic, self._amqp)
            self._operation("receive", subscriber.spec.name, channel, event)

    def _topic(self, event: type[IntegrationEvent], topic: str) -> str:
        """The key of the channel that events of that topic go to."""
        address = self._broker.address(topic, event.event_kind)
        made: Schema = {"address": address, "messages": {}}
        parameters = {name: told for name, told in _PARAMETERS.items() if f"{{{name}}}" in address}
        if parameters:
            made["parameters"] = parameters
        if self._amqp is not None:
            exchange = {"name": address, "type": "topic", "durable": True, "autoDelete": False}
            exchange["vhost"] = self._amqp.vhost
            made["bindings"] = {"amqp": {"is": "routingKey", "exchange": exchange, **_VERSION}}
        return self._channel(address, made, event)

    def _queue(self, subscriber: Subscriber, event: type[IntegrationEvent], topic: str, server: Server) -> str:
        """The key of the channel that is the subscriber's queue."""
        queue = {"name": subscriber.queue, "durable": True, "exclusive": False, "autoDelete": False}
        key = self._channel(
            f"queue.{subscriber.queue}",
            {
                "address": subscriber.queue,
                "messages": {},
                "x-bound-to": [],
                "bindings": {"amqp": {"is": "queue", "queue": {**queue, "vhost": server.vhost}, **_VERSION}},
            },
            event,
        )
        bound = {"exchange": topic, "routingKey": f"{event.event_kind}.{event.event_type}"}
        if bound not in self.channels[key]["x-bound-to"]:
            self.channels[key]["x-bound-to"].append(bound)
        return key

    def _channel(self, name: str, described: Schema, event: type[IntegrationEvent]) -> str:
        key = self._channels.of(name)
        message = self._messages[event]
        self.channels.setdefault(key, described)["messages"][message] = {
            "$ref": pointer("components", "messages", message)
        }
        return key

    def _operation(self, action: str, name: str, channel: str, event: type[IntegrationEvent]) -> Schema:
        """The operation of that name on that channel, with this message among its own."""
        reference = {"$ref": pointer("channels", channel)}
        key = self._operations.of(f"{action}.{name}")
        if self.operations.get(key, {"channel": reference})["channel"] != reference:
            key += f".{channel}"  # it has one on another channel too
        operation = self.operations.setdefault(key, {"action": action, "channel": reference, "messages": []})
        message = {"$ref": pointer("channels", channel, "messages", self._messages[event])}
        if message not in operation["messages"]:
            operation["messages"].append(message)
        return operation
