"""The admin's pages for dead letters: a list, each letter, redrive and discard."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from events_core.contrib.django import letters, worker_side
from events_core.contrib.django.acting import ACTIONS, act
from events_core.contrib.django.models import DeadLetter
from events_core.contrib.django.reaching import FAILURES, reason_of
from events_core.contrib.django.system import get_system

#: Letters on one page.
_SIZE = 100
_TEMPLATES = "admin/celery_events/deadletter"


@admin.register(DeadLetter)
class DeadLetterAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Reads Redis, not a table. Each page is one of at most 100 letters, however many there are.

    Permissions: `view_deadletter` for all of it, `redrive_deadletter`, `discard_deadletter`, and `view_payload` for the
    event's data, of which secret fields are masked even so.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes one."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nor changes one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Discarding has a permission of its own."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list; POST: what to do with the chosen ones, asked for and then confirmed."""
        self._check(request)
        if request.method == "POST":
            return self._act(request)
        chosen = letters.Filter.of(request.GET)
        # without the list of all models, for the table is wide
        context: dict[str, Any] = {"filter": chosen, "actions": self._actions(request), "is_nav_sidebar_enabled": False}
        try:
            system = get_system()
            page = worker_side.pages(system).page(chosen.first, _SIZE, chosen.fits)
        except FAILURES as error:
            self.message_user(request, reason_of(error), messages.ERROR)
        else:
            context |= {
                "page": page,
                "rows": [letters.Row.of(letter) for letter in page.letters],
                "filters": letters.choices(system, chosen),
                "older": None if page.after is None else chosen.link(first=page.after),
                "newest": chosen.link(first=0) if chosen.first else None,
                "from_place": page.first + 1,
                "shown_to": page.count if page.after is None else page.after,
            }
        return self._page(request, "list.html", "Dead letters", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One letter."""
        self._check(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            letter = worker_side.dead_letters(get_system()).get(object_id)
        except FAILURES as error:
            self.message_user(request, reason_of(error), messages.ERROR)
            return self._page(request, "letter.html", "Dead letter", {"id": object_id})
        if letter is None:
            self.message_user(request, f"There is no dead letter {object_id} (any more).", messages.WARNING)
            return HttpResponseRedirect(self._list_url())
        may_see = _may(request, "view_payload")
        text, remark = letters.payload(letter) if may_see else ("", None)
        context = {
            "id": object_id,
            "row": letters.Row.of(letter),
            "letter": letter,
            "may_see_payload": may_see,
            "payload": text,
            "remark": remark,
            "actions": self._actions(request),
            "list_url": self._list_url(),
        }
        return self._page(request, "letter.html", "Dead letter", context)

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _actions(self, request: HttpRequest) -> list[str]:
        return [name for name in ACTIONS if _may(request, f"{name}_deadletter")]

    def _act(self, request: HttpRequest) -> HttpResponse:
        action, ids = request.POST.get("action", ""), request.POST.getlist("_selected_action")
        here = request.get_full_path()
        if action not in ACTIONS or not ids:
            self.message_user(request, "Choose an action, and the letters that it is for.", messages.WARNING)
            return HttpResponseRedirect(here)
        if action not in self._actions(request):
            raise PermissionDenied
        if not request.POST.get("confirmed"):
            title = f"{action.capitalize()} {len(ids)} dead letter{'' if len(ids) == 1 else 's'}?"
            return self._page(request, "confirm.html", title, {"action": action, "ids": ids, "back": here})

        def log(letter_id: str, what: str) -> None:
            self.log_change(request, DeadLetter(id=letter_id), what)

        for said in act(action, ids, log):
            self.message_user(request, said.text, said.level)
        return HttpResponseRedirect(here)

    def _list_url(self) -> str:
        return reverse("admin:celery_events_deadletter_changelist", current_app=self.admin_site.name)

    def _page(self, request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
        whole = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **context}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"{_TEMPLATES}/{template}", whole)


def _may(request: HttpRequest, what: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"celery_events.{what}"))
