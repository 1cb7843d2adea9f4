from celery import Celery

import events_core.transport  # noqa: F401  # for redis-streams://

app = Celery("proj", include=["proj.tasks"])
app.config_from_object("proj.celeryconfig")
