from django.db import models
from rest_framework import serializers


class Request(models.Model):
    request_type = models.CharField(max_length=20)
    crate_id = models.IntegerField()
    unit_id = models.IntegerField()
    request_date = models.DateTimeField()
    approval_date = models.DateTimeField(null=True)
    issue_date = models.DateTimeField(null=True)
    return_date = models.DateTimeField(null=True)
    expected_return_date = models.DateTimeField(null=True)
    approved_by_id = models.IntegerField(null=True)
    allocation_date = models.DateTimeField(null=True)
    allocated_by_id = models.IntegerField(null=True)
    status = models.CharField(max_length=20)
    withdrawn_by_id = models.IntegerField(null=True)
    purpose = models.TextField()
    full_withdrawal = models.BooleanField()
    issued_by_id = models.IntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        managed = False
        db_table = "requests"


class RequestSerializer(serializers.ModelSerializer):
    class Meta:
        model = Request
        fields = "__all__"
