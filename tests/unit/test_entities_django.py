"""Django models as entities. In a process of its own: Django is set up once in each."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import run_python
from tests.support.processes import child_env

MODELS = """
from django.db import models

from events_core.entities import AggregateRoot


class Row(AggregateRoot, models.Model):
    pass


class RowLast(models.Model, AggregateRoot):
    pass
"""

MAIN = """
import copy, pickle
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, INSTALLED_APPS=["rows"]
)
django.setup()

from django.db import connection
from django.utils.functional import SimpleLazyObject

from events_core import DomainEvent
from events_core.entities import pending_events
from rows.models import Row, RowLast


class Happened(DomainEvent, event_type="entities_django.happened"):
    number: int


for model in (Row, RowLast):
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model.objects.create()
    row = model.objects.get()
    row.publish_event(Happened(number=1))
    row.save()
    row.refresh_from_db()
    assert [event.number for event in pending_events(SimpleLazyObject(lambda: row))] == [1]
    for other in (copy.copy(row), copy.deepcopy(row), pickle.loads(pickle.dumps(row)), model.objects.get()):
        assert other == row
        assert pending_events(other) == ()
    assert len(row.pop_events()) == 1
    assert row.pop_events() == []
"""


def test_django_models(tmp_path: Path) -> None:
    """Before or after its other base; loaded, saved, refreshed, copied, and behind a lazy object."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "__init__.py").touch()
    (tmp_path / "rows" / "models.py").write_text(MODELS)
    (tmp_path / "rows_main.py").write_text(MAIN)
    ran = run_python("-W", "error::RuntimeWarning", "rows_main.py", cwd=tmp_path, env=child_env({}))
    assert ran.returncode == 0, ran.stderr
