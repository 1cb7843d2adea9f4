"""Deliveries become Celery messages, which a publisher hands to the broker, batched and confirmed."""
