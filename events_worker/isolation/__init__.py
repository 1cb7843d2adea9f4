"""Suspects run alone.

A delivery of which a counted start did not come to an end may have ended the process it ran in, or may only have been
beside one that did. Its next start happens in a process of its own: if that process dies, the culprit is proven; if it
settles, it was innocent. So nothing that merely ran beside a culprit is ever counted against.

::

    worker slot ──(one socket for each run)──> nursery: the application, loaded once, one thread
                                                 └─fork─> warden: watches the run and the worker
                                                            └─fork─> the run: executes, settles, answers

The warden tells the worker how the run's process ended. If the worker dies first, the warden ends the run and takes
its start back in the ledger: it was not the run's doing, unless the run had just ended by itself.
"""

from events_worker.isolation.client import Isolation

__all__ = ["Isolation"]
