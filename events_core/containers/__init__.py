"""Containers make the handler instances, with their constructor arguments."""

from events_core.containers.base import Container

__all__ = ["Container"]
