"""Crates of documents, the requests to store, withdraw and destroy them, and the people of several units.

The tables' names and columns are given: other programs read and write them too.
"""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class Unit(models.Model):
    CENTRAL = "Central"  # the unit_code of the store that takes crates of all units

    unit_code = models.CharField(max_length=50, unique=True)
    unit_name = models.CharField(max_length=200)
    location = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "units"
        ordering = ["id"]

    def __str__(self):
        return self.unit_name


class Role(models.Model):
    SYSTEM_ADMIN = "System Admin"
    SECTION_HEAD = "Section Head"
    STORE_HEAD = "Store Head"
    USER = "User"

    role_name = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        db_table = "roles"
        ordering = ["id"]

    def __str__(self):
        return self.role_name


class User(AbstractUser):
    class Status(models.TextChoices):
        ACTIVE = "Active"
        INACTIVE = "Inactive"
        SUSPENDED = "Suspended"
        LOCKED = "Locked"

    full_name = models.CharField(max_length=200, blank=True)
    role = models.ForeignKey(Role, models.PROTECT, null=True, blank=True, related_name="users")
    unit = models.ForeignKey(Unit, models.PROTECT, null=True, blank=True, related_name="home_users")
    units = models.ManyToManyField(Unit, through="UserUnit", related_name="users")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "users"
        ordering = ["id"]

    @property
    def may_work(self):
        return self.is_active and self.status == self.Status.ACTIVE

    @property
    def role_name(self):
        return self.role.role_name if self.role else None

    @property
    def sees_every_unit(self):
        return self.is_superuser or self.role_name == Role.SYSTEM_ADMIN


class UserUnit(models.Model):
    user = models.ForeignKey(User, models.CASCADE)
    unit = models.ForeignKey(Unit, models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "user_units"
        constraints = [models.UniqueConstraint(fields=["user", "unit"], name="user_units_once")]


class Storage(models.Model):
    unit = models.ForeignKey(Unit, models.PROTECT)
    room_name = models.CharField(max_length=100)
    rack_name = models.CharField(max_length=100)
    compartment_name = models.CharField(max_length=100)
    shelf_name = models.CharField(max_length=100, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "storages"
        ordering = ["id"]

    def __str__(self):
        names = [self.room_name, self.rack_name, self.compartment_name, self.shelf_name]
        return " / ".join(name for name in names if name)


class Crate(models.Model):
    class Status(models.TextChoices):
        ACTIVE = "Active"
        WITHDRAWN = "Withdrawn"
        ARCHIVED = "Archived"
        DESTROYED = "Destroyed"

    barcode = models.CharField(max_length=100, unique=True)
    destruction_date = models.DateField(null=True, blank=True)
    creation_date = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="crates_created")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ACTIVE)
    storage = models.ForeignKey(Storage, models.PROTECT, null=True, blank=True, related_name="crates")
    unit = models.ForeignKey(Unit, models.PROTECT)
    # Departments and sections are kept by another application.
    department_id = models.IntegerField()
    section_id = models.IntegerField(null=True, blank=True)
    to_central = models.BooleanField(default=False)
    to_be_retained = models.BooleanField(default=False)

    class Meta:
        db_table = "crates"
        ordering = ["-id"]


class Request(models.Model):
    class Type(models.TextChoices):
        STORAGE = "Storage"
        WITHDRAWAL = "Withdrawal"
        DESTRUCTION = "Destruction"

    class Status(models.TextChoices):
        PENDING = "Pending"
        SENT_BACK = "Sent Back"
        APPROVED = "Approved"
        ISSUED = "Issued"
        RETURNED = "Returned"
        REJECTED = "Rejected"
        COMPLETED = "Completed"

    request_type = models.CharField(max_length=20, choices=Type.choices)
    crate = models.ForeignKey(Crate, models.PROTECT, related_name="requests")
    unit = models.ForeignKey(Unit, models.PROTECT)
    request_date = models.DateTimeField(default=timezone.now)
    approval_date = models.DateTimeField(null=True, blank=True)
    issue_date = models.DateTimeField(null=True, blank=True)
    return_date = models.DateTimeField(null=True, blank=True)
    expected_return_date = models.DateTimeField(null=True, blank=True)
    approved_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    allocation_date = models.DateTimeField(null=True, blank=True)
    allocated_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PENDING)
    withdrawn_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="requests")
    purpose = models.TextField(blank=True)
    full_withdrawal = models.BooleanField(default=True)
    issued_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "requests"
        ordering = ["-id"]


class SendBack(models.Model):
    class Type(models.TextChoices):
        CHANGE_REQUEST = "Change Request"
        RETURN_NOTE = "Return Note"

    request = models.ForeignKey(Request, models.CASCADE, related_name="sendbacks")
    reason = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    sendback_type = models.CharField(max_length=20, choices=Type.choices)

    class Meta:
        db_table = "sendbacks"
        ordering = ["id"]
