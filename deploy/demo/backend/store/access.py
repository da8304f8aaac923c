"""Who may see and do what.

A user sees the rows of their units; a System Admin and a superuser those of every unit. Requests for crates that go to
the central store are that unit's business too.
"""

from django.db.models import Q
from rest_framework.exceptions import PermissionDenied

from store.models import Crate, Request, Role, SendBack, Storage, Unit, User


def units_of(user):
    return Unit.objects.all() if user.sees_every_unit else user.units.all()


def _in_units(queryset, user):
    return queryset if user.sees_every_unit else queryset.filter(unit__in=user.units.all())


def crates_for(user):
    return _in_units(Crate.objects.all(), user)


def storages_for(user):
    return _in_units(Storage.objects.all(), user)


def requests_for(user):
    if user.sees_every_unit:
        return Request.objects.all()
    seen = Q(unit__in=user.units.all())
    if user.units.filter(unit_code=Unit.CENTRAL).exists():
        seen |= Q(crate__to_central=True)
    return Request.objects.filter(seen)


def requests_of(unit_id):
    """A unit's requests; the central store's are also those for crates that go there."""
    found = Q(unit=unit_id)
    if Unit.objects.filter(id=unit_id, unit_code=Unit.CENTRAL).exists():
        found |= Q(crate__to_central=True)
    return found


def notes_for(user):
    """Notes on one's own requests; a Section Head sees those of their units."""
    concerned = Q(request__withdrawn_by=user)
    if user.role_name == Role.SECTION_HEAD:
        concerned |= Q(request__unit__in=user.units.all())
    return SendBack.objects.filter(concerned)


def is_member(user, unit_id):
    return user.sees_every_unit or user.units.filter(id=unit_id).exists()


def require_member(user, unit_id):
    if not is_member(user, unit_id):
        raise PermissionDenied("You do not belong to this unit.")


def require_role(user, role, unit_id):
    """The role within the unit; a System Admin has every role everywhere."""
    if user.sees_every_unit:
        return
    if user.role_name != role or not user.units.filter(id=unit_id).exists():
        raise PermissionDenied(f"This is for the {role} of the unit.")


def require_role_for(user, role, request):
    """The role in a unit whose business the request is."""
    if request.crate.to_central and not user.sees_every_unit and user.role_name == role:
        if user.units.filter(unit_code=Unit.CENTRAL).exists():
            return
    require_role(user, role, request.unit_id)


def require_admin(user):
    if not user.sees_every_unit:
        raise PermissionDenied("This is for a System Admin.")


def colleagues(unit_id):
    return User.objects.filter(units=unit_id).select_related("role")
