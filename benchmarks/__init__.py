"""Measurements beside plain Celery and dramatiq: `python -m benchmarks [NAME ...]`, docs/benchmarks.md."""
