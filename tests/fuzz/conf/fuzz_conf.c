/*
 * Any text is either a configuration that keeps its promises, or one line that names file and line and shows no secret.
 * An accepted configuration has every required part, and every number within the range of the option table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

#define SECRET "5ecre7-0f-the-envir0nment"
#define REQUIRE(x)                                                                                                     \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "broken promise: %s\n", #x);                                                   \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* libconfig 1.5 forgets the string it is reading at a syntax error: once a start, and then the process ends. */
const char *__lsan_default_suppressions(void);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	setenv("A", SECRET, 1);
	return 0;
}

static void refused_in_one_line(const struct fail *why)
{
	char start[32];

	snprintf(start, sizeof(start), "fuzz.conf:%u: ", why->line);
	REQUIRE(strncmp(why->text, start, strlen(start)) == 0);
	REQUIRE(why->line >= 1 && why->text[strlen(start)]);
	REQUIRE(!strpbrk(why->text, "\n\r"));
}

/* The fuzzer learns the secret from the comparison; what stands in the file may be quoted. */
static void keeps_the_secret(const struct fail *why, const uint8_t *data, size_t size)
{
	REQUIRE(!strstr(why->text, SECRET) || memmem(data, size, SECRET, strlen(SECRET)));
}

static void numbers_are_in_range(const struct conf *c)
{
	struct conf_draft d = { .conf = *c };

	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];
		const char *dot = strchr(o->name, '.');
		int64_t n;

		if (!dot || strchr(dot + 1, '.') ||
		    (o->type != CONF_INT && o->type != CONF_SECONDS && o->type != CONF_BYTES))
			continue;
		memcpy(&n, (const char *)&d + o->at, sizeof(n));
		REQUIRE(n >= o->min && n <= o->max);
	}
}

static void accepted_is_complete(const struct conf *c)
{
	REQUIRE(!c->database.url != !c->database.url_file && c->database.slot && *c->database.slot);
	REQUIRE(c->jwt.n_keys && c->n_streams && c->n_tables);
	for (size_t i = 0; i < c->jwt.n_keys; i++)
		REQUIRE(c->jwt.keys[i].key && *c->jwt.keys[i].key);
	for (size_t i = 0; i < c->n_streams; i++)
		REQUIRE(c->streams[i].path.text[0] == '/' && *c->streams[i].admit.text && c->streams[i].groups.n);
	for (size_t i = 0; i < c->n_tables; i++) {
		REQUIRE(c->tables[i].groups.n && *c->tables[i].from.text);
		REQUIRE(c->tables[i].message.text || (c->tables[i].type.text && c->tables[i].key.text));
		for (size_t k = 0; k < c->tables[i].n_actions; k++)
			REQUIRE(c->tables[i].actions[k].on);
	}
	numbers_are_in_range(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fail why = { 0 };
	struct conf *c = conf_parse("fuzz.conf", (struct slice){ (const char *)data, size }, &why);

	if (c) {
		accepted_is_complete(c);
	} else {
		refused_in_one_line(&why);
		keeps_the_secret(&why, data, size);
	}
	conf_free(c);
	return 0;
}
