"""Permission that ends by time, which no change tells of: `recheck` asks again."""

import contextlib
import json
import signal
import time

import pytest

from harness.app import ASHA, RAVI, SECTION_HEAD
from harness.client import PATIENCE, SLOWDOWN
from harness.walpush import patient
from throwaway.config import section

UNIT_1 = "/ws/requests/1/"
# A pass's life; the test waits for the close, however long that takes. The longer one lasts until four have come.
SOON, LATER = "2 seconds", f"{4 * SLOWDOWN} seconds"


@pytest.fixture
def passes(app, config):
    """A pass for each unit, and the time until it is good. Its changes ask nobody: time alone does."""
    app.sql("CREATE TABLE passes (user_id int, unit_id int, valid_until timestamptz)")
    config.set("membership.passes", section(ignore=True))
    app.sql("GRANT SELECT ON passes TO walpush")
    admit(config, query_of_passes(app))
    config.set("streams.requests.recheck", 1)
    return app


def admit(config, query):
    config.set("streams.requests.admit", query)


def give(app, user, unit, lasts):
    app.sql("INSERT INTO passes VALUES (%s, %s, now() + %s::interval)", user, unit, lasts)


def texts_until(client, text):
    return [text_of(m) for m in client.recv_until(lambda m: text_of(m) == text)]


def text_of(message):
    return (message.get("data") or {}).get("purpose", message["type"]).partition(" ")[2] or message["type"]


def admissions(walpush):
    return json.loads(walpush.admin("/status").body)["admissions"]


def wait_for_queries(walpush, n):
    deadline = time.monotonic() + PATIENCE
    while (now := admissions(walpush))["queries"] < n:
        assert time.monotonic() < deadline, now
        time.sleep(0.02)


# --- it ends ------------------------------------------------------------------------------------------------------------


def query_of_passes(_app):
    return "SELECT 1 FROM passes WHERE user_id = {token.user_id} AND unit_id = {path.unit_id} AND valid_until > now()"


def view_of_passes(app):
    app.sql("CREATE VIEW good_passes AS SELECT * FROM passes WHERE valid_until > clock_timestamp()")
    app.sql("GRANT SELECT ON good_passes TO walpush")
    return "SELECT 1 FROM good_passes WHERE user_id = {token.user_id} AND unit_id = {path.unit_id}"


def function_of_passes(app):
    app.sql(
        "CREATE FUNCTION public.may_pass(u int, n int) RETURNS boolean LANGUAGE sql STABLE AS"
        " 'SELECT EXISTS (SELECT 1 FROM public.passes WHERE user_id = u AND unit_id = n AND valid_until > now())'"
    )
    return "SELECT 1 WHERE public.may_pass({token.user_id}, {path.unit_id})"


def time_of_day(_app):
    return (
        "SELECT 1 FROM passes WHERE user_id = {token.user_id} AND unit_id = {path.unit_id}"
        " AND valid_until::timestamp > LOCALTIMESTAMP"
    )


def streams(app, config, *hows):
    """A stream for each way to ask for a pass; their paths in unit 1."""
    for how in hows:
        path, groups = f"/ws/{how.__name__}/<int:unit_id>/", ["requests_unit_{path.unit_id}"]
        config.set(f"streams.{how.__name__}", section(path=path, admit=how(app), groups=groups, recheck=1))
    return [f"/ws/{how.__name__}/1/" for how in hows]


def test_a_pass_that_runs_out_closes_and_one_that_does_not_misses_nothing(passes, config, make_walpush):
    paths = streams(passes, config, query_of_passes, view_of_passes, function_of_passes, time_of_day)
    with make_walpush(passes, config) as walpush, contextlib.ExitStack() as stack:
        give(passes, RAVI, 1, "1 hour")
        stay = [stack.enter_context(walpush.subscribe(path, RAVI)) for path in paths]
        give(passes, ASHA, 1, LATER)
        go = [stack.enter_context(walpush.subscribe(path, ASHA)) for path in paths]
        passes.touch(passes.request, "before")
        for path, client in zip(paths, go):
            messages, code = client.drain_to_close()
            assert ([text_of(m) for m in messages], code) == (["before"], 4403), path
        passes.touch(passes.request, "behind")
        for path, client in zip(paths, stay):
            assert texts_until(client, "behind") == ["before", "behind"], path
            with walpush.connect(path, ASHA) as again:
                assert again.close_code() == 4403, path


def test_a_group_that_ends_by_time_is_left(passes, config, make_walpush):
    admit(
        config,
        "SELECT unit_id FROM passes WHERE user_id = {token.user_id} AND valid_until > now() AND {path.unit_id}::int >= 0",
    )
    config.set("streams.requests.groups", ["requests_unit_{admit.unit_id}"])
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        give(passes, ASHA, 2, "1 hour")
        with walpush.subscribe("/ws/requests/0/", ASHA) as client:
            # An answer to a change counts from that change on; this one counts from now on.
            passes.sql("UPDATE users SET role_id = %s WHERE id = %s", SECTION_HEAD, ASHA)
            passes.touch(passes.request2, "before")
            assert texts_until(client, "before") == ["before"]
            passes.sql("UPDATE passes SET valid_until = now() + %s::interval WHERE unit_id = 1", SOON)
            passes.touch(passes.request, "before the end")
            assert texts_until(client, "resync") == ["before the end", "resync"]
            passes.touch(passes.request, "hidden")
            passes.touch(passes.request2, "behind")
            assert texts_until(client, "behind") == ["behind"]


def test_who_is_asked_again_hears_on(passes, config, make_walpush):
    """The question waits at a lock; meanwhile everything is heard, and a change of permission still stops it."""
    patient(config).set("limits.admit-timeout", 300)
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        with walpush.subscribe(UNIT_1, ASHA) as client:
            blocker = passes.connect(autocommit=False)
            with blocker.cursor() as cursor:
                cursor.execute("LOCK TABLE passes")
            passes.wait_until(
                "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'passes'::regclass AND NOT granted)"
            )
            passes.touch(passes.request, "meanwhile")
            assert texts_until(client, "meanwhile") == ["meanwhile"]
            passes.sql("UPDATE users SET is_active = false WHERE id = %s", ASHA)
            passes.touch(passes.request, "hidden")
            with blocker.cursor() as cursor:
                cursor.execute("DELETE FROM passes")
            blocker.commit()
            blocker.close()
            assert client.drain_to_close() == ([], 4403)


# --- how often ----------------------------------------------------------------------------------------------------------


def test_a_reload_turns_it_on_and_off_and_closes_nobody(passes, config, make_walpush):
    config.remove("streams.requests.recheck")
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        give(passes, RAVI, 1, "1 hour")
        with walpush.subscribe(UNIT_1, ASHA) as asha, walpush.subscribe(UNIT_1, RAVI) as ravi:
            for seconds in (1, 0, 1):
                mark = walpush.mark()
                config.set("streams.requests.recheck", seconds).write(walpush.file)
                walpush.send_signal(signal.SIGHUP)
                walpush.wait_for_log("the configuration is taken over", since=mark)
                if seconds:
                    wait_for_queries(walpush, admissions(walpush)["queries"] + 4)
            passes.touch(passes.request, "behind")
            assert texts_until(asha, "behind") == texts_until(ravi, "behind") == ["behind"]


# --- it ends, and begins again ------------------------------------------------------------------------------------------


def come_back(walpush, user, knows, epoch, path=UNIT_1):
    """A client that says what it knows, and whether it goes on there."""
    client = walpush.connect(f"{path}?since={knows}&epoch={epoch}", user)
    return client, client.recv().get("resumed", False)


def wait_until_anew(walpush, user, knows, epoch, path=UNIT_1):
    """What the client has missed grows older than `recheck`; then it does not go on behind what it knows."""
    deadline = time.monotonic() + PATIENCE
    while True:
        client, resumed = come_back(walpush, user, knows, epoch, path)
        with client:
            if not resumed:
                return
        assert time.monotonic() < deadline, "what was committed long ago is still told"


def test_what_came_between_two_passes_is_not_told(passes, config, make_walpush):
    """The first pass was seen to end, and the second begins before what lies between is older than `recheck`."""
    config.set("replay.seconds", 10)  # so that the age of a position is known to a tenth of a second
    with make_walpush(passes, config) as walpush:
        for user in (ASHA, RAVI):
            give(passes, user, 1, "1 hour")
        with walpush.subscribe(UNIT_1, RAVI) as witness:
            with walpush.subscribe(UNIT_1, ASHA) as client:
                passes.sql("UPDATE passes SET valid_until = '-infinity' WHERE user_id = %s", ASHA)
                assert client.close_code() == 4403
            passes.touch(passes.request, "between")
            assert texts_until(witness, "between") == ["between"]
        give(passes, ASHA, 1, "1 hour")
        again, resumed = come_back(walpush, ASHA, client.hello["id"], client.hello["epoch"])
        with again:
            passes.touch(passes.request, "behind")
            assert (resumed, texts_until(again, "behind")) == (False, ["resync", "behind"])


def test_nobody_resumes_across_a_time_in_which_nobody_asked(passes, config, make_walpush):
    """The pass ends and begins again while the client is away: nothing tells of it. The same for who makes up what it knows."""
    paths = streams(passes, config, query_of_passes, view_of_passes, function_of_passes)
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        hellos = []
        for path in paths:
            with walpush.subscribe(path, ASHA) as client:
                hellos.append(client.hello)
        passes.sql("UPDATE passes SET valid_until = '-infinity' WHERE user_id = %s", ASHA)
        passes.touch(passes.request, "between")
        passes.sql("UPDATE passes SET valid_until = 'infinity' WHERE user_id = %s", ASHA)
        for path, hello in zip(paths, hellos):
            wait_until_anew(walpush, ASHA, hello["id"], hello["epoch"], path)
        give(passes, RAVI, 1, "1 hour")
        for path, hello in zip(paths, hellos):
            with walpush.subscribe(path, RAVI) as newcomer:
                pass
            wait_until_anew(walpush, RAVI, hello["id"], newcomer.hello["epoch"], path)


def test_who_has_missed_nothing_resumes_however_long_it_was_away(passes, config, make_walpush):
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        with walpush.subscribe(UNIT_1, ASHA) as client:
            passes.touch(passes.request, "heard")
            last = client.recv()["id"]
        for n in range(3):
            passes.touch(passes.request2, f"another unit's {n}")
        wait_until_anew(walpush, ASHA, client.hello["id"], client.hello["epoch"])
        again, resumed = come_back(walpush, ASHA, last, client.hello["epoch"])
        with again:
            passes.touch(passes.request, "behind")
            assert (resumed, texts_until(again, "behind")) == (True, ["behind"])


def test_what_was_missed_is_told_while_it_is_young(passes, config, make_walpush):
    config.set("streams.requests.recheck", 3600)
    with make_walpush(passes, config) as walpush:
        give(passes, ASHA, 1, "1 hour")
        with walpush.subscribe(UNIT_1, ASHA) as client:
            pass
        passes.touch(passes.request, "missed")
        again, resumed = come_back(walpush, ASHA, client.hello["id"], client.hello["epoch"])
        with again:
            passes.touch(passes.request, "behind")
            assert (resumed, texts_until(again, "behind")) == (True, ["missed", "behind"])
