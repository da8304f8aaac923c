"""Fills an empty database with two units, the central store, their people, places, crates and requests."""

import datetime
import os
import random

from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from store.models import Crate, Request, Role, SendBack, Storage, Unit, User, UserUnit

PASSWORD = "walpush-demo"

UNITS = [("NORTH", "North Plant", "Hyderabad"), ("SOUTH", "South Plant", "Chennai"), (Unit.CENTRAL, "Central Store", "Pune")]
ROLES = [Role.SYSTEM_ADMIN, Role.SECTION_HEAD, Role.STORE_HEAD, Role.USER]
PEOPLE = [
    # username, name, role, units
    ("root", "Root", None, []),
    ("sam", "Sam Iyer", Role.SYSTEM_ADMIN, []),
    ("asha", "Asha Rao", Role.USER, ["NORTH"]),
    ("anil", "Anil Kumar", Role.USER, ["NORTH"]),
    ("ravi", "Ravi Menon", Role.SECTION_HEAD, ["NORTH"]),
    ("meena", "Meena Das", Role.STORE_HEAD, ["NORTH"]),
    ("bob", "Bob Thomas", Role.USER, ["SOUTH"]),
    ("hema", "Hema Nair", Role.SECTION_HEAD, ["SOUTH"]),
    ("omar", "Omar Khan", Role.STORE_HEAD, ["SOUTH"]),
    ("dora", "Dora Pinto", Role.USER, ["NORTH", "SOUTH"]),
    ("kira", "Kira Shah", Role.STORE_HEAD, [Unit.CENTRAL]),
]
PURPOSES = ["Tax audit", "Customer complaint", "Yearly inspection", "Contract review", "Recall", "Batch records"]


class Command(BaseCommand):
    help = "Fill an empty database with sample rows. The password of everybody is SEED_PASSWORD, or walpush-demo."

    def add_arguments(self, parser):
        parser.add_argument("--crates", type=int, default=24, help="crates in each unit (24)")
        parser.add_argument("--requests", type=int, default=20, help="requests in each unit (20)")

    def handle(self, *args, **options):
        if Unit.objects.exists():
            self.stdout.write("There are rows already: nothing done.")
            return
        with transaction.atomic():
            people = make_people(os.environ.get("SEED_PASSWORD", PASSWORD))
            for unit in Unit.objects.all():
                make_unit_rows(unit, people, options["crates"], options["requests"])
        for name, _, role, units in PEOPLE:
            self.stdout.write(f"{name:8} {role or 'superuser':14} {', '.join(units) or 'every unit'}")


def make_people(password):
    """Units, roles and users; the users by name."""
    hashed = make_password(password)
    units = {code: Unit.objects.create(unit_code=code, unit_name=name, location=at) for code, name, at in UNITS}
    roles = {name: Role.objects.create(role_name=name) for name in ROLES}
    people = {}
    for name, full_name, role, codes in PEOPLE:
        people[name] = User.objects.create(
            username=name,
            full_name=full_name,
            email=f"{name}@example.org",
            password=hashed,
            role=roles.get(role),
            unit=units[codes[0]] if codes else None,
            is_superuser=role is None,
            is_staff=role is None,
        )
        UserUnit.objects.bulk_create(UserUnit(user=people[name], unit=units[code]) for code in codes)
    return people


def make_unit_rows(unit, people, crates, requests):
    chosen = random.Random(unit.unit_code)  # the same rows every time
    members = {role: list(unit.users.filter(role__role_name=role)) or [people["sam"]] for role in ROLES}
    places = Storage.objects.bulk_create(
        Storage(unit=unit, room_name=f"Room {room}", rack_name=f"Rack {rack}", compartment_name=f"C{place}")
        for room in "AB"
        for rack in (1, 2, 3)
        for place in (1, 2)
    )
    made = Crate.objects.bulk_create(
        Crate(
            barcode=f"{unit.unit_code}-{number:04}",
            created_by=chosen.choice(members[Role.USER]),
            storage=chosen.choice([*places, None]),
            unit=unit,
            department_id=chosen.randint(1, 5),
            section_id=chosen.choice([None, 1, 2]),
            destruction_date=datetime.date(2030, 1, 1) + datetime.timedelta(days=chosen.randint(0, 2000)),
            to_central=number % 8 == 0,
        )
        for number in range(1, crates + 1)
    )
    for number in range(requests if made else 0):
        make_request(chosen, number, unit, made, members)


# What a request has been through, in order; each comes to stand somewhere on its way.
_WAYS = {
    Request.Type.STORAGE: ["Pending", "Approved", "Completed"],
    Request.Type.WITHDRAWAL: ["Pending", "Approved", "Issued", "Returned"],
    Request.Type.DESTRUCTION: ["Pending", "Approved"],
}


def make_request(chosen, number, unit, crates, members):
    kind = list(_WAYS)[number % len(_WAYS)]
    way = _WAYS[kind]
    steps = way[: 1 + number // len(_WAYS) % len(way)]
    crate = crates[number % len(crates)]
    asked = timezone.now() - datetime.timedelta(hours=chosen.randint(2, 300))
    head, keeper = members[Role.SECTION_HEAD][0], members[Role.STORE_HEAD][0]
    times = {step: asked + datetime.timedelta(minutes=20 * at) for at, step in enumerate(steps)}
    request = Request.objects.create(
        request_type=kind,
        crate=crate,
        unit=unit,
        request_date=asked,
        status="Sent Back" if steps == ["Pending"] and number % 5 == 3 else steps[-1],
        withdrawn_by=chosen.choice(members[Role.USER]),
        purpose=chosen.choice(PURPOSES),
        full_withdrawal=chosen.random() < 0.7,
        approved_by=head if "Approved" in steps else None,
        approval_date=times.get("Approved"),
        allocated_by=keeper if "Completed" in steps else None,
        allocation_date=times.get("Completed"),
        issued_by=keeper if "Issued" in steps else None,
        issue_date=times.get("Issued"),
        return_date=times.get("Returned"),
        expected_return_date=asked + datetime.timedelta(days=14) if kind == Request.Type.WITHDRAWAL else None,
    )
    if request.status == "Issued":
        Crate.objects.filter(id=crate.id).update(status=Crate.Status.WITHDRAWN)
    if request.status == "Sent Back":
        SendBack.objects.create(
            request=request, reason="Which years?", created_by=head, sendback_type=SendBack.Type.CHANGE_REQUEST
        )
