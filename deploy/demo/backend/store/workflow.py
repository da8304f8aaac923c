"""What happens to a request: who may do it, in which state, and which rows change. One transaction each.

Whoever looks at these rows hears of it from walpush; nothing here knows about that.
"""

from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import APIException

from store.access import require_member, require_role, require_role_for
from store.models import Crate, Request, Role, SendBack

Status = Request.Status
Type = Request.Type


class WrongState(APIException):
    status_code = 409
    default_code = "wrong_state"


def _require(request, statuses, types=tuple(Type)):
    if request.request_type not in types:
        raise WrongState(f"Not possible for a {request.request_type} request.")
    if request.status not in statuses:
        raise WrongState(f"The request is {request.status}.")


def _locked(request_id):
    """The row, locked, so that of two people who press the same button one is told that it is done."""
    return Request.objects.select_for_update(of=["self"]).select_related("crate").get(id=request_id)


def _save(request, **values):
    for name, value in values.items():
        setattr(request, name, value)
    request.save(update_fields=[*values, "updated_at"])


def _save_crate(crate, **values):
    for name, value in values.items():
        setattr(crate, name, value)
    crate.save(update_fields=list(values))


def _note(request, user, reason, kind=SendBack.Type.CHANGE_REQUEST):
    SendBack.objects.create(request=request, reason=reason, created_by=user, sendback_type=kind)


@transaction.atomic
def approve(request_id, user):
    request = _locked(request_id)
    require_role(user, Role.SECTION_HEAD, request.unit_id)
    _require(request, [Status.PENDING])
    _save(request, status=Status.APPROVED, approved_by=user, approval_date=timezone.now())


@transaction.atomic
def reject(request_id, user, reason):
    request = _locked(request_id)
    require_role(user, Role.SECTION_HEAD, request.unit_id)
    _require(request, [Status.PENDING, Status.APPROVED])
    _save(request, status=Status.REJECTED)
    _save_crate(request.crate, status=Crate.Status.ACTIVE)
    _note(request, user, reason)


@transaction.atomic
def send_back(request_id, user, reason):
    request = _locked(request_id)
    require_role(user, Role.SECTION_HEAD, request.unit_id)
    _require(request, [Status.PENDING])
    _save(request, status=Status.SENT_BACK)
    _note(request, user, reason)


@transaction.atomic
def allocate_storage(request_id, user, storage):
    request = _locked(request_id)
    require_role_for(user, Role.STORE_HEAD, request)
    require_member(user, storage.unit_id)
    _require(request, [Status.APPROVED], [Type.STORAGE])
    _save_crate(request.crate, storage=storage)
    _save(request, status=Status.COMPLETED, allocated_by=user, allocation_date=timezone.now())


@transaction.atomic
def issue(request_id, user):
    request = _locked(request_id)
    require_role_for(user, Role.STORE_HEAD, request)
    _require(request, [Status.APPROVED], [Type.WITHDRAWAL])
    _save(request, status=Status.ISSUED, issued_by=user, issue_date=timezone.now())
    _save_crate(request.crate, status=Crate.Status.WITHDRAWN)


@transaction.atomic
def take_back(request_id, user, storage, reason):
    request = _locked(request_id)
    require_role_for(user, Role.STORE_HEAD, request)
    require_member(user, storage.unit_id)
    _require(request, [Status.ISSUED], [Type.WITHDRAWAL])
    _save(request, status=Status.RETURNED, return_date=timezone.now())
    _save_crate(request.crate, status=Crate.Status.ACTIVE, storage=storage)
    _note(request, user, reason, SendBack.Type.RETURN_NOTE)


@transaction.atomic
def edit(request_id, user, values):
    """By its author: what was sent back is pending again."""
    request = _locked(request_id)
    if request.withdrawn_by_id != user.id:
        require_role(user, Role.SYSTEM_ADMIN, request.unit_id)
    _require(request, [Status.PENDING, Status.SENT_BACK])
    _save(request, status=Status.PENDING, **values)
