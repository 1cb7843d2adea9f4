"""The command `events`."""

from events_worker.cli.main import main

__all__ = ["main"]
