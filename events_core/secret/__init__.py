"""Secret fields of events: readable in the handler, and masked wherever people read.

`Secret` marks them, `Envelope.of` alone writes them (by the context `REVEALED`), `masked` and `shown_fields` hide them.
"""

from __future__ import annotations

from events_core.secret.fields import is_secret_path, secret_fields
from events_core.secret.marker import MASK, REVEALED, Secret
from events_core.secret.masking import masked, secret_values, shown_fields
from events_core.secret.revealing import reveal_secrets

__all__ = [
    "MASK",
    "REVEALED",
    "Secret",
    "is_secret_path",
    "masked",
    "reveal_secrets",
    "secret_fields",
    "secret_values",
    "shown_fields",
]
