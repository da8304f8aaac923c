#include "setup_variables.h"

#include <string.h>

#include "walpush/text/sqltext.h"

static const char password_text[] =
	"-- Looked at here and not on the server, whose log may keep what it is asked, nor in the arguments of a "
	"shell, "
	"which\n"
	"-- others on the machine can read. An empty password would take away the one that the role has.\n"
	"\\if :{?password} \\setenv WALPUSH_GIVEN :password \\endif\n"
	"\\set has_password `[ -n \"${WALPUSH_GIVEN:-$WALPUSH_PASSWORD}\" ] && echo on || echo off`\n"
	"\\set password `printf %s \"${WALPUSH_GIVEN:-$WALPUSH_PASSWORD}\"`\n"
	"\\setenv WALPUSH_GIVEN\n"
	"\n";

static const char names_text[] = "-- Names and operators of this script are the server's own, whoever may create "
				 "others.\n"
				 "SET search_path = " SQLTEXT_OWN_PATH ";\n"
				 "SET standard_conforming_strings = on;\n"
				 "-- What is asked of the catalog is cheap, and dear to compile.\n"
				 "SET jit = off;\n"
				 "\n";

static const char failover_text[] =
	"-- PostgreSQL 17 and later, on: the slot is copied to standbys whose sync_replication_slots is on, and "
	"outlives\n"
	"-- failover. Off, because with it walpush hears of a commit only after the standbys in "
	"synchronized_standby_slots have it.\n";

static const char revoke_text[] =
	"-- On: what this configuration does not need is taken away: grants of the role, tables and row filters of the "
	"publication.\n"
	"-- Off, because another configuration may have the same role or publication. Then it is only named.\n";

static const char recreate_text[] = "-- On: a slot that the server has given up (lost) is dropped, and made again. A "
				    "slot that can be read stays in any "
				    "case.\n";

/* Around the defaults. */
static const char empty_text[] = "-- An empty variable is one that was not given; but an empty slot: none is made.\n"
				 "SELECT coalesce(nullif(:'role', ''), ";
static const char empty_end_text[] = ")::name AS role,\n"
				     "       coalesce(nullif(btrim(:'failover'), ''), 'off') AS failover,\n"
				     "       btrim(:'replicas') AS replicas,\n"
				     "       coalesce(nullif(btrim(:'revoke'), ''), '%s') AS revoke,\n"
				     "       coalesce(nullif(btrim(:'recreate_slot'), ''), '%s') AS recreate_slot\n"
				     "\\gset\n";

static const char refused_text[] =
	"    UNION ALL\n"
	"    SELECT 0, format('-v %s=%s: that is neither on nor off', name, value), format('Give -v %s=on, or leave it "
	"away.', name)\n"
	"    FROM (VALUES ('failover', :'failover'), ('revoke', :'revoke'), ('recreate_slot', :'recreate_slot')) AS "
	"given (name, value)\n"
	"    WHERE value !~* '^(on|off|true|false|yes|no|1|0)$'\n"
	"    UNION ALL\n"
	"    SELECT 0, format('-v replicas=%s: that is no number of processes', :'replicas'), 'Give -v replicas=2, or "
	"leave it away.'\n"
	"    WHERE :'replicas' !~ '^([1-9][0-9]{0,4})?$'\n"
	"    UNION ALL\n"
	"    SELECT 0, format('%L is no name of a slot: PostgreSQL takes lower-case letters, digits and _, at most "
	"63', "
	":'slot'),\n"
	"           'Give another one: -v slot=…, and slot in sidecar.conf.'\n"
	"    WHERE :'slot' !~ '^[a-z0-9_]{0,63}$'\n";

/* A psql argument: between its quotes, psql takes a backslash for an escape. */
static void add_argument(struct buf *out, const char *text)
{
	buf_add_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\n')
			buf_add_text(out, "\\n");
		else if (*text == '\'' || *text == '\\')
			buf_addf(out, "%c%c", *text, *text);
		else
			buf_add_char(out, *text);
	}
	buf_add_char(out, '\'');
}

/* \if :{?slot} \else \set slot 'walpush' \endif */
static void add_variable(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "\\if :{?%s} \\else \\set %s ", name, name);
	add_argument(out, value);
	buf_add_text(out, " \\endif\n");
}

/* A publication that the file does not name follows the slot, which -v may name. */
static void add_publication(struct buf *out, const struct conf_database *d)
{
	bool follows = strcmp(d->publication, d->slot) == 0;

	buf_add_text(out, "-- The publication whose tables the slot sends.\n"
			  "\\if :{?publication} \\else \\set publication '' \\endif\n"
			  "SELECT coalesce(nullif(:'publication', ''), ");
	buf_add_text(out, follows ? "nullif(:'slot', ''), " : "");
	sqltext_literal(out, d->publication);
	buf_add_text(out, ")::name AS publication\n\\gset\n"
			  "SELECT quote_ident(:'publication') AS publication_quoted\n\\gset\n");
}

static const char *on_or_off(bool is_on)
{
	return is_on ? "on" : "off";
}

void setup_variables(struct buf *out, const struct conf *conf, const struct setup_options *options)
{
	const char *role = options->role ? options->role : "walpush";

	add_variable(out, "slot", conf->database.slot);
	add_variable(out, "role", role);
	buf_add_text(out, failover_text);
	add_variable(out, "failover", "off");
	buf_add_text(out, revoke_text);
	add_variable(out, "revoke", on_or_off(options->revokes));
	buf_add_text(out, recreate_text);
	add_variable(out, "recreate_slot", on_or_off(options->recreates));
	add_variable(out, "replicas", "");
	buf_add_text(out, password_text);
	buf_add_text(out, names_text);
	buf_add_text(out, empty_text);
	sqltext_literal(out, role);
	buf_addf(out, empty_end_text, on_or_off(options->revokes), on_or_off(options->recreates));
	if (options->moves || strcmp(options->plugin, SETUP_PGOUTPUT) == 0)
		add_publication(out, &conf->database);
	buf_add_text(out, "SELECT quote_ident(:'role') AS role_quoted\n\\gset\n\n");
}

void setup_variables_refused(struct buf *out)
{
	buf_add_text(out, refused_text);
}
