"""The admin's pages for dead letters, asked by Django's test client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.django_project import Project

pytestmark = pytest.mark.apps

BEGIN = """
import json, re
from uuid import uuid4
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from events_core.envelope import Envelope
from events_worker.dead_letters import DeadLetter
from events_worker.outcome import Dead
from events_worker.parts import parts_of

LIST = "/admin/celery_events/deadletter/"
FIXED = {"action": "redrive", "confirmed": "yes"}
tables()

def client(*codenames, **options):
    user = User.objects.create_user(str(uuid4()), is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    made = Client(**options)
    made.force_login(user)
    return made

def everything(**options):
    made = Client(**options)
    made.force_login(User.objects.create_superuser(str(uuid4())))
    return made

def letter(event, reason="exhausted", error="it failed"):
    envelope = Envelope.of(event)
    [spec] = events.event_map.route(type(event))
    [message] = events.messages.messages([spec], event, envelope, envelope.to_json(), None)
    from events_worker.run import Run
    run = Run.of(str(message.headers["id"]), spec.name, events.settings.default_queue, message.headers,
                 json.loads(envelope.to_json()), redelivered=False)
    dead = Dead(reason, error)
    made = DeadLetter.of(str(message.headers["id"]), run.next_message(attempt=1), dead, starts=5, first_at=1.7e9)
    store().keep(made)
    return made

def store():
    return parts_of(events).dead_letters

def rows(page):
    return re.findall(r'name="_selected_action" value="([^"]+)"', page.content.decode())

def said(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]
"""


@pytest.fixture
def project(tmp_path: Path, redis_url: str, system_name: str) -> Project:
    return Project.at(tmp_path, redis_url, system_name)


def run(project: Project, code: str) -> str:
    return project.run(BEGIN + code)


def test_the_list_and_its_filters(project: Project) -> None:
    run(
        project,
        """
placed = letter(Placed(number=1), error="the stock is empty")
declined = letter(Confirmed(number=1), reason="gave_up", error="<script>alert(1)</script>")
admin = everything()
page = admin.get(LIST)
assert page.status_code == 200
assert rows(page) == [declined.id, placed.id]
text = page.content.decode()
for shown in ("django.order.placed v1", "orders.handlers.note", "exhausted", "the stock is empty", "1 to 2 of 2"):
    assert shown in text, shown
assert "<script>alert" not in text
for query, found in {
    "reason=gave_up": [declined.id],
    "handler=orders.handlers.note": [placed.id],
    "type=django.order.placed": [placed.id],
    "q=STOCK": [placed.id],
    f"q={declined.event_id}": [declined.id],
    f"q={placed.id}": [placed.id],
    "q=nothing": [],
    "reason=gave_up&type=django.order.placed": [],
    "first=1": [placed.id],
    "first=x": [declined.id, placed.id],
    "first=7": [],
}.items():
    page = admin.get(f"{LIST}?{query}")
    assert page.status_code == 200 and rows(page) == found, query
""",
    )


def test_a_page_has_a_hundred_and_says_where_the_next_begins(project: Project) -> None:
    run(
        project,
        """
for number in range(250):
    letter(Placed(number=number), reason="poison" if number % 2 else "exhausted")
admin = everything()
seen = []
for first, count, more in ((0, 100, True), (100, 100, True), (200, 50, False)):
    page = admin.get(f"{LIST}?first={first}")
    seen += rows(page)
    assert len(rows(page)) == count
    assert (f"?first={first + 100}" in page.content.decode()) == more
assert len(set(seen)) == 250
page = admin.get(f"{LIST}?reason=poison")
assert len(rows(page)) == 100
older = re.search(r'href="([^"]+)">Older', page.content.decode())[1].replace("&amp;", "&")
assert len(rows(admin.get(LIST + older))) == 25
""",
    )


def test_one_letter_and_who_may_see_its_payload(project: Project) -> None:
    """A secret field is masked for everybody."""
    run(
        project,
        """
dead = letter(Confirmed(number=4711, token="hush"))
page = f"{LIST}{dead.id}/change/"
text = everything().get(page).content.decode()
assert dead.event_id in text and "4711" in text and "hush" not in text
answer = client("view_deadletter").get(page)
assert answer.status_code == 200
assert "4711" not in answer.content.decode() and "celery_events.view_payload" in answer.content.decode()
assert "4711" in client("view_deadletter", "view_payload").get(page).content.decode()
assert client("view_payload").get(page).status_code == 403
assert client().get(LIST).status_code == 403
assert Client().get(LIST).status_code == 302
gone = everything().get(f"{LIST}{uuid4()}/change/", follow=True)
assert gone.status_code == 200 and "There is no dead letter" in gone.content.decode()
""",
    )


def test_redrive_asks_first_and_sends_it_again(project: Project) -> None:
    """Who did it is in the admin's log."""
    run(
        project,
        """
from django.contrib.admin.models import LogEntry

dead = [letter(Placed(number=number)) for number in range(3)]
chosen = [dead[0].id, dead[2].id]
admin = everything(enforce_csrf_checks=False)
asked = admin.post(LIST, {"action": "redrive", "_selected_action": chosen})
assert asked.status_code == 200 and "Redrive 2 dead letters?" in asked.content.decode()
assert sent() == 0 and store().count() == 3
done = admin.post(f"{LIST}?reason=exhausted", FIXED | {"_selected_action": chosen})
assert done.status_code == 302 and done.url == f"{LIST}?reason=exhausted"
assert said(done) == ["2 of 2 redriven."]
assert sent() == 2 and [found.id for found in store().find()] == [dead[1].id]
assert [entry.object_id for entry in LogEntry.objects.order_by("pk")] == chosen
assert "Redriven as " in LogEntry.objects.first().get_change_message()
again = admin.post(LIST, FIXED | {"_selected_action": chosen})
assert said(again)[-1:] == ["2 redriven or discarded by someone else meanwhile."]
assert sent() == 2
""",
    )


def test_discard(project: Project) -> None:
    run(
        project,
        """
dead = letter(Placed(number=1))
done = everything().post(LIST, {"action": "discard", "confirmed": "yes", "_selected_action": dead.id})
assert said(done) == ["1 of 1 discarded."]
assert store().count() == 0 and sent() == 0
""",
    )


def test_what_is_no_delivery_is_not_redriven(project: Project) -> None:
    run(
        project,
        """
from dataclasses import replace

dead = replace(letter(Placed(number=1)), id="raw-1", raw="AAEC", message=None, event_id=None, reason="undecodable")
store().keep(dead)
answer = everything().get(f"{LIST}raw-1/change/")
assert "AAEC" in answer.content.decode()
done = everything().post(LIST, FIXED | {"_selected_action": "raw-1"})
[message] = said(done)
assert "is no delivery" in message
assert store().get("raw-1") is not None
""",
    )


def test_each_action_has_its_permission(project: Project) -> None:
    run(
        project,
        """
dead = letter(Placed(number=1))
for may in ("redrive", "discard"):
    user = client("view_deadletter", f"{may}_deadletter")
    for action in ("redrive", "discard"):
        assert (f'value="{action}"' in user.get(LIST).content.decode()) == (action == may)
        if action != may:
            refused = user.post(LIST, {"action": action, "confirmed": "yes", "_selected_action": dead.id})
            assert refused.status_code == 403
viewer = client("view_deadletter")
assert 'type="checkbox"' not in viewer.get(LIST).content.decode()
assert said(everything().post(LIST, {"action": "delete", "_selected_action": dead.id})) == [
    "Choose an action, and the letters that it is for."
]
assert everything(enforce_csrf_checks=True).post(LIST, FIXED | {"_selected_action": dead.id}).status_code == 403
assert store().count() == 1
for page in (f"{LIST}add/", f"{LIST}{dead.id}/delete/"):
    assert everything().get(page).status_code in (302, 403, 404)
assert everything().post(f"{LIST}{dead.id}/change/").status_code == 405
assert "Dead letters" in client("view_deadletter").get("/admin/").content.decode()
""",
    )


def test_servers_that_do_not_answer_are_a_message(project: Project) -> None:
    """The list, a letter, and an action that meets it: no page fails, and none names a password."""
    project.env["EVENTS_REDIS_URL"] = "redis://user:hush@127.0.0.1:1/0"
    run(
        project,
        """
admin = everything()
for path in (LIST, f"{LIST}{uuid4()}/change/"):
    answer = admin.get(path)
    assert answer.status_code == 200
    assert "The coordination Redis does not answer" in answer.content.decode()
    assert "hush" not in answer.content.decode()
done = admin.post(LIST, FIXED | {"_selected_action": [str(uuid4()), str(uuid4())]})
[message] = said(done)
assert "does not answer" in message
""",
    )


def test_a_broker_that_does_not_confirm_leaves_the_letter_dead(project: Project) -> None:
    project.env.update(EVENTS_REDIS_URL=project.env["EVENTS_BROKER_URL"], EVENTS_EMIT_TIMEOUT="0.5")
    project.env["EVENTS_BROKER_URL"] = "amqp://guest:guest@127.0.0.1:1//"
    run(
        project,
        """
dead = [letter(Placed(number=number)) for number in range(2)]
done = everything().post(LIST, FIXED | {"_selected_action": [found.id for found in dead]})
[message] = said(done)
assert "does not confirm" in message
assert store().count() == 2
""",
    )
