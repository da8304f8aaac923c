"""Everybody on every stream that they are let into, and what each of them hears of what somebody does."""

import itertools
import re

from django.db import transaction
from harness.client import Client, Closed
from store.management.commands.seed import PEOPLE
from store.models import Crate, Request, SendBack, Storage, Unit, User

NAMES = [name for name, *_ in PEOPLE]
MARKER = re.compile(r"marker (\d+)( |$)")


def marker_number(message):
    """The number in a marker's row; None: a message that somebody meant."""
    for value in (message.get("data") or {}).values():
        if isinstance(value, str) and (found := MARKER.match(value)):
            return int(found.group(1))
    return None


class Audience:
    """`heard()` gives what came since the last time, by (name, path). Nothing is missing there: it ends behind a marker.

    The markers are changes of rows of their own, one of which reaches every connection.
    """

    def __init__(self, walpush, backend):
        self.users = {user.username: user.id for user in User.objects.all()}
        self.refused = set()
        self._clients = {}
        self._numbers = itertools.count(1)
        self._make_marker_rows()
        for name, path in itertools.product(NAMES, self._paths()):
            token = backend.token(name)
            walpush.secrets.append(token)
            client = Client(walpush.port, path, token=token)
            try:
                client.established()
                self._clients[name, path] = client
            except Closed as closed:
                assert closed.code == 4403, (name, path)
                self.refused.add((name, path))

    def _paths(self):
        for unit in Unit.objects.all():
            yield from (f"/ws/{stream}/{unit.id}/" for stream in ("requests", "crates", "storage"))
        yield from (f"/ws/notifications/{user}/" for user in self.users.values())

    def _make_marker_rows(self):
        root = User.objects.get(username="root")
        units = list(Unit.objects.all())
        self._storages = [Storage.objects.create(unit=unit, room_name="marker 0") for unit in units]
        self._crates = [
            Crate.objects.create(barcode=f"marker 0 in {unit.id}", created_by=root, unit=unit, department_id=1)
            for unit in units
        ]
        self._requests = [
            Request.objects.create(
                request_type="Storage", crate=crate, unit=crate.unit, withdrawn_by_id=user, purpose="marker 0"
            )
            for user, crate in zip(self.users.values(), itertools.cycle(self._crates))
        ]

    def close(self):
        for client in self._clients.values():
            client.wire.close()

    def admitted(self):
        return set(self._clients)

    def heard(self):
        """What came on each connection on which something came."""
        number = next(self._numbers)
        self._mark(f"marker {number}")
        heard = {}
        for key, client in self._clients.items():
            messages = client.recv_until(lambda message: marker_number(message) == number)
            if told := [message for message in messages if marker_number(message) is None]:
                heard[key] = told
        return heard

    @transaction.atomic
    def _mark(self, text):
        Storage.objects.filter(id__in=[row.id for row in self._storages]).update(room_name=text)
        for crate in self._crates:
            Crate.objects.filter(id=crate.id).update(barcode=f"{text} in {crate.unit_id}")
        for request in self._requests:
            Request.objects.filter(id=request.id).update(purpose=text)
            SendBack.objects.create(
                request=request, reason=text, created_by_id=self.users["root"], sendback_type="Return Note"
            )
