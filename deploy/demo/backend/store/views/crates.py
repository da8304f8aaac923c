"""Crates, and where they stand."""

from django.shortcuts import get_object_or_404
from rest_framework import status
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from store.access import crates_for, require_member, require_role
from store.models import Role
from store.serializers import CrateListSerializer, CrateSerializer
from store.views.listing import filtered, limited
from store.views.requests import Place


class Crates(APIView):
    def get(self, request):
        """?status=, ?unit=; the newest first."""
        found = filtered(crates_for(request.user), request, status="status", unit="unit_id")
        found = found.select_related("storage", "created_by")
        return Response(CrateListSerializer(limited(found, request), many=True).data)

    def post(self, request):
        crate = CrateSerializer(data=request.data)
        crate.is_valid(raise_exception=True)
        _check_place(request.user, crate)
        crate.save(created_by=request.user)
        return Response(crate.data, status=status.HTTP_201_CREATED)


class OneCrate(APIView):
    def get(self, request, pk):
        return Response(CrateListSerializer(_seen(request, pk)).data)

    def put(self, request, pk):
        crate = CrateSerializer(_seen(request, pk), data=request.data)
        crate.is_valid(raise_exception=True)
        _check_place(request.user, crate)
        crate.save()
        return Response(crate.data)


@api_view(["POST"])
def relocate(request, pk):
    crate = _seen(request, pk)
    require_role(request.user, Role.STORE_HEAD, crate.unit_id)
    place = Place(data=request.data, context={"request": request})
    place.is_valid(raise_exception=True)
    crate.storage = place.validated_data["storage"]
    crate.save(update_fields=["storage"])
    return Response(CrateSerializer(crate).data)


def _seen(request, pk):
    return get_object_or_404(crates_for(request.user), pk=pk)


def _check_place(user, crate):
    """The crate's unit is one of the user's, and so is the unit of its place."""
    require_member(user, crate.validated_data["unit"].id)
    storage = crate.validated_data.get("storage")
    if storage and not user.sees_every_unit and not user.units.filter(id=storage.unit_id).exists():
        raise ValidationError({"storage": "There is no such place in your units."})
