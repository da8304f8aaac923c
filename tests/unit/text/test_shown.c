/* What a log line shows of a path or an origin: escaped, cut, and without what may be a token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/shown.h"

static const struct {
	const char *text, *shown;
} cases[] = {
	{ "", "" },
	{ "/", "/" },
	{ "/ws/requests/5/", "/ws/requests/5/" },
	{ "https://app.example.org:8443", "https://app.example.org:8443" },
	{ "http://localhost:5173@evil.example.org", "http://localhost:5173@evil.example.org" },

	{ "/a b", "/a%20b" },
	{ "/\x1b[31mred\x7f", "/%1B[31mred%7F" },
	{ "/line\nlevel=error", "/line%0Alevel..." },
	{ "/\"quoted\\\"", "/%22quoted%5C%22" },
	{ "/100%", "/100%25" },
	{ "/caf\xC3\xA9/\xFF", "/caf%C3%A9/%FF" },
	{ "/\xE2\x80\xAE", "/%E2%80%AE" }, /* turns the direction of writing round */

	{ "/ws/requests/5/?token=eyJhbGciOi", "/ws/requests/5/..." },
	{ "/ws/requests/5/&token=abc", "/ws/requests/5/..." },
	{ "/ws/requests/5/;token=abc", "/ws/requests/5/..." },
	{ "/ws/requests/5/token=abc", "/ws/requests/5/token..." },
	{ "/ws/requests/5/#abc", "/ws/requests/5/..." },
	{ "/ws/requests/eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjo3fQ.c2ln/", "/ws/requests/..." },
	{ "eyJhbGciOiJIUzI1NiJ9", "..." },
	{ "/ws/keyJ", "/ws/k..." },
	{ "/ws/eyj/ey", "/ws/eyj/ey" },
};

static void what_is_shown(void **state)
{
	char out[SHOWN_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		shown(slice_of(cases[i].text), out);
		assert_string_equal(out, cases[i].shown);
	}
}

/* However long, and whatever the bytes: it ends, and holds nothing that a terminal or a parser of lines would take for its own. */
static void every_byte_at_every_length(void **state)
{
	static char text[1000];
	char out[SHOWN_MAX + 1];

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		memset(text, (int)c, sizeof(text));
		for (size_t n = 0; n < sizeof(text); n += n < 200 ? 1 : 97) {
			out[SHOWN_MAX] = 'x';
			shown((struct slice){ text, n }, out);
			assert_int_equal(out[SHOWN_MAX], 'x');
			assert_true(strlen(out) < SHOWN_MAX);
			for (const char *at = out; *at; at++)
				assert_true(*at > ' ' && *at <= '~' && *at != '"' && *at != '\\');
		}
		assert_string_equal(out + strlen(out) - 3, "...");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shown),
		cmocka_unit_test(every_byte_at_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
