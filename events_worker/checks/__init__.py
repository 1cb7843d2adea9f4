"""What is not as our promises need it: said by `events check`, and once when a worker starts."""

from __future__ import annotations

import logging

from events_core import EventSystem
from events_worker.checks.application import check_application, check_bindings
from events_worker.checks.celery_settings import check_celery
from events_worker.checks.finding import Finding
from events_worker.checks.parked import check_parked
from events_worker.checks.secrets import check_secrets
from events_worker.checks.servers import check_servers
from events_worker.checks.subscribers import check_subscribers, check_upcasters
from events_worker.checks.systems import check_systems

__all__ = ["Finding", "findings", "log_findings", "server_findings", "static_findings"]

logger = logging.getLogger(__name__)


def findings(system: EventSystem) -> list[Finding]:
    """Everything that can be told now."""
    return [*static_findings(system), *server_findings(system), *check_parked(system)]


def static_findings(system: EventSystem) -> list[Finding]:
    """What can be told without touching a network. The system's handlers are loaded."""
    return [
        *check_systems(system),
        *check_application(system),
        *check_subscribers(system),
        *check_upcasters(system),
        *check_celery(system),
        *check_secrets(system),
    ]


def server_findings(system: EventSystem) -> list[Finding]:
    """What the servers say of themselves; each is waited for a few seconds at most."""
    return list(check_servers(system))


def log_findings(system: EventSystem) -> None:
    """Say in the worker's log what is wrong with the bindings, and what the servers lack. Raises nothing."""
    try:
        application = (*check_systems(system), *check_bindings(system), *check_subscribers(system))
        for finding in (*application, *check_celery(system), *server_findings(system)):
            logger.warning("%s", finding.text)
    except Exception as error:  # a check that fails is no reason for a worker not to work
        logger.warning("the servers' settings could not be checked: %s", error)
