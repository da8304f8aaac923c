/*
 * conf parts: what the files of conf share. No other layer includes it.
 *
 *   conf.c          conf_load, conf_parse, conf_free: the order of the steps
 *   conf_scan.c     finds errors that libconfig ignores, before libconfig reads the text
 *   conf_line.c     the line of a setting
 *   conf_env.c      ${NAME} in strings
 *   conf_options.c  the option table: one row an option
 *   conf_read.c     walks a libconfig tree and the table together: defaults, unknown keys, missing keys, sections
 *   conf_value.c    reads one value of the file to one member of a struct
 *   conf_accept.c   the format of a single text (origin, address, slot, …)
 *   conf_check.c    checks that concern several options
 *   conf_keep.c     options that a reload cannot change
 *   conf_document.c docs/configuration.md
 *   conf_guide.c    the prose of docs/configuration.md
 */
#ifndef WALPUSH_CONF_PARTS_H
#define WALPUSH_CONF_PARTS_H

#include <libconfig.h>

#include "walpush/conf/conf.h"

#define CONF_FILE_MAX ((size_t)1 << 20)      /* bytes of sidecar.conf */
#define CONF_KEY_FILE_MAX ((size_t)64 << 10) /* bytes of a key file */
#define CONF_NAME_SHOWN 160                  /* of "tables.requests.actions.approved.column" in messages */

/* Filled while the file is read: the configuration, and the key of jwt.key or jwt.key-file, which conf_check adds to the list of keys. */
struct conf_draft {
	struct conf conf;
	struct conf_jwt_key single_key;
};

enum conf_type {
	CONF_GROUP,    /* NAME = { … }: rows "NAME.…", in the same struct */
	CONF_SECTIONS, /* NAME = { a = { … } b = { … } }: rows "NAME.*.…", an array of structs, name and line set */
	CONF_LIST,     /* NAME = { … } or ( { … }, { … } ): rows "NAME.*.…", an array of structs, line set */
	CONF_BOOL,     /* bool */
	CONF_INT,      /* int64_t */
	CONF_SECONDS,     /* int64_t, ms */
	CONF_BYTES,       /* int64_t */
	CONF_CLOSE_CODE,  /* int64_t; 0: none */
	CONF_EVENTS,      /* unsigned: CONF_ON_* */
	CONF_TEXT,        /* char * */
	CONF_PATH,        /* char *, a file, relative to the directory of the configuration */
	CONF_SECRET_FILE, /* char *, the content of the named file */
	CONF_SCALAR,      /* char *: a string, number or boolean, kept as text */
	CONF_LINED,       /* struct text */
	CONF_TEXTS        /* struct texts */
};

enum {
	CONF_REQUIRED = 1, /* must be in the file, and not empty */
	CONF_RELOAD = 2,   /* a reload applies a change */
	CONF_LATER = 8,    /* accepted, but not in effect yet: the document says so */
	CONF_SPLIT = 16,   /* an element of a list may hold several texts, separated by commas or blanks, or none */
	CONF_EMPTY_OK = 4  /* "" is a value; without the flag "" means not set, or an error if there is a default */
};

/* NULL: the text is accepted. Else the result says what the text should be, as the rest of the sentence "X should be …". */
typedef const char *conf_accept_fn(const char *text);

struct conf_option {
	const char *name; /* "limits.stall", "streams.*.path" */
	enum conf_type type;
	unsigned flags;
	size_t at; /* offset in struct conf_draft, or in the struct of the section */
	int64_t min, max;
	const char *initial; /* the default, as it is written in the file; NULL: not set */
	const char *choices; /* "a, b, c"; NULL: any */
	conf_accept_fn *accept;
	size_t size;    /* CONF_SECTIONS, CONF_LIST: of a struct; the count follows the pointer */
	size_t line_at; /* CONF_SECTIONS, CONF_LIST: offset of the line in the struct */
	const char *doc;
};

extern const struct conf_option conf_options[];
extern const size_t conf_n_options;

/* The part of the option's name after the prefix, if it is a single name; else NULL. */
const char *conf_option_leaf(const struct conf_option *o, const char *prefix);

/*
 * What was refused: the addresses of members that have no value from the file because of an error, and of elements of a list or section in which
 * there was one. A member that an unknown key may have meant counts too. The checks ask, so that one mistake is one error.
 */
struct conf_refused {
	const void **at;
	size_t n;
};

struct conf_reader {
	const char *file;
	const config_t *source;
	struct conf_refused *refused;
	struct fails *all;
};

bool conf_is_refused(const struct conf_reader *r, const void *member);

/* The lines of strings that are elements of a list, in order. libconfig knows only the line of the token after such a string. */
struct conf_lines {
	unsigned *at;
	size_t n;
};
/* The line of a setting; 1 for the root, which has no line. */
unsigned conf_line(const config_setting_t *s);
/* Stores the lines of the strings in lists. Must be called before conf_line. */
void conf_line_set(config_setting_t *root, const struct conf_lines *lines);

bool conf_scan(const struct conf_reader *r, struct slice text, struct conf_lines *out);

/* The text with its variables replaced; the caller frees it. NULL on failure. `shown`: the option's name in messages. */
char *conf_expand(const struct conf_reader *r, unsigned line, const char *shown, const char *text);

/* Reads the whole tree, and goes on after an error: the option then has its default. The caller releases the draft. */
void conf_read(const struct conf_reader *r, struct conf_draft *d);
void conf_release(struct conf_draft *d);

bool conf_value_read(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s, const char *shown,
		     void *base);
/* Sets the default, which is always valid. */
void conf_value_default(const struct conf_option *o, void *base);
void conf_value_release(const struct conf_option *o, void *base);
/* Appends "a whole number from 0 to 65535": for messages and for the document. */
void conf_value_expected(const struct conf_option *o, struct buf *out);
/* Appends a number in the option's own notation: "0.5", "64 MiB". */
void conf_value_number(const struct conf_option *o, int64_t value, struct buf *out);

/* Does a change of this option need a restart? */
bool conf_option_restarts(const struct conf_option *o);

/* Whether conf_read found errors or not. */
void conf_check(const struct conf_reader *r, struct conf_draft *d);

conf_accept_fn conf_accept_url, conf_accept_slot, conf_accept_address, conf_accept_origin, conf_accept_proxy,
	conf_accept_path, conf_accept_message, conf_accept_resync, conf_accept_table, conf_accept_tables,
	conf_accept_redis, conf_accept_timezone, conf_accept_host, conf_accept_admin_token;

/* The prose before the option's table in the document; NULL: there is none. */
const char *conf_guide(const char *option);

#endif
