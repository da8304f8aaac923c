"""Pages that show many rows at once: dashboard, audit trail, notifications."""

from django.conf import settings
from django.db.models import Count
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

from store.access import crates_for, notes_for, requests_for, requests_of, storages_for
from store.audit import trail
from store.models import Crate, Request
from store.serializers import NotificationSerializer
from store.views.listing import LIMIT, MOST, filtered, limited, number


@api_view(["GET"])
@permission_classes([AllowAny])
def config(_request):
    """What the frontend must know before anybody has logged in."""
    return Response({"websocket_url": settings.WEBSOCKET_URL})


@api_view(["GET"])
def dashboard(request):
    """?unit="""
    wanted = _requests(request)
    crates = filtered(crates_for(request.user), request, unit="unit_id")
    storages = filtered(storages_for(request.user), request, unit="unit_id")
    return Response(
        {
            "requests": _by(wanted, "status", Request.Status),
            "pending": _by(wanted.filter(status=Request.Status.PENDING), "request_type", Request.Type),
            "crates": _by(crates, "status", Crate.Status),
            "crates_without_place": crates.filter(storage=None).count(),
            "storages": storages.count(),
            "storages_in_use": storages.filter(crates__isnull=False).distinct().count(),
        }
    )


@api_view(["GET"])
def audit(request):
    """?unit=, ?limit=; the newest first."""
    return Response(trail(_requests(request), min(number(request, "limit") or LIMIT, MOST)))


@api_view(["GET"])
def notifications(request):
    """Notes on requests that concern this user; the newest first."""
    found = notes_for(request.user).select_related("created_by", "request__crate").order_by("-id")
    return Response(NotificationSerializer(limited(found, request), many=True).data)


def _requests(request):
    found = requests_for(request.user)
    unit = number(request, "unit")
    return found.filter(requests_of(unit)) if unit else found


def _by(queryset, column, choices):
    counted = dict(queryset.order_by().values_list(column).annotate(Count("id")))
    return {choice: counted.get(choice, 0) for choice in choices.values}
