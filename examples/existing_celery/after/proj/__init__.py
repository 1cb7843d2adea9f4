"""A project with Celery, as one finds them."""
