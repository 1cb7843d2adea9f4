"""`events tail`: integration events as they come."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from fnmatch import fnmatchcase

import click

from events_core import BrokerNotConfigured, EventSystem
from events_core.brokers import InMemoryBroker
from events_core.brokers.base import MessageBroker, Received, Receiver, Subscription
from events_worker.cli.described import integration_events
from events_worker.cli.failing import CommandFailed, reason_of
from events_worker.cli.heard import Heard, heard
from events_worker.cli.options import system_option
from events_worker.cli.output import cell, console

#: Seconds that one wait for messages takes at most: heartbeats are sent between two of them.
_WAIT = 1.0
#: Seconds between two attempts to connect again: the first, and the longest.
_PAUSES = 0.5, 10.0


@click.command()
@system_option
@click.option("--topic", "topics", multiple=True, help="Only this topic; may be repeated. Default: all that are known.")
@click.option("--type", "pattern", default="*", metavar="PATTERN", help="Only event types like this: 'order.*'.")
@click.option(
    "--payload",
    is_flag=True,
    help="Show the fields too, secret ones masked; and of what cannot be decoded the beginning.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def tail(system: EventSystem, topics: tuple[str, ...], pattern: str, payload: bool, as_json: bool) -> None:
    """Show integration events as they come, until Ctrl-C.

    By a queue of its own, which goes with it: it takes no event from any consumer.
    """
    broker = _listenable(system)
    wanted = sorted(topics or _known_topics(system))
    if not wanted:
        raise CommandFailed("no integration event is loaded that would name a topic: name one with --topic")
    name = f"{system.name}.tail.{secrets.token_hex(4)}"
    subscription = Subscription(name, frozenset((topic, "#") for topic in wanted), lasting=False)

    def show(message: Received) -> None:
        one = heard(message, broker.format, system.settings.max_event_bytes)
        if not one.type or fnmatchcase(one.type, pattern):
            _print(one, payload=payload, as_json=as_json)

    receiver = _connected(broker, subscription)
    try:
        click.echo(f"listening to {', '.join(wanted)}; Ctrl-C ends", err=True)
        _follow(receiver, show)
    except KeyboardInterrupt:
        pass
    finally:
        receiver.close()


def _listenable(system: EventSystem) -> MessageBroker:
    broker = system.message_broker
    if broker is None:
        raise BrokerNotConfigured(f"{system.name!r} has no message broker: EventSystem(..., message_broker=...)")
    if isinstance(broker, InMemoryBroker):
        raise CommandFailed("the InMemoryBroker's events stay in the process that emits them: nothing to hear")
    return broker


def _known_topics(system: EventSystem) -> set[str]:
    heard_on = {topic for subscriber in system.event_map.subscribers for topic in subscriber.topics.values()}
    return heard_on | {event.topic or system.name for event in integration_events()}


def _connected(broker: MessageBroker, subscription: Subscription) -> Receiver:
    """A receiver that listens. Raises CommandFailed where the broker cannot be reached."""
    try:
        broker.start()
        broker.declare(subscription)
        receiver = broker.receiver(subscription)
    except OSError as error:
        raise CommandFailed(f"the message broker {broker.server()} does not answer: {reason_of(error)}") from error
    except NotImplementedError as error:
        raise CommandFailed(f"{type(broker).__name__} cannot be listened to: {error}") from error
    try:
        receiver.give_back(receiver.receive(0))  # from here on nothing is missed
    except OSError as error:
        receiver.close()
        raise CommandFailed(f"the message broker {broker.server()} does not answer: {reason_of(error)}") from error
    return receiver


def _follow(receiver: Receiver, show: Callable[[Received], None]) -> None:
    first, longest = _PAUSES
    pause = 0.0
    while True:
        try:
            messages = receiver.receive(_WAIT)
            receiver.acknowledge(messages)
        except OSError as error:
            if not pause:
                click.echo(f"the message broker is lost, trying again: {reason_of(error)}", err=True)
            pause = min(2 * pause, longest) or first
            time.sleep(pause)
            continue
        if pause:
            click.echo("listening again", err=True)
        pause = 0.0
        for message in messages:  # not above: an OSError here is that of our own output
            show(message)


def _print(one: Heard, *, payload: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(one.shown(payload=payload)))
        return
    out = console()
    out.print(cell(one.line, "" if one.error is None else "red"), soft_wrap=True)
    if payload:
        out.print(cell(one.readable), soft_wrap=True)
