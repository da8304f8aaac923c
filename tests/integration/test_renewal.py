"""A renewal is an admission: a token with other claims is judged by them, and until then the one before holds.

The stream's groups and its admit query name claims. Each question waits at a door that the test may shut, an advisory lock with the
number of the unit that the token names, behind the query's snapshot.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import time

import pytest

from harness.app import ASHA, RAVI
from harness.client import PATIENCE, TEXT, Client, frame
from harness.metrics import Metrics, wait_for_metric
from harness.redis import Redis
from harness.shim import build_before_a_mutex
from harness.walpush import SIGNING_KEY, patient
from throwaway.config import Raw, section, template
from test_audit import lines_of
from test_permission import admissions, wait_for_admissions
from test_permission_races import AT_THE_DOOR, door_shut
from test_relay import Replicas

MINE = "/ws/mine/"
ADMIT = (
    "SELECT 1 FROM users u JOIN user_units m ON m.user_id = u.id WHERE u.id = {token.user_id} AND u.is_active"
    " AND m.unit_id = {token.unit}::int AND public.door({token.unit}::int, {token.role} <> 'guest')"
)
QUERIES = "walpush_admit_queries_total"
HELLO = {"type": "connection_established", "name": "{token.name}", "epoch": "{epoch}", "id": "{event_id}", "resumed": "{resumed}"}


@pytest.fixture
def doors(app, config):
    app.sql(
        "CREATE FUNCTION public.door(number int, says boolean) RETURNS boolean LANGUAGE plpgsql VOLATILE"
        " AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(number); RETURN says; END'"
    )
    app.grant(ASHA, 2)
    config.set("streams.mine", section(path=MINE, admit=ADMIT, groups=["requests_unit_{token.unit}"], hello=template(HELLO)))
    config.remove("tables.requests.lookup").set("tables.requests.groups", ["requests_unit_{unit_id}"])
    patient(config).set("limits.admit-timeout", 300)
    return app


@pytest.fixture
def start(doors, config, make_walpush):
    def start():
        walpush = make_walpush(doors, config).start()
        walpush.wait_for_log(r'msg="?live"?( |$)')
        return walpush

    return start


@pytest.fixture
def walpush(start):
    return start()


def token(walpush, unit=1, user=ASHA, **claims):
    return walpush.token(user, **{"unit": unit, "role": "clerk", "name": "Asha", **claims})


def come(walpush, unit=1, since=None, path=MINE, receive_buffer=None, **claims):
    query = f"?since={since[0]}&epoch={since[1]}" if since else ""
    client = Client(walpush.port, path + query, token=token(walpush, unit, **claims), receive_buffer=receive_buffer)
    client.hello = client.established()
    return client


def renew(walpush, client, unit=1, **claims):
    client.send_json({"type": "auth", "token": token(walpush, unit, **claims)})


def has_read(client):
    """The hub has read what was sent before. It answers nothing else meanwhile."""
    client.send_json({"type": "ping"})
    assert client.recv()["type"] == "pong"


def has_read_all(walpush, client):
    """The hub has taken what the tap had to say: it would be held there, and not at what the client says next. What it is woken for at the same
    time as by the first ping it does before it reads the second.
    """
    wait_for_admissions(walpush)
    has_read(client)
    has_read(client)


def answered(client):
    """The answer to a renewal with which nothing moved."""
    message = client.recv()
    assert message["type"] == "auth_ok", message
    return message


def moved(client, reason="membership"):
    """The answer to a renewal with other groups, and the resync behind it."""
    assert list(answered(client)) == ["type", "expires_at"], "the epoch comes with resync, or the client would resume without it"
    resync = client.recv()
    assert (resync["type"], resync["reason"]) == ("resync", reason)
    return resync


def hears(app, client, *requests):
    """Each of these is changed, and the client is told of the last first of all: of those before it, nothing."""
    for request in requests:
        app.touch(request)
    message = client.recv()
    assert message.get("request_id") == requests[-1], message


def met(app, witness, request):
    """Returns when the log has met what was committed before."""
    app.touch(request)
    witness.recv_until(lambda m: m.get("request_id") == request)


@contextlib.contextmanager
def asked(app, walpush, client, unit, **claims):
    """In the block the renewal's question is with the server, with its snapshot."""
    with door_shut(app, unit):
        renew(walpush, client, unit, **claims)
        app.wait_until(AT_THE_DOOR, 1)
        yield


# --- what a renewal costs, and does ----------------------------------------------------------------------------------


def test_the_same_claims_cost_no_query(doors, walpush):
    with come(walpush) as client:
        wait_for_admissions(walpush)
        before = admissions(walpush)
        for more in ({}, {"other": 1}, {"other": ["x"]}, {"exp": int(time.time()) + 5000}):
            renew(walpush, client, **more)
            assert list(answered(client)) == ["type", "expires_at"]
        hears(doors, client, doors.request2, doors.request)
        assert admissions(walpush) == before


def test_another_tenants_token_moves_the_connection(doors, walpush):
    with come(walpush) as client, come(walpush) as witness:
        hears(doors, client, doors.request)
        renew(walpush, client, 2)
        resync = moved(client)
        assert resync["epoch"] != client.hello["epoch"]
        assert resync["epoch"].rpartition("-")[0] == client.hello["epoch"].rpartition("-")[0]
        hears(doors, client, doors.request, doors.request2)
        met(doors, witness, doors.request)
        renew(walpush, client, 1)
        assert moved(client)["epoch"] == client.hello["epoch"], "the same claims, the same epoch"
        hears(doors, client, doors.request2, doors.request)


def test_what_the_database_does_not_allow_ends_with_4403(doors, walpush):
    for unit, claims in ((3, {}), (1, {"role": "guest"}), (2, {"role": "guest"}), ("nonsense", {})):
        with come(walpush) as client:
            renew(walpush, client, unit, **claims)
            assert client.drain_to_close() == ([], 4403), (unit, claims)
    metrics = Metrics(walpush)
    assert metrics("walpush_refusals_total", reason="forbidden") == 3
    assert metrics("walpush_refusals_total", reason="value") == 1


def test_claims_that_change_no_group_change_nothing_else(doors, walpush):
    """The role is the query's alone, the name is hello's; both are asked about, and the client learns of its new epoch."""
    with come(walpush) as client:
        wait_for_admissions(walpush)
        epochs = [client.hello["epoch"]]
        for claims in ({"role": "head"}, {"role": "head", "name": "Ravi"}, {"name": "Ravi"}):
            renew(walpush, client, **claims)
            epochs.append(answered(client)["epoch"])
            hears(doors, client, doors.request2, doors.request)
        assert len(set(epochs)) == 4
        assert Metrics(walpush)(QUERIES) == 4


def test_the_question_has_a_limit(doors, config, start):
    config.set("limits.admit-timeout", 1)
    walpush = start()
    with come(walpush) as client, asked(doors, walpush, client, 2):
        assert client.drain_to_close() == ([], 1013)


def test_a_query_that_fails_for_the_new_claims_ends_with_1013(doors, config, start):
    config.set("streams.mine.admit", ADMIT + " AND 1 / ({token.unit}::int - 2) IS NOT NULL AND u.id = {token.user_id}")
    config.set("streams.broken", section(path="/ws/broken/", admit="SELECT 1 WHERE {token.role} = 'a' OR 1 = (SELECT 1 FROM secrets)",
                                         groups=["requests_unit_{token.unit}"]))  # fmt: skip
    doors.sql("CREATE TABLE secrets AS SELECT 1")
    doors.sql("GRANT SELECT ON secrets TO walpush")
    walpush = start()
    with come(walpush, path="/ws/broken/") as client:
        doors.sql("REVOKE SELECT ON secrets FROM walpush")
        renew(walpush, client, 2)
        assert client.drain_to_close() == ([], 1013)


# --- until the answer -------------------------------------------------------------------------------------------------


def test_until_the_answer_the_old_groups_hold(doors, walpush):
    with come(walpush) as client:
        with asked(doors, walpush, client, 2):
            hears(doors, client, doors.request2, doors.request)
            hears(doors, client, doors.request2, doors.request)
        resync = moved(client)
        hears(doors, client, doors.request, doors.request2)
        assert resync["id"] > client.hello["id"]


def test_until_the_answer_the_old_expiry_holds(doors, walpush):
    with come(walpush, exp=int(time.time()) + 3) as client:
        with asked(doors, walpush, client, 2):
            assert client.drain_to_close() == ([], 4401)
    wait_for_admissions(walpush, connections=0)
    with come(walpush, exp=int(time.time()) + 3) as client:
        renew(walpush, client, 2, exp=int(time.time()) + 600)
        moved(client)
        with come(walpush, exp=int(time.time()) + 5) as other:  # whose end shows that the old expiry is over
            assert other.close_code() == 4401
        hears(doors, client, doors.request, doors.request2)


def test_a_new_expiry_may_be_the_earlier_one(doors, walpush):
    with come(walpush) as client:
        renew(walpush, client, 2, exp=int(time.time()) + 2)
        moved(client)
        assert client.close_code() == 4401


# --- the last token wins ----------------------------------------------------------------------------------------------


def test_a_second_token_replaces_the_first(doors, walpush):
    doors.grant(ASHA, 3)
    request3 = doors.insert_request(3)
    with come(walpush) as client, come(walpush) as witness:
        with door_shut(doors, 3):
            with asked(doors, walpush, client, 2):
                renew(walpush, client, 3)
                has_read(client)
                hears(doors, client, doors.request2, request3, doors.request)
            hears(doors, client, doors.request2, request3, doors.request)
        moved(client)
        hears(doors, client, doors.request, doors.request2, request3)
        met(doors, witness, doors.request)
        hears(doors, client, doors.request2, request3)


def test_the_same_claims_again_replace_the_first_without_a_query(doors, walpush):
    with come(walpush) as client, come(walpush) as witness:
        with asked(doors, walpush, client, 2):
            before = Metrics(walpush)(QUERIES)
            renew(walpush, client, 1)
            assert list(answered(client)) == ["type", "expires_at"]
        met(doors, witness, doors.request)
        assert client.recv()["request_id"] == doors.request
        hears(doors, client, doors.request2, doors.request)
        assert Metrics(walpush)(QUERIES) == before


def test_the_no_of_a_replaced_token_ends_nothing(doors, walpush):
    with come(walpush) as client, come(walpush) as witness:
        with asked(doors, walpush, client, 2, role="guest"):
            renew(walpush, client, 2, role="head")
            has_read(client)
        moved(client)
        met(doors, witness, doors.request)
        hears(doors, client, doors.request, doors.request2)


def test_the_yes_of_a_replaced_token_admits_to_nothing(doors, walpush):
    """The token that replaces it is refused."""
    with come(walpush) as client:
        with asked(doors, walpush, client, 2):
            renew(walpush, client, 1, role="guest")
            has_read(client)
        assert client.drain_to_close() == ([], 4403)


def auth_frame(text):
    return frame(TEXT, json.dumps({"type": "auth", "token": text}).encode())


def test_two_tokens_in_one_segment(doors, walpush):
    """The hub has read both before it hears of an answer, however early that was: one answer comes, about the second."""
    for first, second in 10 * [(2, 1), (1, 2), (3, 2), (3, 1), (2, 2)]:
        request, other = (doors.request, doors.request2) if second == 1 else (doors.request2, doors.request)
        with come(walpush) as client:
            client.wire.send(b"".join(auth_frame(token(walpush, unit)) for unit in (first, second)))
            answers = 2 if first == 1 else 1  # the same claims as before are answered at once
            messages = [m for _ in range(answers) for m in client.recv_until(lambda m: m["type"] == "auth_ok")]
            doors.touch(other)
            doors.touch(request)
            messages += client.recv_until(lambda m: m.get("request_id") == request)
            assert [m["type"] for m in messages].count("auth_ok") == answers, (first, second)
            assert [m["request_id"] for m in messages if "request_id" in m] == [request], (first, second)


def test_a_bad_token_behind_an_open_question_closes(doors, walpush):
    for bad in ({"user": RAVI}, {"key": "wrong-key-wrong-key-wrong-key-32"}, {"role": None}):
        with come(walpush) as client, asked(doors, walpush, client, 2):
            renew(walpush, client, 1, **bad)
            assert client.drain_to_close() == ([], 4401), bad
        wait_for_admissions(walpush, connections=0)


def test_a_second_token_before_the_first_is_answered_at_all(doors, walpush):
    """The connection is not admitted yet, and comes in by the second."""
    with Client(walpush.port, MINE) as client, come(walpush, 2) as witness:
        with door_shut(doors, 1):
            client.send_json({"type": "auth", "token": token(walpush, 1, role="guest")})
            doors.wait_until(AT_THE_DOOR, 1)
            client.send_json({"type": "auth", "token": token(walpush, 2, name="Second")})
            has_read(client)
            met(doors, witness, doors.request2)
        hello = client.recv()
        assert (hello["type"], hello["name"]) == ("connection_established", "Second")
        assert hello["epoch"] != witness.hello["epoch"]
        assert list(client.recv()) == ["type", "expires_at"]
        hears(doors, client, doors.request, doors.request2)


# --- permission changes meanwhile --------------------------------------------------------------------------------------


def test_an_answer_from_before_a_revocation_does_not_count(doors, walpush):
    with come(walpush) as client, come(walpush, user=RAVI) as witness:
        with asked(doors, walpush, client, 2):
            doors.revoke(ASHA, 2)
            met(doors, witness, doors.request)
        messages, code = client.drain_to_close()
        assert code == 4403
        assert {m["type"] for m in messages} <= {"resync", "request.updated"}, "of the unit that it is still in"


def test_nothing_of_a_group_is_heard_behind_its_revocation(doors, walpush):
    """What was revoked is the unit of the token in force; the new one is good."""
    with come(walpush) as client, come(walpush, user=RAVI) as witness:
        with asked(doors, walpush, client, 2):
            hears(doors, client, doors.request)
            doors.revoke(ASHA, 1)
            met(doors, witness, doors.request)
        moved(client)
        hears(doors, client, doors.request, doors.request2)


def test_a_change_that_changes_nothing_is_waited_for(doors, walpush):
    """Revoked and granted again while the question is open: the first answer is void, the second one admits.

    The question about the token in force waits for the one that is open, because it is the same user's. So it knows both changes, and what lies
    between them is a resync.
    """
    with come(walpush) as client, come(walpush, user=RAVI) as witness:
        with asked(doors, walpush, client, 2):
            doors.revoke(ASHA, 2)
            met(doors, witness, doors.request)
            doors.grant(ASHA, 2)
            met(doors, witness, doors.request)
        assert client.recv()["reason"] == "membership"
        assert client.recv()["request_id"] == doors.request  # after the second change
        moved(client)
        hears(doors, client, doors.request, doors.request2)


def test_the_old_claims_again_do_not_undo_a_revocation(doors, walpush):
    """The token in force was answered before the change: what asks about it since then goes on, whatever its expiry is now."""
    with come(walpush) as client, come(walpush, user=RAVI) as witness:
        with asked(doors, walpush, client, 2):
            doors.revoke(ASHA, 1)
            met(doors, witness, doors.request)
            read = Metrics(walpush)("walpush_client_messages_total")
            renew(walpush, client, 1)
            wait_for_metric(walpush, read + 1, "walpush_client_messages_total")
        messages, code = client.drain_to_close()
        # The no may come before the second token does: then that is asked about as well.
        assert [m["type"] for m in messages] in (["auth_ok"], []) and code == 4403


# --- what the tap says while a newer token is on its way to it ----------------------------------------------------------

# For as long as the one file is there; the other one says so.
HUBS_THAT_WAIT = r"""
	while (access(getenv("HUBS_WAIT"), F_OK) == 0) {
		close(open(getenv("HUBS_ARE_WAITING"), O_CREAT | O_WRONLY, 0600));
		usleep(1000);
	}
"""


class Hubs:
    """Stands between the hub and the tap: what the one has to say waits, and what the other says is not read."""

    def __init__(self, directory):
        self.wait, self.waiting = directory / "wait", directory / "waiting"
        self.env = {**build_before_a_mutex(directory, HUBS_THAT_WAIT), "HUBS_WAIT": str(self.wait), "HUBS_ARE_WAITING": str(self.waiting)}

    def hold(self):
        self.wait.touch()

    def wait_until_held(self):
        deadline = time.monotonic() + PATIENCE
        while not self.waiting.exists():
            assert time.monotonic() < deadline, "the hub has nothing to say"
            time.sleep(0.005)

    def release(self):
        self.wait.unlink()


UNITS_OF_THE_USER = (
    "SELECT m.unit_id FROM users u JOIN user_units m ON m.user_id = u.id WHERE u.id = {token.user_id} AND u.is_active"
    " AND public.door({token.unit}::int, true)"
)


@pytest.fixture
def hubs(tmp_path):
    return Hubs(tmp_path)


@pytest.fixture
def start_with_hubs(doors, config, make_walpush, hubs):
    """Groups are the units of the user; a claim names the door alone."""
    config.set("streams.mine", section(path=MINE, admit=UNITS_OF_THE_USER, groups=["requests_unit_{admit.unit_id}"]))
    config.set("listen.threads", 1).set("log.level", "debug")
    return lambda: make_walpush(doors, config, env=hubs.env)


@pytest.fixture
def crossing(doors, start_with_hubs, hubs):
    """(walpush, a client of units 1 and 2 whose second token was granted while the hub had read a third, the third's door)

    The hub does not take what it is told of the second, and the tap learns only then that it has read the third. What happens between is
    the argument's. In the block the third's question waits until its door is closed as a context.
    """

    @contextlib.contextmanager
    def crossing(meanwhile=lambda walpush: None):
        with start_with_hubs() as walpush, come(walpush, 11) as client:
            has_read_all(walpush, client)
            with contextlib.ExitStack() as door:
                door.enter_context(door_shut(doors, 13))
                with asked(doors, walpush, client, 12):
                    hubs.hold()
                    renew(walpush, client, 13)
                    hubs.wait_until_held()
                walpush.wait_for_log("renewed with other claims")
                meanwhile(walpush)
                hubs.release()
                doors.wait_until(AT_THE_DOOR, 1)
                yield walpush, client, door

    return crossing


@pytest.mark.plain(reason="a sanitizer's library must be the first")
def test_groups_that_the_hub_did_not_take_are_told_with_the_next_token(doors, crossing):
    request3 = doors.insert_request(3)
    with crossing() as (walpush, client, door):
        mark = walpush.mark()
        doors.grant(ASHA, 3)
        walpush.wait_for_log("permission changes", since=mark)
        door.close()
        walpush.wait_for_log("admitted anew", since=mark)
        moved(client)
        hears(doors, client, request3)
        hears(doors, client, doors.request2)


@pytest.mark.plain(reason="a sanitizer's library must be the first")
def test_a_limit_is_not_lifted_by_what_the_hub_does_not_take(doors, crossing):
    """Revoked, told of, and changed once more, all of it said of the token that the hub did not take."""

    def meanwhile(walpush):
        for change in (lambda: doors.revoke(ASHA, 2), lambda: doors.grant(ASHA, 3)):
            mark = walpush.mark()
            change()
            walpush.wait_for_log("admitted anew", since=mark)
            doors.touch(doors.request2)

    with crossing(meanwhile) as (_, client, door):
        doors.touch(doors.request2)
        door.close()
        moved(client)
        hears(doors, client, doors.request2, doors.request)


@pytest.mark.plain(reason="a sanitizer's library must be the first")
def test_what_came_while_it_was_denied_is_not_told(doors, start_with_hubs, hubs):
    """The hub has read the next token, so it does not end by the no. That token's yes is from after a grant of the same groups."""
    with start_with_hubs() as walpush, come(walpush, 11) as client:
        has_read_all(walpush, client)
        hubs.hold()
        renew(walpush, client, 12)
        hubs.wait_until_held()
        mark = walpush.mark()
        doors.sql("DELETE FROM user_units WHERE user_id = %s", ASHA)
        walpush.wait_for_log("not admitted any more", since=mark)
        doors.touch(doors.request)
        mark = walpush.mark()
        doors.sql("INSERT INTO user_units (user_id, unit_id, created_at) VALUES (%s, 1, now()), (%s, 2, now())", ASHA, ASHA)
        walpush.wait_for_log("permission changes", since=mark)
        hubs.release()
        moved(client)
        hears(doors, client, doors.request2)
        hears(doors, client, doors.request)


# --- since, and the epoch -----------------------------------------------------------------------------------------------


def test_since_under_other_claims_is_a_resync(doors, walpush):
    with come(walpush) as client:
        doors.touch(doors.request)
        since = (client.recv()["id"], client.hello["epoch"])
    doors.touch(doors.request)
    doors.touch(doors.request2)
    with come(walpush, since=since) as client:
        assert client.hello["resumed"] is True
        assert client.recv()["request_id"] == doors.request
    for unit, claims in ((2, {}), (1, {"role": "head"}), (1, {"name": "Ravi"})):
        with come(walpush, unit, since=since, **claims) as client:
            assert client.hello["resumed"] is False
            resync = client.recv()
            assert (resync["type"], resync["reason"]) == ("resync", "history")
            assert resync["epoch"] == client.hello["epoch"] != since[1]


def test_an_epoch_without_the_claims_is_a_resync(doors, walpush):
    with come(walpush) as client:
        stream = client.hello["epoch"].rpartition("-")[0]
        for epoch in (stream, stream + "-", stream + "-" + "0" * 16, client.hello["epoch"] + "0"):
            with come(walpush, since=(client.hello["id"], epoch)) as again:
                assert again.hello["resumed"] is False
                assert again.recv()["reason"] == "history"


def test_what_a_renewal_tells_resumes(doors, walpush):
    """The epoch of auth_ok, where nothing moved, and that of resync, where groups did."""
    with come(walpush) as client:
        renew(walpush, client, 1, name="Ravi")
        epoch = answered(client)["epoch"]
        doors.touch(doors.request)
        since = client.recv()["id"]
    doors.touch(doors.request)
    with come(walpush, since=(since, epoch), name="Ravi") as client:
        assert client.hello["resumed"] is True and client.hello["epoch"] == epoch
        assert client.recv()["request_id"] == doors.request
        renew(walpush, client, 2)
        resync = moved(client)
    doors.touch(doors.request2)
    with come(walpush, 2, since=(resync["id"], resync["epoch"])) as client:
        assert client.hello["resumed"] is True
        assert client.recv()["request_id"] == doors.request2
    with come(walpush, 2, since=(resync["id"], epoch)) as client:
        assert client.hello["resumed"] is False


def test_a_resync_of_a_group_bears_the_epoch_of_each_receiver(doors, walpush):
    names = ("Asha", "Ravi", "Meena")
    clients = [come(walpush, name=name) for name in names]
    plain = walpush.subscribe("/ws/requests/1/", ASHA)
    doors.sql("TRUNCATE requests CASCADE")
    told = [client.recv() for client in clients]
    assert [m["reason"] for m in told] == ["truncate"] * 3
    assert len({m["id"] for m in told}) == 1
    assert [m["epoch"] for m in told] == [client.hello["epoch"] for client in clients]
    assert len({m["epoch"] for m in told}) == 3
    assert plain.recv()["epoch"] == plain.hello["epoch"]
    request = doors.insert_request(1)
    for name, message in zip(names, told):
        with come(walpush, since=(message["id"], message["epoch"]), name=name) as client:
            assert client.hello["resumed"] is True
            assert client.recv()["request_id"] == request


def test_a_resync_behind_a_renewal_bears_the_new_epoch(doors, walpush):
    with come(walpush) as client:
        renew(walpush, client, 1, name="Ravi")
        epoch = answered(client)["epoch"]
        doors.sql("TRUNCATE requests CASCADE")
        assert client.recv()["epoch"] == epoch


def test_replicas_agree_on_the_epoch(doors, config, make_walpush):
    """Whoever holds the slot and whoever reads of Redis write the same resync for a client, and continue each other's."""
    with Redis() as redis:
        replicas = Replicas(make_walpush, doors, config, redis, n=2)
        with come(replicas.all[0]) as one, come(replicas.all[1]) as two, come(replicas.all[1], name="Ravi") as third:
            assert one.hello["epoch"] == two.hello["epoch"] != third.hello["epoch"]
            doors.sql("TRUNCATE requests CASCADE")
            told = [client.recv() for client in (one, two, third)]
            assert [m["epoch"] for m in told] == [c.hello["epoch"] for c in (one, two, third)]
            request = doors.insert_request(1)
            for client in (one, two, third):
                assert client.recv()["request_id"] == request
            for walpush in reversed(replicas.all):
                with come(walpush, since=(told[0]["id"], told[0]["epoch"])) as again:
                    assert again.hello["resumed"] is True
                    assert again.recv()["request_id"] == request
            renew(replicas.all[1], two, 2)
            moved(two)
            hears(doors, two, doors.insert_request(1), doors.insert_request(2))


# --- a message that closes ----------------------------------------------------------------------------------------------


def test_a_close_that_is_unread_when_the_groups_change_still_closes(doors, config, start):
    config.set("limits.group-bytes", "64 MiB").set("limits.row-bytes", "1 MiB")
    config.set(
        "tables.ends",
        section(
            **{"from": "crates"},
            groups=["requests_unit_{unit_id}"],
            only_actions=True,
            actions=Raw('{ gone = { column = "status"  becomes = "Destroyed" } }'),
            message=template({"type": "end"}),
            close=4000,
        ),
    )
    walpush = start()
    with come(walpush, receive_buffer=4096) as slow:
        for _ in range(60):
            doors.sql("UPDATE requests SET purpose = repeat('x', 200000 + length(purpose) %% 2) WHERE id = %s", doors.request)
        wait_for_metric(walpush, 1, "walpush_readers_behind")
        with come(walpush) as witness:
            doors.sql("UPDATE crates SET status = 'Destroyed' WHERE id = %s", doors.crate)
            assert witness.drain_to_close()[1] == 4000
        renew(walpush, slow, 2)
        walpush.wait_for_log('msg="renewed with other claims".* moved=true')
        messages, code = slow.drain_to_close()
        assert code == 4000 and "end" not in [m["type"] for m in messages]


# --- claims that are no values -------------------------------------------------------------------------------------------

NO_VALUES = [None, [], ["clerk"], {}, {"a": 1}, [None]]  # None: the claim is absent


def forged(walpush, raw):
    """A token whose `role` is this JSON text, spelled as it stands here."""
    body = json.dumps({"token_type": "access", "exp": int(time.time()) + 900, "user_id": ASHA, "unit": 1, "name": "Asha"})
    parts = ['{"alg":"HS256","typ":"JWT"}', body[:-1] + f', "role": {raw}}}']
    text = ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts)
    mac = hmac.new(SIGNING_KEY.encode(), text.encode(), hashlib.sha256).digest()
    return text + "." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def test_a_claim_that_is_no_value_is_4401(doors, config, make_walpush, tmp_path):
    """Also where only groups, hello or resync name it, at connect and at renewal; a query that tests for NULL admits nobody by it."""
    config.set("audit.file", str(tmp_path / "audit"))
    streams = {
        "admit": dict(admit="SELECT 1 WHERE {token.role}::text IS NULL OR {token.role}::text = 'clerk'", groups=["requests_unit_1"]),
        "groups": dict(admit="SELECT 1", groups=["requests_unit_1", "role_{token.role}"]),
        "hello": dict(admit="SELECT 1", groups=["requests_unit_1"], hello=template({**HELLO, "name": "{token.role}"})),
        "resync": dict(admit="SELECT 1", groups=["requests_unit_1"], resync=template({"type": "again", "as": "{token.role}"})),
    }
    config.remove("streams.mine")
    for where, of in streams.items():
        config.set(f"streams.by_{where}", section(path=f"/ws/{where}/", **of))
    walpush = make_walpush(doors, config).start()
    for path in (f"/ws/{where}/" for where in streams):
        for value in NO_VALUES:
            with Client(walpush.port, path, token=token(walpush, role=value)) as client:
                assert client.drain_to_close() == ([], 4401), (path, value)
            with Client(walpush.port, path) as client:
                client.send_json({"type": "auth", "token": token(walpush, role=value)})
                assert client.drain_to_close() == ([], 4401), (path, value)
            with come(walpush, path=path) as client:
                renew(walpush, client, role=value)
                assert client.drain_to_close() == ([], 4401), (path, value)
        with Client(walpush.port, path, token=forged(walpush, "null")) as client:
            assert client.close_code() == 4401, path
    came = len(streams) * len(NO_VALUES)
    refused = 3 * came + len(streams)
    assert Metrics(walpush)("walpush_refusals_total", reason="claim") == refused
    walpush.wait_for_log("reason=claim claim=role")
    lines = [line for line in lines_of(tmp_path / "audit", refused + came) if line["audit"] == "refused"]
    assert {(line["code"], line["reason"]) for line in lines} == {(4401, "claim")} and len(lines) == refused


def test_a_claim_that_the_stream_does_not_name_may_be_anything(doors, walpush):
    for value in NO_VALUES:
        with come(walpush, other=value) as client:
            renew(walpush, client, other={"x": value})
            answered(client)


def test_numbers_are_bound_as_the_token_spells_them(doors, config, make_walpush):
    spellings = ("1.5", "1.50", "-0.25", "15e-1", "1.0", "0.1")
    for at, raw in enumerate(spellings):
        config.set(f"streams.spelled_{at}", section(path=f"/ws/spelled/{at}/",
                                                    admit="SELECT 1 WHERE {token.role}::text = '" + raw + "' AND {token.role}::numeric < 2",
                                                    groups=["requests_unit_{token.role}", "requests_unit_{token.unit}"],
                                                    hello=template({**HELLO, "name": "{token.role}"})))  # fmt: skip
    walpush = make_walpush(doors, config).start()
    for at, raw in enumerate(spellings):
        with Client(walpush.port, f"/ws/spelled/{at}/", token=forged(walpush, raw)) as client:
            assert client.established()["name"] == raw
            doors.touch(doors.request)
            assert client.recv()["request_id"] == doors.request, raw
            client.send_json({"type": "auth", "token": forged(walpush, raw)})
            assert list(answered(client)) == ["type", "expires_at"], raw
            client.send_json({"type": "auth", "token": forged(walpush, raw + "1")})
            assert client.drain_to_close() == ([], 4403), raw
