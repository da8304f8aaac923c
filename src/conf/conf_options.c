/*
 * The option table: one row an option. Parsing, defaults, ranges, the check for unknown keys, freeing and docs/configuration.md use this
 * table, so a new option needs a member in conf.h and a row in this file.
 *
 * A row of type CONF_GROUP, CONF_SECTIONS or CONF_LIST is before the rows of its members. The document has the order of the table. `doc` is
 * one or two sentences in Markdown.
 */
#include <stddef.h>
#include <string.h>

#include "parts.h"

#define OF_CONF(member) .at = offsetof(struct conf_draft, conf.member)
#define OF_STREAM(member) .at = offsetof(struct conf_stream, member)
#define OF_TABLE(member) .at = offsetof(struct conf_table, member)
#define OF_ACTION(member) .at = offsetof(struct conf_action, member)
#define OF_WHEN(member) .at = offsetof(struct conf_condition, member)
#define OF_KEY(member) .at = offsetof(struct conf_jwt_key, member)
#define OF_MEMBERSHIP(member) .at = offsetof(struct conf_membership, member)
#define ARRAY_OF(type) .size = sizeof(type), .line_at = offsetof(type, line)
#define RANGE(least, most) .min = (least), .max = (most)

#define SECOND ((int64_t)1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define KIB ((int64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define ALGORITHMS "HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512"

/* clang-format off */
const struct conf_option conf_options[] = {
{ "database", CONF_GROUP, CONF_REQUIRED,
  .doc = "Where the changes come from. One of `url` and `url-file` must be set." },
{ "database.url", CONF_TEXT, 0, OF_CONF(database.url), .accept = conf_accept_url,
  .doc = "Connection string of PostgreSQL, `postgresql://user:password@host:5432/name` or `host=… dbname=…`. It "
	 "must lead to the server itself, or through a pooler that carries replication, and its role needs `LOGIN REPLICATION`. Never "
	 "logged. Several hosts are tried in turn, and so are the addresses of a name, which is looked up for each "
	 "connection; an IPv6 address stands in brackets in a URL, `postgresql://user@[::1]:5432/name`." },
{ "database.url-file", CONF_PATH, 0, OF_CONF(database.url_file),
  .doc = "A file that holds the connection string. It is read at each connect, so a rotated password needs no "
	 "restart." },
{ "database.slot", CONF_TEXT, CONF_REQUIRED, OF_CONF(database.slot), .accept = conf_accept_slot,
  .doc = "The logical replication slot, which the DBA creates with what `walpush sql` prints." },
{ "database.plugin", CONF_TEXT, 0, OF_CONF(database.plugin), .initial = "auto", .choices = "auto, wal2json, pgoutput",
  .doc = "The slot's output plugin: wal2json, or pgoutput, which comes with PostgreSQL. With `auto` it is what the slot has; another one than "
	 "the slot's is an error, and `walpush sql --switch` prints what moves the slot to it." },
{ "database.publication", CONF_TEXT, 0, OF_CONF(database.publication), .initial = "", .accept = conf_accept_slot,
  .doc = "The publication whose tables a slot of pgoutput sends, which `walpush sql --plugin pgoutput` makes. Empty: the slot's name." },
{ "database.connect-timeout", CONF_SECONDS, 0, OF_CONF(database.connect_timeout), RANGE(SECOND, 300 * SECOND),
  .initial = "10",
  .doc = "How long one attempt to connect may take, the lookup of the host's name included. Of several hosts, one "
	 "whose name is not found out in half of that is left out." },
{ "database.statement-timeout", CONF_SECONDS, 0, OF_CONF(database.statement_timeout), RANGE(SECOND / 10, 600 * SECOND),
  .initial = "5", .doc = "`statement_timeout` of every SQL query the sidecar asks." },
{ "database.lock-timeout", CONF_SECONDS, 0, OF_CONF(database.lock_timeout), RANGE(0, 600 * SECOND),
  .initial = "0",
  .doc = "`lock_timeout` of every SQL query the sidecar asks: how long it may wait for one lock. Less than `statement-timeout`; 0 is 1 s, "
	 "or half of `statement-timeout` where that is less." },
{ "database.admit-connections", CONF_INT, 0, OF_CONF(database.admit_connections), RANGE(1, 16), .initial = "4",
  .doc = "Connections for `admit` queries, at most. The first one is always open; the others are opened while questions wait, and closed after 60 s "
	 "without any. With more than one, a user whose query is slow does not keep the others out: a query that runs for 0.5 s shares one connection "
	 "with others that do, and makes room where others were quick within the last 5 s." },
{ "database.async-commits", CONF_BOOL, CONF_RELOAD, OF_CONF(database.async_commits), .initial = "false",
  .doc = "Sessions set `synchronous_commit = off` by themselves, so others see a commit before it is flushed. Where the server, a role or a database "
	 "sets it, walpush finds out alone. An answer of a query then waits for up to three times `wal_writer_delay` more until it is shown." },
{ "database.status-interval", CONF_SECONDS, 0, OF_CONF(database.status_interval), RANGE(SECOND / 10, 10 * SECOND),
  .initial = "10",
  .doc = "How often the server is told how far the slot may forget." },
{ "database.watch", CONF_SECONDS, CONF_RELOAD, OF_CONF(database.watch), RANGE(SECOND / 10, 600 * SECOND), .initial = "5",
  .doc = "How long DDL may go unnoticed. Twice in this time it is compared whether the tables, views, policies, functions, types and roles that decide "
	 "permission are still those that were found. DDL may change them behind the back of the log: then everybody is asked again, so "
	 "what DDL took away is heard no longer than this behind its commit. `walpush sql --ddl` prints an event trigger that tells of it "
	 "at its commit." },
{ "database.skip", CONF_BOOL, CONF_RELOAD, OF_CONF(database.skip), .initial = "true",
  .doc = "Pass over a transaction that the server cannot decode, such as one with a row of more than 1 GB of text, or that cannot be "
	 "received or read, once that has failed three times in 30 s: everybody is asked about again and told `resync`, reason "
	 "`skipped`. With `false` it stays there, not ready, and the log has the statement that passes over it." },
{ "database.warn-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(database.warn_bytes), RANGE(0, 1024 * GIB),
  .initial = "1 GiB",
  .doc = "Warn when the slot holds back more WAL than this; 0 never warns." },

{ "listen", CONF_GROUP, .doc = "Where browsers connect." },
{ "listen.address", CONF_TEXT, 0, OF_CONF(listen.address), .initial = "0.0.0.0", .accept = conf_accept_address,
  .doc = "IP address to listen on; `::` is every address of both families." },
{ "listen.port", CONF_INT, 0, OF_CONF(listen.port), RANGE(0, 65535), .initial = "8001",
  .doc = "TCP port; 0 takes a free one and prints it." },
{ "listen.origins", CONF_TEXTS, CONF_RELOAD | CONF_SPLIT, OF_CONF(listen.origins), .accept = conf_accept_origin,
  .doc = "Web origins whose pages may connect, compared by scheme, host and port; `\"*\"` admits every origin. A "
	 "request without `Origin` does not come from a browser and is always admitted. Without this list no "
	 "browser is." },
{ "listen.threads", CONF_INT, 0, OF_CONF(listen.threads), RANGE(0, 64), .initial = "0",
  .doc = "Threads that serve connections; 0 is one per core, at most 4." },
{ "listen.certificate", CONF_PATH, 0, OF_CONF(listen.certificate),
  .doc = "PEM file with the certificate and its chain; turns TLS on, together with `certificate-key`. Both files are read again "
	 "on SIGHUP; connections that are open stay so." },
{ "listen.certificate-key", CONF_PATH, 0, OF_CONF(listen.certificate_key), .doc = "PEM file with the private key, not encrypted." },
{ "listen.trusted-proxies", CONF_TEXTS, CONF_RELOAD | CONF_SPLIT, OF_CONF(listen.trusted_proxies), .accept = conf_accept_proxy,
  .doc = "Addresses or networks (`10.0.0.0/8`) whose `X-Forwarded-For` is believed." },
{ "listen.ping", CONF_SECONDS, CONF_RELOAD, OF_CONF(listen.ping), RANGE(SECOND, HOUR), .initial = "25",
  .doc = "Silence after which a connection is pinged. Proxies close idle connections, most of them after 60 s." },
{ "listen.max-age", CONF_SECONDS, CONF_RELOAD, OF_CONF(listen.max_age), RANGE(0, 30 * DAY), .initial = "0",
  .doc = "Age at which a connection is asked to reconnect, by a close with 1012, each at its own moment in the last tenth; 0 is "
	 "never." },
{ "listen.compression", CONF_BOOL, CONF_LATER, OF_CONF(listen.compression), .initial = "false",
  .doc = "Offer permessage-deflate. It costs memory for each connection, and frames are no longer shared." },

{ "admin", CONF_GROUP,
  .doc = "Where `/healthz`, `/readyz`, `/metrics`, `/status` and, for a person, `/` are served. Keep it away from the public." },
{ "admin.address", CONF_TEXT, 0, OF_CONF(admin.address), .initial = "127.0.0.1", .accept = conf_accept_address,
  .doc = "IP address to listen on." },
{ "admin.port", CONF_INT, 0, OF_CONF(admin.port), RANGE(0, 65535), .initial = "8002",
  .doc = "TCP port; 0 takes a free one and prints it." },
{ "admin.hosts", CONF_TEXTS, CONF_RELOAD | CONF_SPLIT, OF_CONF(admin.hosts), .accept = conf_accept_host,
  .doc = "Names by which the port may be asked, such as that of a Service. An IP address and `localhost` always may; a request whose "
	 "`Host` is another name is refused with 421, because a page of another site could have sent it (DNS rebinding)." },

{ "admin.token", CONF_TEXT, CONF_RELOAD, OF_CONF(admin.token), .accept = conf_accept_admin_token,
  .doc = "Who sends it (`Authorization: Bearer`) may ask `/explain`, and search on the page: `walpush explain` does. Off when not set or empty. At "
	 "least 16 characters; never logged. The port speaks no TLS, so keep it on localhost all the same." },
{ "admin.token-file", CONF_SECRET_FILE, CONF_RELOAD, OF_CONF(admin.token),
  .doc = "A file that holds the token, read at start and on SIGHUP; a newline at its end is dropped." },
{ "admin.ready-seconds", CONF_SECONDS, CONF_RELOAD, OF_CONF(admin.ready_seconds), RANGE(SECOND, HOUR), .initial = "30",
  .doc = "`/readyz` says 503 when WAL waits and nothing has been handled for so long. A walsender that decodes a long transaction "
	 "for the first time counts as progress." },
{ "admin.check-interval", CONF_SECONDS, CONF_RELOAD, OF_CONF(admin.check_interval), RANGE(0, DAY), .initial = "300",
  .doc = "How often `run` makes the checks of `walpush check`, in a process of their own: before it listens, behind a reload, and again when the "
	 "catalog has changed, but not within 30 s or this, whichever is less. With `relay` the replica that has the slot does; 0 is never." },
{ "admin.ready-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(admin.ready_bytes), RANGE(0, 1024 * GIB), .initial = "64 MiB",
  .doc = "`/readyz` says 503 when what is published is further behind the server's end of WAL; 0 is no limit." },

{ "jwt", CONF_GROUP, CONF_REQUIRED,
  .doc = "How tokens are checked: the `SIMPLE_JWT` settings of Django. At least one of `key`, `key-file` and "
	 "`keys` must be set." },
{ "jwt.algorithm", CONF_TEXT, CONF_REQUIRED | CONF_RELOAD, OF_CONF(jwt.algorithm), .choices = ALGORITHMS,
  .doc = "`ALGORITHM`. A token that names another one is refused." },
{ "jwt.key", CONF_TEXT, CONF_RELOAD | CONF_EMPTY_OK, .at = offsetof(struct conf_draft, single_key.key),
  .doc = "`SIGNING_KEY` for HS algorithms; for RS and ES the public key (`VERIFYING_KEY`) as PEM text. Never "
	 "logged." },
{ "jwt.key-file", CONF_SECRET_FILE, CONF_RELOAD, .at = offsetof(struct conf_draft, single_key.key),
  .doc = "A file that holds the key, read at start; a newline at its end is dropped." },
{ "jwt.keys", CONF_LIST, CONF_RELOAD, OF_CONF(jwt.keys), ARRAY_OF(struct conf_jwt_key),
  .doc = "More keys, each with the `kid` that a token's header names: for rotation." },
{ "jwt.keys.*.kid", CONF_TEXT, CONF_REQUIRED, OF_KEY(kid), .doc = "The key's id." },
{ "jwt.keys.*.key", CONF_TEXT, CONF_EMPTY_OK, OF_KEY(key), .doc = "As `jwt.key`." },
{ "jwt.keys.*.key-file", CONF_SECRET_FILE, 0, OF_KEY(key), .doc = "As `jwt.key-file`." },
{ "jwt.user-claim", CONF_TEXT, CONF_RELOAD, OF_CONF(jwt.user_claim), .initial = "user_id", .doc = "`USER_ID_CLAIM`." },
{ "jwt.token-type", CONF_TEXT, CONF_RELOAD | CONF_EMPTY_OK, OF_CONF(jwt.token_type), .initial = "access",
  .doc = "What the claim `token_type` must be; `\"\"` does not check it." },
{ "jwt.issuer", CONF_TEXT, CONF_RELOAD, OF_CONF(jwt.issuer), .doc = "`ISSUER`; not checked when not set." },
{ "jwt.audience", CONF_TEXT, CONF_RELOAD, OF_CONF(jwt.audience), .doc = "`AUDIENCE`; not checked when not set." },
{ "jwt.leeway", CONF_SECONDS, CONF_RELOAD, OF_CONF(jwt.leeway), RANGE(0, 300 * SECOND), .initial = "0",
  .doc = "`LEEWAY`: by how much clocks may differ. `iat` may be a minute ahead in any case." },

{ "data", CONF_GROUP, .doc = "How a row's values are shown: the settings of Django that have a say in it." },
{ "data.timezone", CONF_TEXT, 0, OF_CONF(database.timezone), .initial = "UTC", .accept = conf_accept_timezone,
  .doc = "`TIME_ZONE`, where `USE_TZ` is on: the zone, by its IANA name, in which values of `timestamp with time zone` are "
	 "shown, the time of the commit too. It is set in the database's sessions, so PostgreSQL converts them, and an "
	 "action's or a query's texts are in it as well." },
{ "data.relations", CONF_BOOL, 0, OF_CONF(data.relations), .initial = "true",
  .doc = "A foreign key column `unit_id` is shown as `unit`, as a `ModelSerializer` names it. With `false` every column "
	 "keeps its name." },

{ "streams", CONF_SECTIONS, CONF_REQUIRED | CONF_RELOAD, OF_CONF(streams), ARRAY_OF(struct conf_stream),
  .doc = "Who may listen. Each section is a WebSocket path." },
{ "streams.*.path", CONF_LINED, CONF_REQUIRED, OF_STREAM(path), .accept = conf_accept_path,
  .doc = "The path, in the syntax of Django's `path()`: converters `int`, `str`, `slug`, `uuid`, `path`." },
{ "streams.*.admit", CONF_LINED, CONF_REQUIRED, OF_STREAM(admit),
  .doc = "SQL query that admits by returning rows. `{path.x}` and `{token.x}` are bound as parameters." },
{ "streams.*.groups", CONF_TEXTS, CONF_REQUIRED, OF_STREAM(groups),
  .doc = "Groups the connection joins, from `{path.x}`, `{token.x}` and `{admit.x}`, a column of the query's rows." },
{ "streams.*.hello", CONF_LINED, 0, OF_STREAM(hello), .accept = conf_accept_message,
  .doc = "JSON template of the first message, in place of `connection_established`." },
{ "streams.*.resync", CONF_LINED, 0, OF_STREAM(resync), .accept = conf_accept_resync,
  .doc = "JSON template in place of `resync` and of bulk messages, or `\"close\"`: the connection is closed with "
	 "1012 instead, for a frontend that refetches when it reconnects." },

{ "streams.*.recheck", CONF_SECONDS, 0, OF_STREAM(recheck), RANGE(0, DAY), .initial = "0",
  .doc = "`admit` is asked about each open connection again this often, for a permission that ends by time (`valid_until > now()`), which no "
	 "change tells of. Spread evenly: 10,000 connections and 60 seconds are 167 queries a second. 0 never asks. A change of it takes "
	 "effect at SIGHUP without closing a connection." },

{ "streams.*.public", CONF_BOOL, 0, OF_STREAM(public), .initial = "false",
  .doc = "Your word that everybody with a valid token may listen, on every path: `admit` names no `{token.x}`, and `walpush check` does not warn. It "
	 "changes nothing else." },

{ "tables", CONF_SECTIONS, CONF_REQUIRED | CONF_RELOAD, OF_CONF(tables), ARRAY_OF(struct conf_table),
  .doc = "Who hears of a row, and what. Each section makes messages of one table's changes." },
{ "tables.*.from", CONF_LINED, 0, OF_TABLE(from), .accept = conf_accept_tables,
  .doc = "The table, `table` (schema `public`) or `schema.table`; the section's name when not set. `tenant_*.orders` is that table in every schema "
	 "that matches: see \"A schema per tenant\"." },
{ "tables.*.type", CONF_LINED, 0, OF_TABLE(type),
  .doc = "First half of the message's `type`: `request` gives `request.created`. Required without `message`." },
{ "tables.*.key", CONF_LINED, 0, OF_TABLE(key),
  .doc = "Name under which the primary key stands in the message. Required without `message`." },
{ "tables.*.groups", CONF_TEXTS, CONF_REQUIRED, OF_TABLE(groups),
  .doc = "Groups that hear of the row, from `{column}`, `{old.column}` and `{lookup.x}`." },
{ "tables.*.fields", CONF_TEXTS, 0, OF_TABLE(fields), .doc = "Columns repeated at the top level of the message." },
{ "tables.*.columns", CONF_TEXTS, 0, OF_TABLE(columns),
  .doc = "The only columns that a message shows, anywhere in it, beside the primary key, which `key` names." },
{ "tables.*.exclude", CONF_TEXTS, 0, OF_TABLE(exclude),
  .doc = "Columns that no message shows, anywhere in it; not of the primary key. Not together with `columns`." },
{ "tables.*.quiet", CONF_TEXTS, 0, OF_TABLE(quiet),
  .doc = "Columns whose changes alone make no message. A column of the primary key, and one that `groups`, `lookup`, `when` or "
	 "an action reads, is never quiet." },
{ "tables.*.lookup", CONF_LINED, 0, OF_TABLE(lookup),
  .doc = "SQL query whose rows name receivers. `{column}` is bound as a parameter; a group that names `{lookup.x}`"
	 " exists once for each row." },
{ "tables.*.data-query", CONF_LINED, 0, OF_TABLE(data_query),
  .doc = "SQL query returning one JSON value that becomes `data`, for a serializer with nested objects. `{column}` is bound "
	 "as a parameter. Not asked for a delete." },
{ "tables.*.reads-ignore", CONF_TEXTS, 0, OF_TABLE(reads_ignore), .accept = conf_accept_table,
  .doc = "Tables that `lookup` or `data-query` reads, `table` or `schema.table`, whose changes need not be told: `walpush check` does not warn "
	 "of them. It changes nothing else." },
{ "tables.*.actor", CONF_LINED, 0, OF_TABLE(actor),
  .doc = "Column with the id of who changed the row, for `updated_by`." },
{ "tables.*.message", CONF_LINED, 0, OF_TABLE(message), .accept = conf_accept_message,
  .doc = "JSON template that replaces the standard message; `type`, `key` and `fields` then have no part in it. It may not name "
	 "a column that `columns` or `exclude` withholds." },
{ "tables.*.when", CONF_LIST, 0, OF_TABLE(when), ARRAY_OF(struct conf_condition),
  .doc = "Rows that count: all conditions must hold. A row that stops counting is `deleted` for its receivers." },
{ "tables.*.when.*.column", CONF_TEXT, CONF_REQUIRED, OF_WHEN(column), .doc = "The column." },
{ "tables.*.when.*.equals", CONF_SCALAR, CONF_REQUIRED | CONF_EMPTY_OK, OF_WHEN(equals),
  .doc = "Its value, compared as text." },
{ "tables.*.actions", CONF_SECTIONS, 0, OF_TABLE(actions), ARRAY_OF(struct conf_action),
  .doc = "What a change means. The section's name becomes the message's `action`; the first that matches wins." },
{ "tables.*.only-actions", CONF_BOOL, 0, OF_TABLE(only_actions), .initial = "false",
  .doc = "A change that no action matches makes no message." },
{ "tables.*.actions.*.on", CONF_EVENTS, 0, OF_ACTION(on), .initial = "update",
  .doc = "`\"insert\"`, `\"update\"`, `\"delete\"` or a list of them." },
{ "tables.*.actions.*.column", CONF_TEXT, 0, OF_ACTION(condition.column),
  .doc = "The column looked at, with at least one of the next three." },
{ "tables.*.actions.*.becomes", CONF_SCALAR, CONF_EMPTY_OK, OF_ACTION(condition.becomes),
  .doc = "The new value equals this, and the old one differed or, in an insert, there was none." },
{ "tables.*.actions.*.was", CONF_SCALAR, CONF_EMPTY_OK, OF_ACTION(condition.was), .doc = "The old value equals this." },
{ "tables.*.actions.*.changes", CONF_BOOL, 0, OF_ACTION(condition.changes), .initial = "false",
  .doc = "Old and new value differ." },
{ "tables.*.actions.*.actor", CONF_TEXT, 0, OF_ACTION(actor),
  .doc = "Column with the actor's id, in place of the table's `actor`." },
{ "tables.*.actions.*.close", CONF_CLOSE_CODE, 0, OF_ACTION(close), .initial = "0",
  .doc = "After this message the receivers' connections are closed with this code." },
{ "tables.*.close", CONF_CLOSE_CODE, 0, OF_TABLE(close), .initial = "0",
  .doc = "The same for every message of the section, such as one that logs a user out. Name its receivers by columns: if a lookup names them and is "
	 "not answered, they are told `resync` and not closed." },

{ "actor", CONF_GROUP, .doc = "The name in `updated_by`." },
{ "actor.query", CONF_LINED, CONF_RELOAD, OF_CONF(actor_query),
  .doc = "SQL query for the name, `{id}` being the actor column's value. Without it `updated_by` is null." },
{ "actor.reads-ignore", CONF_TEXTS, CONF_RELOAD, OF_CONF(actor_reads_ignore), .accept = conf_accept_table,
  .doc = "As `reads-ignore` of a table, for what `query` reads." },

{ "membership", CONF_SECTIONS, CONF_RELOAD, OF_CONF(memberships), ARRAY_OF(struct conf_membership),
  .doc = "Rows that decide who may listen: a change re-runs `admit` for that user's open connections, and nothing that was "
	 "committed with it or later is delivered to them before the answer. Every table that an `admit` query reads is one by "
	 "itself, also through views and policies; a section says whose permission a row decides, so that the others need not be "
	 "asked, or adds a table that cannot be found, such as one behind a function. Give these tables `REPLICA IDENTITY FULL` "
	 "(`walpush sql` does): a row whose user is not known re-runs `admit` for everybody." },
{ "membership.*.from", CONF_TEXT, 0, OF_MEMBERSHIP(table), .accept = conf_accept_table,
  .doc = "The table, `table` or `schema.table`; the section's name when not set." },
{ "membership.*.user", CONF_TEXT, 0, OF_MEMBERSHIP(user),
  .doc = "Column that holds the user's id, as `jwt.user-claim` spells it; without it a change re-runs `admit` for everybody, in "
	 "rounds that begin 5 s apart or more. It is your promise that a row concerns that user alone; `check` warns where an `admit` finds "
	 "the rows by something else." },
{ "membership.*.columns", CONF_TEXTS, 0, OF_MEMBERSHIP(columns),
  .doc = "Updates count only when one of these, or one that an `admit` query reads, changes. Not set: those that `admit` reads; of a "
	 "table that no `admit` reads itself, every update counts. One that is read and not named here is a failure of `walpush check`." },
{ "membership.*.ignore", CONF_BOOL, 0, OF_MEMBERSHIP(ignore), .initial = "false",
  .doc = "Your promise that what `admit` reads there never changes what it answers: no change re-runs it, and `check` is content. The "
	 "name may also be that of a function, a materialized view or whatever else cannot be followed." },

{ "replay", CONF_GROUP,
  .doc = "How long the slot is held back, so that clients can resume after a crash. The nearer limit counts." },
{ "replay.seconds", CONF_SECONDS, 0, OF_CONF(replay.seconds), RANGE(0, DAY), .initial = "300",
  .doc = "By time. Who is connected never needs it: what is younger than 10 s stays in memory, also with 0." },
{ "replay.bytes", CONF_BYTES, 0, OF_CONF(replay.bytes), RANGE(0, 1024 * GIB), .initial = "64 MiB",
  .doc = "By distance in the WAL." },

{ "limits", CONF_GROUP, .doc = "What one client, one transaction, one group may take." },
{ "limits.connections", CONF_INT, CONF_RELOAD, OF_CONF(limits.connections), RANGE(0, 10000000), .initial = "0",
  .doc = "Connections in all; one more is refused with 503. 0, and whatever is more, is what the limit of open files allows, "
	 "less a reserve." },
{ "limits.per-user", CONF_INT, CONF_RELOAD, OF_CONF(limits.per_user), RANGE(0, 1000000), .initial = "50",
  .doc = "Connections of one user, open or asking to be; one more closes with 4429. 0 is no limit." },
{ "limits.per-address", CONF_INT, CONF_RELOAD, OF_CONF(limits.per_address), RANGE(0, 1000000), .initial = "0",
  .doc = "Connections of one address, an IPv6 network of 64 bits being one; one more is refused with 503, and sockets beyond twice "
	 "as many are closed unread. 0 is no limit. Behind a proxy set `listen.trusted-proxies` first." },
{ "limits.handshakes-per-second", CONF_INT, CONF_RELOAD, OF_CONF(limits.handshakes_per_second), RANGE(0, 1000000),
  .initial = "10000",
  .doc = "New connections a second, of all clients together; one more is refused with 503. 0 is no limit." },
{ "limits.handshake", CONF_SECONDS, 0, OF_CONF(limits.handshake), RANGE(SECOND, 300 * SECOND), .initial = "10",
  .doc = "Time for the HTTP upgrade and for the token to arrive." },
{ "limits.token-bytes", CONF_BYTES, 0, OF_CONF(limits.token_bytes), RANGE(256, 64 * KIB), .initial = "8 KiB",
  .doc = "Length of a token. A request's head may have 4 KiB more, 63 KiB at most; a longer one is refused with 431." },
{ "limits.message-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(limits.message_bytes), RANGE(256, MIB), .initial = "16 KiB",
  .doc = "Size of a message from a client; a larger one closes with 1009." },
{ "limits.messages-per-second", CONF_INT, CONF_RELOAD, OF_CONF(limits.messages_per_second), RANGE(1, 10000),
  .initial = "10",
  .doc = "Messages a second from one client; more close with 1008." },
{ "limits.admit-timeout", CONF_SECONDS, CONF_RELOAD, OF_CONF(limits.admit_timeout), RANGE(SECOND / 10, 300 * SECOND),
  .initial = "5",
  .doc = "How long a connection, new or asked about again, waits for the answer of `admit`; then it closes with 1013. "
	 "Where everybody is asked, it counts from when the query is sent." },
{ "limits.answer", CONF_SECONDS, CONF_RELOAD, OF_CONF(limits.answer), RANGE(SECOND / 10, 300 * SECOND), .initial = "1",
  .doc = "How long the lookup, the data-query and the actor query of one row may take together, and the rows after it wait. Then clients are "
	 "told to refetch, `data` or `updated_by` is null, and rows do not ask the query that was the reason for a while." },
{ "limits.stall", CONF_SECONDS, CONF_RELOAD, OF_CONF(limits.stall), RANGE(SECOND, HOUR), .initial = "60",
  .doc = "How long a reader may take nothing while something waits for it; then it closes with 4408." },
{ "limits.drain", CONF_SECONDS, CONF_RELOAD, OF_CONF(limits.drain), RANGE(0, 600 * SECOND), .initial = "10",
  .doc = "Time that a shutdown may take to close all connections. It closes 100 a second, in random order; more only where the time "
	 "would not do, and 0 is all at once. The same pace holds where another process has the slot, and for a stream that a reload "
	 "changed." },
{ "limits.bulk", CONF_INT, CONF_RELOAD, OF_CONF(limits.bulk), RANGE(1, 1000000), .initial = "1000",
  .doc = "Changes of one table for one group in one transaction; beyond it the rest becomes one bulk message." },
{ "limits.transaction-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(limits.transaction_bytes), RANGE(64 * KIB, GIB),
  .initial = "16 MiB",
  .doc = "Rendered size of one transaction; beyond it the same." },
{ "limits.row-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(limits.row_bytes), RANGE(KIB, GIB), .initial = "1 MiB",
  .doc = "Size of one row's `data`; a larger one is sent as null with `\"truncated\":true`." },
{ "limits.record-bytes", CONF_BYTES, CONF_RELOAD, OF_CONF(limits.record_bytes), RANGE(0, GIB), .initial = "0",
  .doc = "Size of one row as the server's plugin prints it, columns that are not shown included; a larger one is never decoded: its "
	 "transaction becomes a `resync` with reason `skipped`. At least 64 KiB; 0 is 256 MiB, or a third of the memory that the process may have (its "
	 "cgroup's, or `ulimit -v`) where that is less. While it is handled, a row takes its size, a tenth of it, and the next power "
	 "of two beside what all else takes." },
{ "limits.group-bytes", CONF_BYTES, 0, OF_CONF(limits.group_bytes), RANGE(4 * KIB, 64 * GIB), .initial = "1 MiB",
  .doc = "History kept for one group; a reader that falls behind it gets `resync`. One transaction's messages to a group fit if they take "
	 "less than about seven eighths of it." },
{ "limits.log-bytes", CONF_BYTES, 0, OF_CONF(limits.log_bytes), RANGE(64 * KIB, 1024 * GIB), .initial = "256 MiB",
  .doc = "Memory for all groups together: their history, names and positions. Beyond it the oldest history goes first, and with its "
	 "last message a group that nobody listens to; who resumes there gets `resync`. The process takes up to a fifth more." },

{ "log", CONF_GROUP, .doc = "What is written to standard error. Tokens, passwords and row data never are." },
{ "log.level", CONF_TEXT, CONF_RELOAD, OF_CONF(log.level), .initial = "info", .choices = "error, warn, info, debug",
  .doc = "The least important line that is written." },
{ "log.format", CONF_TEXT, CONF_RELOAD, OF_CONF(log.format), .initial = "logfmt", .choices = "logfmt, json",
  .doc = "How a line looks." },

{ "audit", CONF_GROUP,
  .doc = "A record of each change that was pushed, by key and number of receivers, and of who was admitted, refused, expired or "
	 "revoked. Never a row's data." },
{ "audit.file", CONF_PATH, CONF_RELOAD, OF_CONF(audit_file),
  .doc = "Where it is appended, one JSON object a line; `-` is standard error; off when not set. SIGHUP opens it anew. Lines are "
	 "written in the background; more than 4 MiB of them waiting are lost, and counted." },

{ "relay", CONF_GROUP,
  .doc = "A Redis stream that carries events from the replica that holds the slot to the others." },
{ "relay.url", CONF_TEXT, 0, OF_CONF(relay.url), .accept = conf_accept_redis,
  .doc = "`redis://user:password@host:6379/0`, or `rediss://` for TLS where hiredis is 1.0 or later (Debian 13); no relay when "
	 "not set. Redis 6.2 or later, no cluster. The addresses of a name are tried in turn; an IPv6 address stands in brackets. "
	 "Never logged. With TLS the certificate must be for the host of the URL, from an authority of this machine, or of the file that "
	 "`SSL_CERT_FILE` in the environment names; walpush shows none of its own (`tls-auth-clients no` in Redis)." },
{ "relay.url-file", CONF_SECRET_FILE, 0, OF_CONF(relay.url),
  .doc = "A file that holds the URL, read at start; a newline at its end is dropped." },
{ "relay.stream", CONF_TEXT, 0, OF_CONF(relay.stream), .initial = "walpush", .doc = "First part of the stream's key; the slot and the epoch follow." },
{ "relay.wait", CONF_INT, 0, OF_CONF(relay.wait), RANGE(0, 16), .initial = "0",
  .doc = "Redis replicas that must have an event before the slot may forget it." },
};
/* clang-format on */

const size_t conf_n_options = sizeof(conf_options) / sizeof(conf_options[0]);

const char *conf_option_leaf(const struct conf_option *o, const char *prefix)
{
	size_t n = strlen(prefix);
	const char *leaf = o->name + n;

	return strncmp(o->name, prefix, n) == 0 && *leaf && !strchr(leaf, '.') ? leaf : NULL;
}
