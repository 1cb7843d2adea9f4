"""Containers make the handler instances, with their constructor arguments, and what function handlers ask for."""

from events_core.containers.base import AnyContainer, Container, ScopedContainer
from events_core.containers.default import DefaultContainer
from events_core.needs import DependencyError

__all__ = ["AnyContainer", "Container", "DefaultContainer", "DependencyError", "ScopedContainer"]
