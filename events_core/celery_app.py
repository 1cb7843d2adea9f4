"""The Celery app of a system that was given none, with the settings our promises need."""

from __future__ import annotations

from typing import Any

from celery import Celery

from events_core.embedded import EmbeddedRedis
from events_core.embedded.places import Places
from events_core.publishing.queues import new_queue
from events_core.settings import Settings, broker_kind, require_broker
from events_core.transport import schemes

#: The module of the worker, by name: events_core never imports it.
_WORKER = "events_worker.app"


def make_celery_app(name: str, settings: Settings) -> Celery:
    """A Celery app for the system's broker. Raises ConfigurationError when none is set."""
    url = celery_broker_url(settings)
    app = Celery(name, set_as_current=False)
    app.conf.update(
        broker_url=url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(url),
        task_default_queue=settings.default_queue,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        # After a lost connection Celery 5.7 restores the prefetch count from the pool's threads, which then read the
        # connection beside the main thread: the worker hangs.
        worker_enable_prefetch_count_reduction=False,
    )
    if settings.quorum_queues:
        app.conf.task_default_queue_type = "quorum"
        # Celery would make the default queue by itself, without our delivery limit
        app.conf.task_queues = [new_queue(settings.default_queue, quorum=True)]
    return app


def celery_broker_url(settings: Settings) -> str:
    """The system's broker as its Celery app names it. Raises ConfigurationError when none is set."""
    url = require_broker(settings)
    if settings.embedded:
        url = EmbeddedRedis(Places.of(settings.data_dir), 0).broker_url
    return schemes.with_stock(url) if settings.redis_transport == "stock" else schemes.with_streams(url)


def _transport_options(url: str) -> dict[str, Any]:
    return {"confirm_publish": True} if broker_kind(url) == "amqp" else {}


def tell_worker(app: Celery) -> None:
    """Have workers of this app import our worker, without loading its configuration now."""

    def include(sender: Celery, **_: Any) -> None:
        if _WORKER not in sender.conf.include:
            sender.conf.include = (*sender.conf.include, _WORKER)

    if app.configured:
        include(app)
    else:
        app.on_after_configure.connect(include, weak=False)
