"""The pushed `data` is what ModelSerializer prints: for every field type, thousands of rows, on insert and on update."""

import datetime
import math
import random
import uuid

import pytest
from database import Database
from django.db import transaction
from django.utils import timezone
from fieldtypes.generate import Generator, as_json
from fieldtypes.models import Everything, Partner, Ticket
from harness.walpush import Walpush, shipped_config
from throwaway.config import Raw
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from store.models import User

ROWS, BATCH = 3000, 250


class EverythingSerializer(ModelSerializer):
    class Meta:
        model = Everything
        fields = "__all__"


@pytest.fixture
def config():
    config = shipped_config()
    config.set("listen.ping", 3600)  # the client answers when the test gets round to it
    config.set(
        "streams.everything",
        Raw(
            '{ path = "/ws/everything/"\n'
            '  admit = "SELECT 1 FROM users WHERE id = {token.user_id}"\n'
            '  groups = [ "everything" ] }'
        ),
    )
    config.set(
        "tables.fieldtypes_everything", Raw('{ type = "everything"  key = "everything_id"  groups = [ "everything" ] }')
    )
    return config


@pytest.fixture
def app(cluster, config):
    with Database(cluster, config).used_by_django() as app:
        yield app


@pytest.fixture
def walpush(app, config, tmp_path):
    with Walpush(config, tmp_path, app) as process:
        yield process


@pytest.fixture
def client(walpush):
    with walpush.subscribe("/ws/everything/", User.objects.get(username="asha").id) as client:
        yield client


def printed(rows):
    """What the API would answer for each of these rows, read from the database anew; by key."""
    found = Everything.objects.filter(pk__in=[row.pk for row in rows])
    return {row.pk: as_json(JSONRenderer().render(EverythingSerializer(row).data)) for row in found}


def assert_pushed(client, rows, kind):
    expected = printed(rows)
    assert len(expected) == len(rows)
    for row, message in zip(rows, client.recv_n(len(rows))):
        assert (message["type"], message["everything_id"]) == (f"everything.{kind}", row.pk)
        data = as_json(message.raw)["data"]
        wrong = {
            key: (data.get(key, "missing"), expected[row.pk].get(key, "not of DRF's"))
            for key in {*data, *expected[row.pk]}
            if key not in data or key not in expected[row.pk] or data[key] != expected[row.pk][key]
        }
        assert not wrong, f"row {row.pk}: pushed and printed differ: {wrong}"


def test_every_field_of_thousands_of_rows(client, seed):
    push_random_rows(client, Generator(random.Random(seed)), ROWS)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Pacific/Apia"])
class TestAnotherZone:
    """A project with a TIME_ZONE of its own, which the configuration repeats."""

    @pytest.fixture
    def config(self, config, zone):
        return config.set("data.timezone", zone)

    def test_every_field(self, client, zone, seed):
        with timezone.override(zone):
            push_random_rows(client, Generator(random.Random(seed), margin=datetime.timedelta(days=2)), 100)


def push_random_rows(client, generator, count):
    """Inserts so many, updates all of them, and compares."""
    partners = Partner.objects.bulk_create(Partner(code=f"partner-{number}") for number in range(5))
    parent = None
    for _ in range(math.ceil(count / BATCH)):
        tickets = Ticket.objects.bulk_create(Ticket(id=generator.uuid()) for _ in range(min(count, BATCH)))
        rows = [Everything(**generator.row(partners, ticket=ticket.id, parent=parent)) for ticket in tickets]
        Everything.objects.bulk_create(rows)
        assert_pushed(client, rows, "created")
        parent = rows[0].pk

        with transaction.atomic():
            for row in rows:
                change(row, generator, partners)
        assert_pushed(client, rows, "updated")


def change(row, generator, partners):
    """All of the row, or one column of it."""
    values = generator.row(partners, parent=row.parent_id)
    if generator.flag():
        name = generator.random.choice(list(values))
        values = {name: values[name]}
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=[name.removesuffix("_id") for name in values])


def test_a_large_text_that_an_update_leaves_alone(client, seed):
    """PostgreSQL does not send it again; it is taken from the old row."""
    generator = Generator(random.Random(seed))
    row = Everything(**generator.row([Partner.objects.create(code="one")], ticket=Ticket.objects.create(id=uuid.uuid4()).id))
    row.long_text = generator.random.randbytes(50_000).hex()
    row.save()
    assert_pushed(client, [row], "created")
    row.plain = 7
    row.save(update_fields=["plain"])
    assert_pushed(client, [row], "updated")
