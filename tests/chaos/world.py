"""The database of the chaos test: people, anchors, triggers that number and record each change, the truth at the end.

Each change of a listed table gets a number of its own, the uid, which a BEFORE trigger writes into a text column of the
row; an AFTER trigger records the change in chaos_audit, in the same transaction. A logical slot of the test's own, made
before the first write, tells at the end which of these were committed, in which order, with the LSN of their commit.
"""

import json
from typing import NamedTuple

from checker import TRUNCATED, Id, Notice

from harness.app import ASHA, BOB, HEAD2, MEENA, RAVI, ROOT_USER, SAM, SECTION_HEAD

CENTRAL = 3
UNITS = (1, 2, CENTRAL, 4)
LARGE = 60_000  # characters of a row, old and new: what the plugin prints of it may pass limits.record-bytes
HEAD4, DEV = 104, 105  # of unit 4: Section Head, user


class Table(NamedTuple):
    type: str
    uid: str  # the column that holds the uid
    unit: str  # SQL of the unit, of NEW or OLD
    ref: str  # SQL of what the lookup asks about


TABLES = {
    "requests": Table("request", "request_type", "{}.unit_id", "{}.crate_id"),
    "crates": Table("crate", "barcode", "{}.unit_id", "NULL"),
    "storages": Table("storage", "shelf_name", "{}.unit_id", "NULL"),
    "sendbacks": Table("sendback", "sendback_type", "NULL", "{}.request_id"),
}
GROUP = {"requests": "requests_unit_", "crates": "crates_unit_", "storages": "storage_unit_"}
UID_OF = {table.type: table.uid for table in TABLES.values()}

_COMMON = """
CREATE SEQUENCE chaos_uid;
CREATE TABLE chaos_audit (n bigserial PRIMARY KEY, tab text, op text, key int, uid bigint, old_unit int, new_unit int,
                          ref int, size int, xid text DEFAULT pg_current_xact_id()::text);
CREATE FUNCTION chaos_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_audit (tab, op) VALUES (TG_TABLE_NAME, 'TRUNCATE');
    RETURN NULL;
END $$;
-- TRUNCATE is refused where a foreign key points, even from an empty table.
ALTER TABLE crates DROP CONSTRAINT crates_storage_id_fkey;
"""

_TRIGGERS = """
CREATE FUNCTION chaos_stamp_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.{uid} := nextval('chaos_uid')::text;
    RETURN NEW;
END $$;
CREATE FUNCTION chaos_record_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos_audit (tab, op, key, uid, new_unit, ref, size)
        VALUES ('{table}', TG_OP, NEW.id, NEW.{uid}::bigint, {new_unit}, {new_ref}, length(NEW::text));
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO chaos_audit (tab, op, key, uid, old_unit, new_unit, ref, size)
        VALUES ('{table}', TG_OP, NEW.id, NEW.{uid}::bigint, {old_unit}, {new_unit}, {new_ref},
                length(OLD::text) + length(NEW::text));
    ELSE
        INSERT INTO chaos_audit (tab, op, key, old_unit, ref, size)
        VALUES ('{table}', TG_OP, OLD.id, {old_unit}, {old_ref}, length(OLD::text));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_stamp BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION chaos_stamp_{table}();
CREATE TRIGGER chaos_record AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW
    EXECUTE FUNCTION chaos_record_{table}();
CREATE TRIGGER chaos_truncated AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION chaos_truncated();
"""

_OPS = {"INSERT": "created", "UPDATE": "updated", "DELETE": "deleted"}


class World:
    """The application's database, made ready. Anchors are rows that lookups read: what is read of them is fixed."""

    def __init__(self, app):
        self.app = app
        self.slot = f"{app.slot}_truth"
        self._make_people()
        self._make_anchors()
        self._make_triggers()
        app.sql("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", self.slot)

    def _make_people(self):
        app = self.app
        app.sql("INSERT INTO units (id, unit_code, unit_name) VALUES (4, 'U4', 'Unit 4')")
        app.insert_person(HEAD4, 4, role=SECTION_HEAD)
        app.insert_person(DEV, 4)
        # Who hears of a note on a request of this unit: who asked for it, and the Section Heads.
        self.receivers = {1: {ASHA, RAVI}, 2: {BOB, HEAD2}, CENTRAL: {SAM}, 4: {DEV, HEAD4}}

    def _make_anchors(self):
        app = self.app
        asker = {1: ASHA, 2: BOB, CENTRAL: SAM, 4: DEV}
        self.crates = {unit: app.insert_crate(unit) for unit in UNITS}
        self.central_crates = {unit: app.insert_crate(unit, to_central=True) for unit in UNITS}
        self.wavering_crates = {unit: app.insert_crate(unit) for unit in UNITS}  # now central, now not
        self.requests = {
            unit: app.insert_request(unit, crate_id=self.crates[unit], withdrawn_by_id=asker[unit]) for unit in UNITS
        }
        self.marks = {unit: app.insert_storage(unit) for unit in UNITS}

    def _make_triggers(self):
        self.app.sql(_COMMON)
        for name, table in TABLES.items():
            values = {
                f"{age}_{what}": getattr(table, what).format(age.upper())
                for age in ("old", "new")
                for what in ("unit", "ref")
            }
            self.app.sql(_TRIGGERS.format(table=name, uid=table.uid, **values))

    # --- the truth ---------------------------------------------------------------------------------------------

    def notices(self):
        """What was committed, as notices, and which commits have a row that may be too large. Reads the slot to its end."""
        rows = self.app.sql(
            "SELECT data FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'format-version', '2', 'include-lsn', 'true',"
            " 'add-tables', 'public.chaos_audit', 'add-msg-prefixes', 'none')",
            self.slot,
        )
        notices, large, commit = [], set(), None
        for (text,) in rows:
            record = json.loads(text)
            if record["action"] == "B":
                commit, order = Id.parse(record["lsn"] + "-0").lsn, 0
            elif record["action"] == "I":
                row = {column["name"]: column["value"] for column in record["columns"]}
                if (row["size"] or 0) > LARGE:
                    large.add(commit)
                for notice in self._notices_of(row):
                    order += 1
                    notices.append(Notice(commit, order, *notice))
        return notices, large

    def _notices_of(self, row):
        """The notices of one change: moved before updated, as the program tells them."""
        table = TABLES[row["tab"]]
        if row["op"] == "TRUNCATE":
            prefix = GROUP.get(row["tab"], "notifications_user_")
            return [(table.type, TRUNCATED, None, None, frozenset({prefix}))]
        op = _OPS[row["op"]]
        groups, may = self._groups_of(row, row["old_unit"] if op == "deleted" else row["new_unit"])
        notices = [(table.type, op, row["key"], row["uid"], groups, may)]
        if op == "updated" and row["old_unit"] != row["new_unit"]:
            left = frozenset({GROUP[row["tab"]] + str(row["old_unit"])}) - groups
            if left:
                notices.insert(0, (table.type, "moved", row["key"], None, left - may, left & may))
        return notices

    def _groups_of(self, row, unit):
        """Those that must get it, and those that may."""
        central = frozenset({GROUP["requests"] + str(CENTRAL)})
        if row["tab"] == "sendbacks":
            of = next(unit for unit, request in self.requests.items() if request == row["ref"])
            return frozenset(f"notifications_user_{user}" for user in self.receivers[of]), frozenset()
        groups = frozenset({GROUP[row["tab"]] + str(unit)})
        if row["tab"] == "requests" and row["ref"] in self.central_crates.values():
            return groups | central, frozenset()
        wavers = row["tab"] == "requests" and row["ref"] in self.wavering_crates.values()
        return groups, central - groups if wavers else frozenset()

    def write_markers(self):
        """One more change for each group. Returns a position behind all of them."""
        with self.app.transaction() as cursor:
            for unit in UNITS:
                cursor.execute("UPDATE requests SET purpose = 'last' WHERE id = %s", (self.requests[unit],))
                cursor.execute("UPDATE crates SET status = 'Archived' WHERE id = %s", (self.crates[unit],))
                cursor.execute(
                    "INSERT INTO storages (unit_id, room_name, rack_name, compartment_name)"
                    " VALUES (%s, 'last', '', '')",
                    (unit,),
                )
                cursor.execute(
                    "INSERT INTO sendbacks (request_id, reason, created_by_id, sendback_type)"
                    " VALUES (%s, 'last', %s, '')",
                    (self.requests[unit], ASHA),
                )
        return Id.parse(self.app.value("SELECT pg_current_wal_insert_lsn()::text") + "-0").lsn

    def audience(self):
        """Who listens: (path, user, groups). Every group is heard by several."""
        members = {
            1: (ASHA, RAVI, MEENA, ROOT_USER),
            2: (BOB, HEAD2, SAM),
            CENTRAL: (SAM, ROOT_USER),
            4: (DEV, HEAD4, SAM),
        }
        for unit, users in members.items():
            for user in users:
                yield f"/ws/requests/{unit}/", user, {f"requests_unit_{unit}"}
            for user in users[:2]:
                yield f"/ws/crates/{unit}/", user, {f"crates_unit_{unit}"}
            for user in (SAM, MEENA if unit == 1 else ROOT_USER):
                yield f"/ws/storage/{unit}/", user, {f"storage_unit_{unit}"}
            yield f"/ws/desk/{unit}/", users[0], {
                f"requests_unit_{unit}",
                f"crates_unit_{unit}",
                f"notifications_user_{users[0]}",
            }
        for user in (ASHA, RAVI, BOB, HEAD2, SAM, DEV, HEAD4):
            yield f"/ws/notifications/{user}/", user, {f"notifications_user_{user}"}
