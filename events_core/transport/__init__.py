"""Celery's broker over Redis."""
