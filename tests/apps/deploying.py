"""An application before and after a deploy: TEST_DEPLOY=old knows less."""

from __future__ import annotations

import os

from events_core import DomainEvent, EventSystem
from tests.apps.recording import record

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))
NEW = os.environ.get("TEST_DEPLOY") != "old"


class Known(DomainEvent, event_type="deploying.known"):
    tag: str


@events.handler(Known)
def old_handler(event: Known) -> None:
    record(event.tag, "old_handler", new=NEW)


# Patterns, so that the task is known to the old worker and only the event is not.
@events.handler("deploying.later*")
def any_later(event: DomainEvent) -> None:
    record(str(event.model_dump()["tag"]), "any_later", version=event.version, new=NEW)


class LaterFirst(DomainEvent, event_type="deploying.later_versions", version=1):
    tag: str


if NEW:

    class LaterNew(DomainEvent, event_type="deploying.later_new"):
        tag: str

    class LaterSecond(DomainEvent, event_type="deploying.later_versions", version=2):
        tag: str

    @events.handler(Known)
    def new_handler(event: Known) -> None:
        record(event.tag, "new_handler", new=NEW)
