"""Random rows of Everything: values of all sizes, and with some likelihood the ones at the edges."""

import datetime
import decimal
import ipaddress
import json
import math
import struct
import uuid

from django.db.backends.postgresql.psycopg_any import (
    DateRange,
    DateTimeTZRange,
    NumericRange,
)
from django.db.models import JSONField, Value

UTC = datetime.timezone.utc
# All that PostgreSQL takes in a text; what JSON, JavaScript and WebSockets are touchy about comes often.
TOUCHY = '"\\/\b\f\n\r\t\x01\x1f\x7f\x80\u00e9\u2028\u2029\ufeff\ufffd\uffff{}[]()<>&%,;\'`$NULL\U0001f600\U0010ffff '


class Generator:
    """`margin` keeps times away from the first and the last that Python knows: another zone may have no such time."""

    def __init__(self, random, margin=datetime.timedelta(0)):
        self.random = random
        self.first, self.last = datetime.datetime.min + margin, datetime.datetime.max - margin

    def row(self, partners, ticket=None, parent=None):
        """Values for all of the model's own fields."""
        one_of = self.random.choice
        return {
            "flag": self.flag(),
            "flag_or_null": one_of([True, False, None]),
            "small": self.integer(-(2**15), 2**15 - 1),
            "plain": self.integer(-(2**31), 2**31 - 1),
            "big": self.integer(-(2**63), 2**63 - 1),
            "positive_small": self.integer(0, 2**15 - 1),
            "positive": self.or_null(self.integer, 0, 2**31 - 1),
            "positive_big": self.integer(0, 2**63 - 1),
            "real": self.real(),
            "money": self.decimal(12, 2),
            "whole": self.or_null(self.decimal, 30, 0),
            "precise": self.decimal(60, 30),
            "short_text": self.text(120),
            "long_text": self.or_null(self.long_text),
            "slug": self.word("abcdefghijklmnopqrstuvwxyz0123456789-_", 1, 80),
            "email": self.word("abcdefghijklmnop.+", 1, 30) + "@example.org",
            "url": "https://example.org/" + self.word("abc/?&=#%20:", 0, 60),
            "file": "uploads/" + self.word("abcäöü 0123456789-_()", 1, 40) + ".pdf",
            "colour": one_of("rg"),
            "size": one_of([1, 2, None]),
            "moment": self.moment(),
            "moment_or_null": self.or_null(self.moment),
            "day": self.day(),
            "clock": self.clock(),
            "span": self.span(),
            "span_or_null": self.or_null(self.span),
            "number": self.uuid(),
            "document": self.stored_document(4),
            "document_or_null": self.or_null(self.stored_document, 2),
            "binary": self.random.randbytes(self.length(200)),
            "address": str(one_of([self.ipv4, self.ipv6])()),
            "address_or_null": self.or_null(lambda: str(self.ipv4())),
            "integers": self.list(self.or_null, self.integer, -(2**31), 2**31 - 1),
            "texts": self.or_null(self.list, self.or_null, self.text, 20),
            "moments": self.list(self.moment),
            "prices": self.list(self.decimal, 10, 3),
            "flags": self.list(self.flag),
            "numbers": self.list(self.uuid),
            "reals": self.list(self.or_null, self.real),
            "spans": self.list(self.span),
            "matrix": self.matrix(),
            "documents": self.list(self.document, 2),
            "integer_range": self.range(NumericRange, self.integer, -(2**31), 2**31 - 2),
            "big_range": self.or_null(self.range, NumericRange, self.integer, -(2**63), 2**63 - 2),
            "decimal_range": self.range(NumericRange, self.decimal, 24, 12),
            "moment_range": self.range(DateTimeTZRange, self.moment),
            "day_range": self.or_null(self.range, DateRange, self.day, last=datetime.date(9999, 12, 30)),
            "labels": {self.text(8): self.or_null(self.text, 8) for _ in range(self.length(4))},
            "partner_id": self.or_null(lambda: one_of(partners).id),
            "partner_by_code_id": self.or_null(lambda: one_of(partners).code),
            "ticket_id": ticket,
            "parent_id": parent,
            "Mixed_Case": self.text(20),
            "order": self.integer(0, 10),
            "quoted": self.integer(0, 10),
        }

    # --- how many, and whether at all ----------------------------------------------------------------------------

    def or_null(self, make, *args, **how):
        return None if self.random.random() < 0.2 else make(*args, **how)

    def length(self, most):
        """Mostly short, at times nothing, at times all."""
        return min(most, int(self.random.choice([0, 1, 3, self.random.expovariate(4 / most), most])))

    def list(self, make, *args):
        return [make(*args) for _ in range(self.length(6))]

    # --- numbers -------------------------------------------------------------------------------------------------

    def flag(self):
        return self.random.random() < 0.5

    def integer(self, least, most):
        edges = [least, most, 0 if least <= 0 else least, self.random.randint(least, most)]
        return self.random.choice([*edges, min(most, self.random.randint(0, 1000))])

    def decimal(self, digits, places):
        number = self.integer(-(10**digits) + 1, 10**digits - 1)
        if self.flag():
            number //= 10 ** self.random.randint(0, digits)
        return decimal.Decimal(number).scaleb(-places, decimal.Context(prec=digits))

    def real(self):
        """Any double that is a number: their bit patterns are drawn, so that all magnitudes come."""
        common = [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1e22, 5e-324, 1.7976931348623157e308, self.random.gauss(0, 1000)]
        value = struct.unpack("<d", self.random.randbytes(8))[0]
        return self.random.choice(common) if self.flag() or not math.isfinite(value) else value

    # --- texts ---------------------------------------------------------------------------------------------------

    def character(self):
        if self.flag():
            return self.random.choice(TOUCHY)
        code = self.random.choice([0x7E, 0x7FF, 0xFFFF, 0x10FFFF])
        code = self.random.randint(1, code)
        return "?" if 0xD800 <= code <= 0xDFFF else chr(code)

    def text(self, most):
        return "".join(self.character() for _ in range(self.length(most)))

    def long_text(self):
        """Now and then long enough to be stored outside of its row, where an update does not send it again."""
        return self.text(40) if self.random.random() < 0.9 else self.random.randbytes(3000).hex() + self.text(500)

    def word(self, letters, least, most):
        return "".join(self.random.choices(letters, k=self.random.randint(least, most)))

    def uuid(self):
        return uuid.UUID(bytes=self.random.randbytes(16))

    def ipv4(self):
        return ipaddress.IPv4Address(self.random.randbytes(4))

    def ipv6(self):
        groups = [self.random.choice([0, 0, self.random.getrandbits(16)]) for _ in range(8)]
        return ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))

    # --- times ---------------------------------------------------------------------------------------------------

    def microsecond(self):
        return self.random.choice([0, 1, 120000, 999999, self.random.randint(0, 999999)])

    def moment(self):
        seconds = self.random.randint(0, int((self.last - self.first).total_seconds()))
        moment = self.first + datetime.timedelta(seconds=seconds)
        if self.flag():
            moment = datetime.datetime(2025, 11, 14) + datetime.timedelta(seconds=self.random.randint(0, 10**7))
        moment = self.random.choice([self.first, self.last, moment, moment, moment])
        return moment.replace(microsecond=self.microsecond(), tzinfo=UTC)

    def day(self):
        return self.moment().date()

    def clock(self):
        clock = self.random.choice([datetime.time(0), datetime.time(23, 59, 59), self.moment().time()])
        return clock.replace(microsecond=self.microsecond())

    def span(self):
        seconds = self.random.choice([0, 1, 86399, 86400, 10**6, 10**11])
        span = datetime.timedelta(seconds=self.random.randint(0, seconds), microseconds=self.microsecond())
        return self.random.choice([span, -span])

    # --- composed ------------------------------------------------------------------------------------------------

    def document(self, depth):
        """JSON that Python and PostgreSQL read alike: numbers are Python's, and texts have no zero character."""
        leaf = [None, True, False, self.integer(-(2**63), 2**63 - 1), 2**200, self.real(), self.text(20)]
        if depth == 0 or self.flag():
            return self.random.choice(leaf)
        if self.flag():
            return self.list(self.document, depth - 1)
        return {self.text(8): self.document(depth - 1) for _ in range(self.length(4))}

    def stored_document(self, depth):
        """For Django None is SQL's NULL; JSON's own null is written like this."""
        document = self.document(depth)
        return Value(None, JSONField()) if document is None else document

    def matrix(self):
        columns = 1 + self.length(2)
        return [[self.or_null(self.text, 12) for _ in range(columns)] for _ in range(self.length(3))]

    def range(self, kind, make, *args, last=None):
        """Any of: empty, unbounded, closed and open at either end."""
        if self.random.random() < 0.1:
            return kind(empty=True)
        ends = sorted([make(*args), make(*args)])
        ends = [min(end, last) if last else end for end in ends]
        lower, upper = (None if self.random.random() < 0.15 else end for end in ends)
        return kind(lower, upper, self.random.choice(["[)", "[]", "(]", "()"]))


def as_json(text):
    """As a browser reads it, but with whole numbers exact: PostgreSQL and Python print the same double differently."""
    return json.loads(text)
