"""A Celery project before and after it adopts events; see README.md."""
