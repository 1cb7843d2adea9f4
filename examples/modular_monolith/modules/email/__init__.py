"""Mails. Importing the module registers its handlers."""

from examples.modular_monolith.modules.email import event_handlers

__all__ = ["event_handlers"]
