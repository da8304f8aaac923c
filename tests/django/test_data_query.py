"""A `data-query` gives what a serializer with nested objects prints, for hundreds of random requests."""

import pathlib
import random
import re

import pytest
from database import Database
from django.db import transaction
from fieldtypes.generate import Generator, as_json
from harness.walpush import Walpush, shipped_config
from rest_framework.renderers import JSONRenderer
from store.models import Crate, Request, SendBack, Storage, Unit, User
from store.serializers import RequestDetailSerializer

SQL = pathlib.Path(__file__).with_name("nested.sql")
BATCHES, BATCH = 5, 60
TIMES = ["request_date", "approval_date", "issue_date", "return_date", "expected_return_date", "allocation_date"]
PEOPLE = ["approved_by", "allocated_by", "withdrawn_by", "issued_by"]


def query():
    """On one line, as a setting is written, and without the comments."""
    return " ".join(re.sub(r"(?m)^--.*$", "", SQL.read_text()).split())


@pytest.fixture
def config():
    config = shipped_config().set("tables.requests.data-query", query())
    return config.set("listen.ping", 3600)  # the client answers when the test gets round to it


@pytest.fixture
def app(cluster, config):
    with Database(cluster, config).used_by_django() as app:
        yield app


@pytest.fixture
def client(app, config, tmp_path):
    unit, user = Unit.objects.get(unit_code="NORTH"), User.objects.get(username="asha")
    with Walpush(config, tmp_path, app) as walpush, walpush.subscribe(f"/ws/requests/{unit.id}/", user.id) as client:
        yield client


def printed(request):
    return as_json(JSONRenderer().render(RequestDetailSerializer(Request.objects.get(pk=request.pk)).data))


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.values = Generator(self.random)
        self.unit = Unit.objects.get(unit_code="NORTH")
        self.people = list(User.objects.all())
        self.places = [*Storage.objects.all(), None]

    def person(self):
        return self.random.choice(self.people)

    def crate(self, number):
        return Crate.objects.create(
            barcode=f"{number} {self.values.text(60)}",
            created_by=self.person(),
            unit=self.unit,
            creation_date=self.values.moment(),
            department_id=self.values.integer(1, 9),
            destruction_date=self.values.or_null(self.values.day),
            storage=self.random.choice(self.places),
            to_be_retained=self.values.flag(),
        )

    def request(self, crate):
        times = {name: self.values.or_null(self.values.moment) for name in TIMES[1:]}
        people = {name: self.values.or_null(self.person) for name in PEOPLE}
        return Request.objects.create(
            request_type=self.random.choice(Request.Type.values),
            status=self.random.choice(Request.Status.values),
            crate=crate,
            unit=self.unit,
            request_date=self.values.moment(),
            purpose=self.values.text(200),
            full_withdrawal=self.values.flag(),
            **times,
            **people,
        )

    def note(self, request):
        kind = self.random.choice(SendBack.Type.values)
        SendBack.objects.create(
            request=request, reason=self.values.text(80), created_by=self.person(), sendback_type=kind
        )


def test_nested_data_of_random_requests(client, seed):
    make = Maker(seed)
    for batch in range(BATCHES):
        with transaction.atomic():
            requests = [make.request(make.crate(batch * BATCH + number)) for number in range(BATCH)]
            for request in requests:
                for _ in range(make.random.choice([0, 0, 1, 3])):
                    make.note(request)
        for request, message in zip(requests, client.recv_n(BATCH)):
            assert (message["action"], message["request_id"]) == ("created", request.id)
            assert as_json(message.raw)["data"] == printed(request)

        with transaction.atomic():
            for request in requests:
                request.purpose = make.values.text(200)
                request.approved_by = make.person()
                request.save()
                make.note(request)
        for request, message in zip(requests, client.recv_n(BATCH)):
            assert (message["type"], message["request_id"]) == ("request.updated", request.id)
            assert as_json(message.raw)["data"] == printed(request)
