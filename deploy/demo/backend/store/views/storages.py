"""Places for crates: rooms, racks, compartments and shelves."""

from django.shortcuts import get_object_or_404
from rest_framework import status
from rest_framework.response import Response
from rest_framework.views import APIView

from store.access import require_role, storages_for
from store.models import Role
from store.serializers import StorageSerializer
from store.views.listing import filtered, limited


class Storages(APIView):
    def get(self, request):
        """?unit="""
        found = filtered(storages_for(request.user), request, unit="unit_id")
        return Response(StorageSerializer(limited(found, request), many=True).data)

    def post(self, request):
        place = StorageSerializer(data=request.data)
        place.is_valid(raise_exception=True)
        require_role(request.user, Role.STORE_HEAD, place.validated_data["unit"].id)
        place.save()
        return Response(place.data, status=status.HTTP_201_CREATED)


class OneStorage(APIView):
    def get(self, request, pk):
        return Response(StorageSerializer(_seen(request, pk)).data)

    def put(self, request, pk):
        old = _seen(request, pk)
        require_role(request.user, Role.STORE_HEAD, old.unit_id)
        place = StorageSerializer(old, data=request.data)
        place.is_valid(raise_exception=True)
        require_role(request.user, Role.STORE_HEAD, place.validated_data["unit"].id)
        place.save()
        return Response(place.data)


def _seen(request, pk):
    return get_object_or_404(storages_for(request.user), pk=pk)
