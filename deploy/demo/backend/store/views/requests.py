"""Requests to store, withdraw and destroy crates."""

from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from store import workflow
from store.access import crates_for, requests_for, requests_of, require_member, storages_for
from store.models import Request, Storage
from store.serializers import RequestDetailSerializer, RequestEditSerializer, RequestListSerializer, RequestSerializer
from store.views.listing import filtered, limited, number

PEOPLE = ["withdrawn_by", "approved_by", "allocated_by", "issued_by"]


class Reason(serializers.Serializer):
    reason = serializers.CharField(max_length=2000)


class Place(serializers.Serializer):
    storage = serializers.PrimaryKeyRelatedField(queryset=Storage.objects.all())

    def validate_storage(self, storage):
        if not storages_for(self.context["request"].user).filter(id=storage.id).exists():
            raise ValidationError("There is no such place in your units.")
        return storage


class PlaceAndReason(Place, Reason):
    pass


class Requests(APIView):
    def get(self, request):
        """?type=, ?status=, ?unit=; the newest first."""
        found = requests_for(request.user).select_related("crate", *PEOPLE)
        found = filtered(found, request, type="request_type", status="status")
        if unit := number(request, "unit"):
            found = found.filter(requests_of(unit))
        return Response(RequestListSerializer(limited(found, request), many=True).data)

    def post(self, request):
        wanted = RequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        unit, crate = wanted.validated_data["unit"], wanted.validated_data["crate"]
        require_member(request.user, unit.id)
        if not crates_for(request.user).filter(id=crate.id, unit=unit).exists():
            raise ValidationError({"crate": "There is no such crate in this unit."})
        wanted.save(withdrawn_by=request.user)
        return Response(wanted.data, status=status.HTTP_201_CREATED)


class OneRequest(APIView):
    def get(self, request, pk):
        return Response(_detail(request, pk))


@api_view(["POST"])
def approve(request, pk):
    workflow.approve(_seen(request, pk), request.user)
    return Response(_row(pk))


@api_view(["POST"])
def reject(request, pk):
    workflow.reject(_seen(request, pk), request.user, _said(Reason, request)["reason"])
    return Response(_row(pk))


@api_view(["POST"])
def send_back(request, pk):
    workflow.send_back(_seen(request, pk), request.user, _said(Reason, request)["reason"])
    return Response(_row(pk))


@api_view(["POST"])
def allocate_storage(request, pk):
    workflow.allocate_storage(_seen(request, pk), request.user, _said(Place, request)["storage"])
    return Response(_row(pk))


@api_view(["POST"])
def issue(request, pk):
    workflow.issue(_seen(request, pk), request.user)
    return Response(_row(pk))


@api_view(["POST"])
def take_back(request, pk):
    said = _said(PlaceAndReason, request)
    workflow.take_back(_seen(request, pk), request.user, said["storage"], said["reason"])
    return Response(_row(pk))


@api_view(["PATCH"])
def update(request, request_type, pk):
    old = get_object_or_404(requests_for(request.user), pk=pk, request_type=request_type.title())
    said = RequestEditSerializer(old, data=request.data, partial=True)
    said.is_valid(raise_exception=True)
    workflow.edit(pk, request.user, said.validated_data)
    return Response(_row(pk))


def _seen(request, pk):
    """The id, if this user may know that there is such a request."""
    return get_object_or_404(requests_for(request.user), pk=pk).id


def _said(form, request):
    said = form(data=request.data, context={"request": request})
    said.is_valid(raise_exception=True)
    return said.validated_data


def _row(pk):
    return RequestSerializer(Request.objects.get(pk=pk)).data


def _detail(request, pk):
    found = requests_for(request.user).select_related("crate__storage", *PEOPLE)
    found = found.prefetch_related("sendbacks__created_by")
    return RequestDetailSerializer(get_object_or_404(found, pk=pk)).data
