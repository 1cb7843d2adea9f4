"""What all tests share; the fixtures themselves are in tests/support/fixtures.py."""

from __future__ import annotations

import os
import signal

import hypothesis

pytest_plugins = ["tests.support.fixtures", "tests.support.summary", "tests.support.broker_table"]

# No deadline: a slow moment of a busy machine is no bug. In CI the same examples every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

# Tests write another version of a module within the second: what was compiled of the first would still count as its.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

# A shell starts what it runs in the background with Ctrl-C ignored, and whatever tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
