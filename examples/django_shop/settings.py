"""Settings of the example. What is ours is at the end."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
#: Database, and the files of the embedded Redis.
DATA = Path(os.environ.get("DJANGO_SHOP_DATA", ".django_shop")).absolute()

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "known to everybody, as is all of this example")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "examples.django_shop.urls"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "events_core.contrib.django",
    "examples.django_shop.orders",
]
MIDDLEWARE = [
    "events_core.contrib.django.middleware.correlation",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "shop.sqlite3",
        # The web process and the worker write to one file: each waits for the other.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

EVENTS = {
    "NAME": "django_shop",
    "BROKER_URL": os.environ.get("EVENTS_BROKER_URL", "embedded"),
    "DATA_DIR": DATA / "redis",
}
