"""The audit trail: what the rows themselves tell of who did what, and when."""

from rest_framework.fields import DateTimeField

from store.models import Request, SendBack

# The column with the time, the one with the person, and what they did.
_STEPS = [
    ("request_date", "withdrawn_by", "requested"),
    ("approval_date", "approved_by", "approved"),
    ("allocation_date", "allocated_by", "allocated"),
    ("issue_date", "issued_by", "issued"),
]


def trail(requests, limit):
    """The newest `limit` steps of these requests, as JSON shows them."""
    steps = []
    for time, person, action in _STEPS:
        found = requests.exclude(**{time: None}).select_related("crate", person).order_by(f"-{time}")[:limit]
        steps += [_step(action, getattr(row, time), row, getattr(row, person)) for row in found]
    notes = SendBack.objects.filter(request__in=requests).select_related("created_by", "request__crate")
    for note in notes.order_by("-created_at")[:limit]:
        steps.append(_step(_kind(note), note.created_at, note.request, note.created_by, note.reason))
    steps.sort(key=lambda step: step["at"], reverse=True)
    return [{**step, "at": DateTimeField().to_representation(step["at"])} for step in steps[:limit]]


def _kind(note):
    if note.sendback_type == SendBack.Type.RETURN_NOTE:
        return "returned"
    return "rejected" if note.request.status == Request.Status.REJECTED else "sent_back"


def _step(action, at, request, person, detail=None):
    return {
        "key": f"{request.id}-{action}-{at.timestamp():.6f}",
        "at": at,
        "action": action,
        "request": request.id,
        "request_type": request.request_type,
        "unit": request.unit_id,
        "crate": request.crate_id,
        "crate_barcode": request.crate.barcode,
        "actor": person.username if person else None,
        "actor_name": person.full_name if person else None,
        "detail": detail or request.purpose,
    }
