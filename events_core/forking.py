"""What must be new in a forked child: a lock that another thread held at the fork is never released there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in every child that is forked from now on, for as long as its object lives."""
    ref = weakref.WeakMethod(method)
    os.register_at_fork(after_in_child=lambda: (alive := ref()) and alive())
