"""How integration events are written: `cloudevents`, `classic`, `flat`, `record`. Specified in docs/message-format.md.

They read what anyone may have sent: it becomes an envelope or InvalidEnvelope, which names the field and never its
value. Other ids than UUIDs become ``uuid5(NAMESPACE_URL, source + " " + id)``; where the format has no source, it is
the topic.
"""

from __future__ import annotations

from collections.abc import Sequence

from events_core.brokers.base import Format
from events_core.brokers.formats.classic import Classic
from events_core.brokers.formats.cloudevents import CloudEvents
from events_core.brokers.formats.flat import Flat
from events_core.brokers.formats.record import Record
from events_core.errors import ConfigurationError

_ALL: Sequence[Format] = (CloudEvents(), Classic(), Flat(), Record())
_FORMATS = {format.name: format for format in _ALL}


def format_named(name: str) -> Format:
    """The format of that name. Raises ConfigurationError, which names the choices."""
    try:
        return _FORMATS[name]
    except KeyError:
        raise ConfigurationError(
            f"there is no format {name!r} of integration events: choose {', '.join(_FORMATS)}, or give a Format"
        ) from None
