"""The completion event of a group, from its emission to its completion: kept in Redis, where no crash can lose it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from events_core.envelope import Envelope, describe
from events_core.errors import EventDefinitionError, NotAnEvent
from events_core.events import Event
from events_core.groups import GroupCompleted
from events_core.ids import new_event_id
from events_core.scope import HandlingScope

#: What is known when a group completes, and its type.
_FILLED_IN = {name: GroupCompleted.model_fields[name].annotation for name in GroupCompleted.__annotations__}


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion event, and what it follows from. The event has one id, however often it is emitted."""

    event: Event
    scope: HandlingScope | None

    @classmethod
    def of(cls, wanted: Any, scope: HandlingScope | None) -> Completion:
        """From `on_complete`, a subclass of GroupCompleted or an instance of one.

        Raises NotAnEvent where it is neither, EventDefinitionError where a subclass lacks values for its fields.
        """
        if isinstance(wanted, type) and issubclass(wanted, GroupCompleted):
            try:
                event = wanted()
            except ValidationError as error:
                raise EventDefinitionError(
                    f"on_complete={wanted.__qualname__}: it has fields without a value ({describe(error)}): "
                    f"give an instance, such as {wanted.__qualname__}(...), or defaults"
                ) from None
        elif isinstance(wanted, GroupCompleted):
            event = wanted
        else:
            raise NotAnEvent(f"on_complete={wanted!r:.80} must be a subclass of GroupCompleted, or an instance of one")
        changed = [name for name in _FILLED_IN if type(event).model_fields[name].annotation != _FILLED_IN[name]]
        if changed:
            raise EventDefinitionError(
                f"on_complete={type(event).__qualname__}: {', '.join(changed)} must stay as GroupCompleted has it: it "
                "is filled in when the group completes"
            )
        # Of each group's own: one instance may be given to several.
        return cls(event.model_copy(update={"event_id": new_event_id(event.event_type)}), scope)

    def fields(self) -> dict[str, str]:
        """As it is kept with the group."""
        scope = self.scope
        fields = {"completion": Envelope.of(self.event, None if scope is None else scope.cause).to_json().decode()}
        if scope is not None:
            fields["cause"] = json.dumps([scope.delivery_id, scope.root_id, scope.chain])
        return fields

    @classmethod
    def restored(cls, completion: str, cause: str | None, counts: dict[str, Any]) -> Completion:
        """From what is kept, with the group's id and figures, as of now. Raises UndecodableEvent."""
        envelope = Envelope.parse(json.loads(completion))
        envelope.data = to_json({**json.loads(envelope.data), **counts})
        envelope.occurred_at = datetime.now(UTC).isoformat()
        return cls(envelope.event(), None if cause is None else _scope(cause, envelope))


def _scope(cause: str, envelope: Envelope) -> HandlingScope:
    """The run that emitted the group, as far as what follows from it has to know it."""
    delivery_id, root_id, chain = json.loads(cause)
    causing = Envelope(
        id=envelope.causation_id or "",
        type="",
        version=1,
        kind="",
        occurred_at="",
        correlation_id=envelope.correlation_id,
        causation_id=None,
        hops=envelope.hops - 1,
        data=b"{}",
    )
    return HandlingScope(delivery_id, root_id, causing, chain, closed=True)
