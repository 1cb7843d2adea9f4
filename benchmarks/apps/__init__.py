"""The same work as an application of ours, of plain Celery and of dramatiq; all three record what they do alike."""
