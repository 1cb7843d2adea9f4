"""A plain Celery application on Redis Streams, with nothing of events_core but the transport.

In this folder: celery -A plain_celery worker, and in another shell: python plain_celery.py
"""

from celery import Celery

import events_core.transport  # noqa: F401  # from here on Celery knows redis-streams://

app = Celery("plain_celery", broker="redis-streams://localhost:6379/0")
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)


@app.task  # type: ignore[untyped-decorator]
def greet(name: str) -> None:
    print(f"hello {name}")


if __name__ == "__main__":
    greet.delay("world")
