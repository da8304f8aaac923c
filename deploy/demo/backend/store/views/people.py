"""Users and the units they belong to."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as InvalidPassword
from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from store.access import colleagues, require_admin, require_member, units_of
from store.models import Unit, User, UserUnit
from store.serializers import MeSerializer, UnitSerializer, UserSerializer


class Passwords(serializers.Serializer):
    old_password = serializers.CharField(trim_whitespace=False)
    new_password = serializers.CharField(trim_whitespace=False, max_length=128)


@api_view(["GET"])
def me(request):
    return Response(MeSerializer(request.user).data)


@api_view(["POST"])
def change_password(request):
    said = Passwords(data=request.data)
    said.is_valid(raise_exception=True)
    if not request.user.check_password(said.validated_data["old_password"]):
        raise ValidationError({"old_password": "This is not your password."})
    try:
        validate_password(said.validated_data["new_password"], request.user)
    except InvalidPassword as error:
        raise ValidationError({"new_password": error.messages}) from None
    request.user.set_password(said.validated_data["new_password"])
    request.user.save(update_fields=["password", "updated_at"])
    return Response(status=status.HTTP_204_NO_CONTENT)


@api_view(["GET"])
def units(request):
    return Response(UnitSerializer(units_of(request.user), many=True).data)


@api_view(["GET"])
def users_of_unit(request, pk):
    require_member(request.user, get_object_or_404(Unit, pk=pk).id)
    return Response(UserSerializer(colleagues(pk), many=True).data)


class Membership(APIView):
    """A System Admin takes a user into a unit, or out of it."""

    def put(self, request, pk, user_id):
        require_admin(request.user)
        UserUnit.objects.get_or_create(unit=get_object_or_404(Unit, pk=pk), user=get_object_or_404(User, pk=user_id))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def delete(self, request, pk, user_id):
        require_admin(request.user)
        get_object_or_404(UserUnit, unit=pk, user=user_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


@api_view(["PATCH"])
def user(request, pk):
    """A System Admin suspends a user, or gives another role."""
    require_admin(request.user)
    said = UserSerializer(get_object_or_404(User, pk=pk), data=request.data, partial=True)
    said.is_valid(raise_exception=True)
    said.save()
    return Response(said.data)
