from django.contrib.postgres import fields as postgres
from django.db import models
from django.db.models.functions import Cast, Upper


class Partner(models.Model):
    """What the relations point to: by id, by a text, and by a key that is no number."""

    code = models.SlugField(unique=True)


class Ticket(models.Model):
    id = models.UUIDField(primary_key=True)


class Everything(models.Model):
    class Colour(models.TextChoices):
        RED = "r", "Red"
        GREEN = "g", "Green"

    class Size(models.IntegerChoices):
        SMALL = 1
        LARGE = 2

    id = models.BigAutoField(primary_key=True)
    flag = models.BooleanField()
    flag_or_null = models.BooleanField(null=True)
    small = models.SmallIntegerField()
    plain = models.IntegerField()
    big = models.BigIntegerField()
    positive_small = models.PositiveSmallIntegerField()
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField()
    real = models.FloatField()
    money = models.DecimalField(max_digits=12, decimal_places=2)
    whole = models.DecimalField(max_digits=30, decimal_places=0, null=True)
    precise = models.DecimalField(max_digits=60, decimal_places=30)
    short_text = models.CharField(max_length=120)
    long_text = models.TextField(null=True)
    slug = models.SlugField(max_length=80)
    email = models.EmailField()
    url = models.URLField(max_length=300)
    file = models.FileField(max_length=200)
    colour = models.CharField(max_length=1, choices=Colour.choices)
    size = models.IntegerField(choices=Size.choices, null=True)
    moment = models.DateTimeField()
    moment_or_null = models.DateTimeField(null=True)
    day = models.DateField()
    clock = models.TimeField()
    span = models.DurationField()
    span_or_null = models.DurationField(null=True)
    number = models.UUIDField()
    document = models.JSONField()
    document_or_null = models.JSONField(null=True)
    binary = models.BinaryField()
    address = models.GenericIPAddressField()
    address_or_null = models.GenericIPAddressField(null=True, protocol="IPv4")
    integers = postgres.ArrayField(models.IntegerField(null=True))
    texts = postgres.ArrayField(models.TextField(null=True), null=True)
    moments = postgres.ArrayField(models.DateTimeField())
    prices = postgres.ArrayField(models.DecimalField(max_digits=10, decimal_places=3))
    flags = postgres.ArrayField(models.BooleanField())
    numbers = postgres.ArrayField(models.UUIDField())
    reals = postgres.ArrayField(models.FloatField(null=True))
    spans = postgres.ArrayField(models.DurationField())
    matrix = postgres.ArrayField(postgres.ArrayField(models.CharField(max_length=20, null=True)))
    documents = postgres.ArrayField(models.JSONField())
    integer_range = postgres.IntegerRangeField()
    big_range = postgres.BigIntegerRangeField(null=True)
    decimal_range = postgres.DecimalRangeField()
    moment_range = postgres.DateTimeRangeField()
    day_range = postgres.DateRangeField(null=True)
    labels = postgres.HStoreField()
    partner = models.ForeignKey(Partner, models.CASCADE, null=True, related_name="+")
    partner_by_code = models.ForeignKey(Partner, models.CASCADE, to_field="code", null=True, related_name="+")
    ticket = models.OneToOneField(Ticket, models.CASCADE, null=True, related_name="+")
    parent = models.ForeignKey("self", models.SET_NULL, null=True)
    Mixed_Case = models.CharField(max_length=20)
    upper = models.GeneratedField(expression=Upper("slug"), output_field=models.TextField(), db_persist=True)
    double = models.GeneratedField(
        expression=Cast("plain", models.BigIntegerField()) * 2,
        output_field=models.BigIntegerField(),
        db_persist=True,
    )
    order = models.IntegerField()  # a word of SQL's own
    quoted = models.IntegerField(db_column="quoted")
