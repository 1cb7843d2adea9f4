"""What other services can be told of the events: JSON Schemas, what has changed in them, and an AsyncAPI document."""

from events_core.describing.asyncapi_document import asyncapi, sent_events
from events_core.describing.diff import EventChange, by_event, changes
from events_core.describing.json_schema import document, payload_schema
from events_core.describing.messages import message_document

__all__ = [
    "EventChange",
    "asyncapi",
    "by_event",
    "changes",
    "document",
    "message_document",
    "payload_schema",
    "sent_events",
]
