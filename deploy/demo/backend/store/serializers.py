"""Rows as JSON. The plain ones show every column: what walpush sends as `data` is the same, key by key."""

from rest_framework import serializers

from store.models import Crate, Request, SendBack, Storage, Unit, User


class UnitSerializer(serializers.ModelSerializer):
    class Meta:
        model = Unit
        fields = "__all__"


class UserSerializer(serializers.ModelSerializer):
    role_name = serializers.CharField(read_only=True)

    class Meta:
        model = User
        fields = ["id", "username", "full_name", "email", "role", "role_name", "unit", "status"]
        read_only_fields = ["username"]


class MeSerializer(UserSerializer):
    units = serializers.SerializerMethodField()

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "is_superuser", "units"]

    def get_units(self, user):
        units = Unit.objects.all() if user.sees_every_unit else user.units.all()
        return UnitSerializer(units, many=True).data


class StorageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Storage
        fields = "__all__"


class CrateSerializer(serializers.ModelSerializer):
    class Meta:
        model = Crate
        fields = "__all__"
        read_only_fields = ["created_by", "creation_date"]


class RequestSerializer(serializers.ModelSerializer):
    class Meta:
        model = Request
        fields = "__all__"
        read_only_fields = [
            "request_date",
            "approval_date",
            "issue_date",
            "return_date",
            "approved_by",
            "allocation_date",
            "allocated_by",
            "status",
            "withdrawn_by",
            "issued_by",
        ]


class RequestEditSerializer(RequestSerializer):
    """What its author may still change of a request."""

    class Meta(RequestSerializer.Meta):
        read_only_fields = [*RequestSerializer.Meta.read_only_fields, "request_type", "crate", "unit"]


class SendBackSerializer(serializers.ModelSerializer):
    class Meta:
        model = SendBack
        fields = "__all__"


# ---- With names, for tables that people look at ----------------------------------------------------------------------


class CrateListSerializer(CrateSerializer):
    storage_name = serializers.SerializerMethodField()
    created_by_name = serializers.CharField(source="created_by.full_name", read_only=True)

    def get_storage_name(self, crate):
        return str(crate.storage) if crate.storage else None


class RequestListSerializer(RequestSerializer):
    crate_barcode = serializers.CharField(source="crate.barcode", read_only=True)
    withdrawn_by_name = serializers.CharField(source="withdrawn_by.full_name", read_only=True, default=None)
    approved_by_name = serializers.CharField(source="approved_by.full_name", read_only=True, default=None)
    allocated_by_name = serializers.CharField(source="allocated_by.full_name", read_only=True, default=None)
    issued_by_name = serializers.CharField(source="issued_by.full_name", read_only=True, default=None)


class NestedSendBackSerializer(SendBackSerializer):
    created_by_name = serializers.CharField(source="created_by.full_name", read_only=True)


class NestedCrateSerializer(CrateSerializer):
    storage = StorageSerializer(read_only=True)


class RequestDetailSerializer(RequestListSerializer):
    """A request with all that belongs to it: the crate in its place, everybody's names, the notes."""

    crate = NestedCrateSerializer(read_only=True)
    sendbacks = NestedSendBackSerializer(many=True, read_only=True)


class NotificationSerializer(NestedSendBackSerializer):
    request_type = serializers.CharField(source="request.request_type", read_only=True)
    request_status = serializers.CharField(source="request.status", read_only=True)
    crate_barcode = serializers.CharField(source="request.crate.barcode", read_only=True)
    unit = serializers.IntegerField(source="request.unit_id", read_only=True)
