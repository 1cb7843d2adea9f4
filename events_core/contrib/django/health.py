"""A health check for load balancers."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from events_core.contrib._health import ping
from events_core.contrib.django.system import get_system


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """``path("healthz", health)``: 200 while the broker and the coordination Redis answer, else 503; which, as JSON.

    It names no server and needs no login.
    """
    found = ping(get_system())
    return JsonResponse(found.as_json(), status=found.status)
