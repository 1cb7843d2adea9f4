from celery.schedules import crontab

broker_url = "redis://localhost:6379/0"
broker_connection_retry_on_startup = True
task_default_queue = "proj"
task_ignore_result = True
timezone = "Europe/Berlin"
beat_schedule = {"report": {"task": "proj.tasks.report", "schedule": crontab(hour=6, minute=0)}}
