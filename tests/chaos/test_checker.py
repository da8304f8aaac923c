"""The checker finds each kind of violation, and finds none where there is none."""

import pytest
from checker import SKIPPED, TRUNCATED, Bulk, Gone, Hello, Id, Notice, Resync, Seen, Truth, check

U1, U2 = frozenset({"requests_unit_1"}), frozenset({"requests_unit_2"})
BEGIN = Hello(Id(50, 0), False, None)


def notice(commit, order, uid, groups=U1, op="updated", key=7, type="request"):
    return Notice(commit, order, type, op, key, uid, groups)


def seen(commit, index, uid, op="updated", key=7, type="request"):
    return Seen(Id(commit, index), type, op, key, uid)


# Three commits; the second has a row of the other unit between ours.
NOTICES = [
    notice(100, 1, 11),
    notice(200, 1, 21),
    notice(200, 2, 22, groups=U2, key=8),
    notice(200, 3, 23),
    notice(300, 1, 31, op="deleted"),
]
M1, M2, M4, M5 = seen(100, 1, 11), seen(200, 1, 21), seen(200, 3, 23), seen(300, 1, None, op="deleted")


def kinds(*history, notices=NOTICES, groups=U1, large=(200,), end=None, replicas=False):
    truth = Truth(notices, large, end, replicas)
    return sorted(v.kind for v in check([("client", groups, list(history))], truth).violations)


def test_everything_once_and_in_order():
    assert kinds(BEGIN, M1, M2, M4, M5) == []


def test_what_was_committed_before_the_first_hello_is_not_owed():
    assert kinds(Hello(Id(200, 0), False, None), M2, M4, M5) == []


def test_what_comes_behind_the_end_is_not_owed_and_not_wrong():
    assert kinds(BEGIN, M1, M2, M4, end=300) == []
    assert kinds(BEGIN, M1, M2, M4, M5, end=300) == []
    assert kinds(BEGIN, M1, M2, M4, M5, M5, end=300) == ["duplicated"]
    assert kinds(BEGIN, M1, M2, M4, end=301) == ["lost"]


def test_a_client_that_was_never_admitted():
    assert kinds(Gone(1006)) == ["lost"]


@pytest.mark.parametrize("missing", [M1, M2, M4, M5])
def test_lost(missing):
    assert kinds(BEGIN, *(m for m in (M1, M2, M4, M5) if m != missing)) == ["lost"]


def test_lost_where_the_stream_was_to_be_complete():
    assert kinds(Hello(Id(200, 0), False, None), M4, M5) == ["lost"]


@pytest.mark.parametrize("again", [M1, M2, M4, M5])
def test_duplicated(again):
    assert kinds(BEGIN, M1, M2, M4, M5, again) == ["duplicated"]


def test_duplicated_under_another_id():
    assert kinds(BEGIN, M1, M2, M4, seen(200, 4, 23), M5) == ["duplicated"]


def test_out_of_order_across_commits():
    assert kinds(BEGIN, M2, M4, M1, M5) == ["out of order"]


def test_out_of_order_within_a_commit():
    assert kinds(BEGIN, M1, M4, M2, M5) == ["out of order"]


def test_out_of_order_although_the_ids_grow():
    assert kinds(BEGIN, M1, seen(200, 1, 23), seen(200, 2, 21), M5) == ["out of order"]


def test_leaked():
    assert kinds(BEGIN, M1, M2, seen(200, 2, 22, key=8), M4, M5) == ["leaked"]


def test_leaked_by_its_key_alone():
    assert kinds(BEGIN, M1, M2, seen(200, 2, None, key=8), M4, M5) == ["leaked"]


def test_uncommitted_change():
    assert kinds(BEGIN, M1, M2, seen(200, 2, 99), M4, M5) == ["uncommitted"]


def test_uncommitted_transaction():
    assert kinds(BEGIN, M1, seen(150, 1, 99), M2, M4, M5) == ["uncommitted"]


def test_a_change_told_as_something_else():
    assert kinds(BEGIN, M1, M2, M4, seen(300, 1, None, op="moved")) == ["lost", "uncommitted"]


# --- connections ---------------------------------------------------------------------------------------------------


def test_a_resumed_history_continues():
    assert kinds(BEGIN, M1, M2, Gone(1006), Hello(M2.id, True, M2.id), M4, M5) == []


def test_lost_while_away():
    assert kinds(BEGIN, M1, M2, Gone(1006), Hello(M2.id, True, M2.id), M5) == ["lost"]


def test_resumed_elsewhere():
    assert kinds(BEGIN, M1, M2, Gone(1006), Hello(M1.id, True, M2.id), M4, M5) == ["broken resume"]


def test_resumed_from_what_was_never_seen():
    assert kinds(BEGIN, M1, M2, Gone(1006), Hello(Id(150, 1), True, Id(150, 1)), M4, M5) == ["broken resume"]


def test_a_message_before_the_hello():
    assert "broken resume" in kinds(M1, BEGIN, M2, M4, M5)


def test_a_hello_that_does_not_resume_covers_what_was_before_it():
    assert kinds(BEGIN, M1, Gone(1006), Hello(Id(300, 0), False, M1.id), M5) == []


def test_but_not_what_comes_behind_it():
    assert kinds(BEGIN, M1, Gone(1006), Hello(Id(300, 0), False, M1.id)) == ["lost"]


def test_what_was_seen_does_not_come_again_after_a_new_start():
    assert kinds(BEGIN, M1, Gone(1006), Hello(Id(100, 0), False, None), M1, M2, M4, M5) == ["duplicated"]


def test_another_replica_may_be_further_back():
    back = Hello(Id(200, 0), False, None)
    assert kinds(BEGIN, M1, M2, M4, Gone(1006), back, M2, M4, M5, replicas=True) == []
    assert kinds(BEGIN, M1, M2, M4, Gone(1006), back, M2, M2, M4, M5, replicas=True) == ["duplicated"]
    assert kinds(BEGIN, M1, M2, M4, Gone(1006), back, M1, M2, M4, M5, replicas=True) == ["duplicated"]
    resumed = Hello(M4.id, True, M4.id)
    assert kinds(BEGIN, M1, M2, M4, Gone(1006), resumed, M4, M5, replicas=True) == ["duplicated"]


# --- resync and bulk -----------------------------------------------------------------------------------------------


def test_a_resync_covers_what_was_before_it():
    assert kinds(BEGIN, M1, Resync(Id(300, 0), "history"), M5) == []


def test_a_resync_before_a_commit_does_not_cover_it():
    assert kinds(BEGIN, M1, Resync(Id(200, 0), "history"), M5) == ["lost", "lost"]


def test_a_resync_within_a_commit_covers_all_of_it():
    assert kinds(BEGIN, M1, Resync(Id(200, 1), "lookup"), M5) == []


def test_a_row_that_was_stepped_over_is_covered_as_all_of_its_commit():
    skipped = Resync(Id(200, (1 << 31) - 1), SKIPPED)
    assert kinds(BEGIN, M1, skipped, M5) == []
    assert kinds(BEGIN, M1, M2, skipped, M5) == []
    assert kinds(BEGIN, M1, Gone(1006), Hello(skipped.id, True, M1.id), M5) == ["broken resume", "lost", "lost"]
    assert kinds(BEGIN, M1, skipped, Gone(1006), Hello(skipped.id, True, skipped.id), M5) == []
    assert kinds(BEGIN, M1, skipped, M2, M5) == ["out of order"]
    assert kinds(BEGIN, M1, skipped) == ["lost"]
    assert kinds(BEGIN, M1, Resync(Id(200, 0), SKIPPED), M5) == ["lost", "lost"]


def test_only_a_large_row_is_stepped_over():
    skipped = Resync(Id(200, (1 << 31) - 1), SKIPPED)
    assert kinds(BEGIN, M1, skipped, M5, large=(100, 300)) == ["unfounded"]
    assert kinds(BEGIN, M1, Resync(Id(201, 0), SKIPPED), M5, large=()) == []


def test_a_resync_in_the_log_keeps_its_place():
    assert kinds(BEGIN, M1, M2, M4, Resync(Id(100, 2), "lookup"), M5) == ["out of order"]


def test_messages_between_a_hello_and_the_resync_beside_it():
    assert kinds(Hello(Id(100, 0), False, Id(10, 1)), Resync(Id(250, 0), "history"), M1, M2, M4, M5) == []


def test_truncate_is_a_resync():
    truncate = [notice(150, 1, None, groups=frozenset({"requests_unit_"}), op=TRUNCATED, key=None)]
    assert kinds(BEGIN, M1, M2, M4, M5, notices=NOTICES + truncate) == ["lost"]
    assert kinds(BEGIN, M1, Resync(Id(150, 1), "truncate"), M2, M4, M5, notices=NOTICES + truncate) == []


def test_a_bulk_stands_for_its_commit_and_type():
    assert kinds(BEGIN, M1, Bulk(Id(200, 2), "request", 2), M5) == []
    assert kinds(BEGIN, M1, M2, Bulk(Id(200, 2), "request", 1), M5) == []
    assert kinds(BEGIN, M1, Bulk(Id(200, 2), "crate", 0), M5) == ["lost", "lost"]
    assert kinds(BEGIN, Bulk(Id(200, 2), "request", 2), M5) == ["lost"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_bulk_that_counts_wrong(count):
    assert kinds(BEGIN, M1, Bulk(Id(200, 2), "request", count), M5) == ["miscounted"]


def test_a_bulk_twice():
    assert kinds(BEGIN, M1, *[Bulk(Id(200, 2), "request", 2)] * 2, M5) == ["duplicated"]


def test_a_bulk_of_nothing_committed():
    assert kinds(BEGIN, M1, Bulk(Id(150, 1), "request", 0), M2, M4, M5) == ["uncommitted"]


# --- several of a kind ---------------------------------------------------------------------------------------------


def test_rows_alike_are_told_apart_by_their_order():
    alike = [notice(100, 1, 11), notice(100, 2, 12)]
    first, second = seen(100, 1, None), seen(100, 2, None)
    assert kinds(BEGIN, first, second, notices=alike) == []
    assert kinds(BEGIN, first, notices=alike) == ["lost"]
    assert kinds(BEGIN, first, second, seen(100, 3, None), notices=alike) == ["duplicated"]


def test_a_message_for_two_groups_of_one_client_comes_once():
    both = [notice(100, 1, 11, groups=U1 | U2)]
    assert kinds(BEGIN, M1, notices=both, groups=U1 | U2) == []
    assert kinds(BEGIN, M1, M1, notices=both, groups=U1 | U2) == ["duplicated"]


def test_what_a_group_may_get_is_not_owed_but_comes_once():
    perhaps = [notice(100, 1, 11, groups=U2)._replace(may=U1), NOTICES[1]]
    assert kinds(BEGIN, M1, M2, notices=perhaps) == []
    assert kinds(BEGIN, M2, notices=perhaps) == []
    assert kinds(BEGIN, M1, M1, M2, notices=perhaps) == ["duplicated"]
    assert kinds(BEGIN, M2, M1, notices=perhaps) == ["out of order"]
    assert kinds(BEGIN, M2, notices=perhaps, groups=U2) == ["leaked", "lost"]


def test_a_bulk_may_count_what_a_group_may_get():
    perhaps = [notice(100, 1, 11), notice(100, 2, 12, groups=U2)._replace(may=U1)]
    for count, wrong in ((0, ["miscounted"]), (1, []), (2, []), (3, ["miscounted"])):
        assert kinds(BEGIN, Bulk(Id(100, 1), "request", count), notices=perhaps) == wrong


def test_one_change_has_one_id():
    histories = [("a", U1, [BEGIN, M1]), ("b", U1, [BEGIN, seen(100, 2, 11)])]
    assert [v.kind for v in check(histories, Truth(NOTICES[:1])).violations] == ["renumbered"]


def test_what_was_delivered_and_what_was_refetched_are_counted():
    histories = [("a", U1, [BEGIN, M1, Resync(Id(200, 1), "lookup"), M5]), ("b", U1, [BEGIN, M1, M2, M4, M5])]
    verdict = check(histories, Truth(NOTICES))
    assert (verdict.violations, verdict.delivered, verdict.refetched) == ([], 6, 2)


def test_ids_are_read_and_written_alike():
    assert Id.parse("1/16B3748-2") == Id(0x1_016B3748, 2)
    assert str(Id.parse("1/16B3748-2")) == "1/16B3748-2"
