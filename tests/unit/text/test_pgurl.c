/* Connection strings: which are taken, and that no message shows a password, however it was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/pgurl.h"

static const char *const fine[] = {
	"postgresql://walpush:secret@db:5432/app",
	"postgres://walpush:secret@db.example.org/app?sslmode=require",
	"postgresql://walpush:p%40ss%3Aw%2Fo%3Frd%23%25@db/app",
	"postgresql://walpush:pa:ss@db/app", /* these libpq reads as they are meant */
	"postgresql://walpush:pa?ss@db/app",
	"postgresql://walpush:pa#ss@db/app",
	"postgresql://walpush:pa[ss]@db/app",
	"postgresql://walpush:5432?options=x@db",
	"postgresql://walpush:pa,ss@db/app",
	"postgresql://:secret@db/app",
	"postgresql://walpush@db",
	"postgresql:///app",
	"postgresql://",
	"postgresql://db",
	"postgresql://[::1]:5432/app",
	"postgresql://walpush:x@[fe80::1%25eth0]/app",
	"postgresql://walpush:x@127.0.0.1:5432,db2:5433,[::1]/app?target_session_attrs=read-write",
	"postgresql://walpush:x@%2Fvar%2Frun%2Fpostgresql/app",
	"postgresql:///app?host=/var/run/postgresql&user=walpush",
	"postgresql:///app?host=@walpush",
	"postgresql://db/app?user=walpush@server&password=x@y",
	"postgresql://walpush%40server:x@db/app",
	"host=db user=walpush password='a b@c:d/e' dbname=app",
	"host = db user = walpush@server password = p@ss:w/ord",
	"host=/tmp dbname=app",
	"host=db,127.0.0.1 port=5432,5433 hostaddr=10.0.0.1,10.0.0.2",
	"service=app",
	"postgresql://walpush:x@db_1.default.svc/my-app.test",
};

/* Each holds pieces of this kind: "qxj1" "qxj2" "qxj3". None may be shown. */
static const char *const split[] = {
	"postgresql://walpush:qxj1@qxj2@db/app",
	"postgresql://walpush:qxj1@qxj2@qxj3@db/app",
	"postgresql://walpush:qxj1@qxj2:qxj3@db/app",
	"postgresql://walpush:qxj1@qxj2/qxj3@db/app",
	"postgresql://walpush:qxj1/qxj2@db/app",
	"postgresql://walpush:5432/qxj2@db/app",
	"postgresql://walpush:5432/qxj2?qxj3=1@db/app",
	"postgresql://?host=db&user=qxj1@server", /* libpq takes all before the sign for the user */
	"postgresql://walpush:qxj1/qxj2?qxj3@db/app",
	"postgresql://walpush:qxj1/@db/app",
	"postgresql://walpush:qxj1?qxj2/qxj3@db/app",
	"postgresql://walpush:qxj1%zzqxj2@db/app",
	"postgresql://walpush:qxj1%@db/app",
	"postgresql://walpush:qxj1%00qxj2@db/app",
	"postgresql://walpush:qxj1@[qxj2@db/app",
	"postgresql://walpush:qxj1@[qxj2/app",
	"postgresql://walpush:qxj1@qxj2%20qxj3/app",
	"postgresql://walpush:qxj1@db:qxj2/app",
	"postgresql://walpush:qxj1@db:5432:qxj2/app",
	"postgresql://walpush:qxj1@db,qxj2;qxj3/app",
	"postgresql://walpush%3Aqxj1@db/app",
	"postgresql://walpush%3Aqxj1%40db/app",
	"postgresql://walpush:qxj1%40db/app",
	"postgresql://walpush/qxj1@db/app",
	"postgresql://db/app?user=walpush:qxj1",
	"postgresql://db/app?user=walpush&password=qxj1&qxj2",
	"postgresql://db/app?user=walpush&password=qxj1=qxj2",
	"postgresql://db/app?user=walpush&passwort=qxj1",
	"postgresql://db/postgresql://walpush:qxj1@db/app",
	"postgresql+psycopg2://walpush:qxj1@db/app",
	"jdbc:postgresql://db/app?user=walpush&password=qxj1",
	" postgresql://walpush:qxj1@db/app",
	"\"postgresql://walpush:qxj1@db/app\"",
	"walpush:qxj1@db/app",
	"qxj1",
	"host=db user=walpush password=qxj1 qxj2",
	"host=db user=walpush password=qxj1 qxj2=qxj3",
	"host=db user=walpush password='qxj1'qxj2'",
	"host=db user=walpush password='qxj1",
	"host=db user=walpush password=qxj1\\",
	"host=db user=walpush:qxj1",
	"host=walpush:qxj1@db",
	"host=db port=qxj1",
	"host=db;user=walpush;password=qxj1",
	"host=db user=walpush;password=qxj1",
	"user=walpush dbname=app;password=qxj1",
	"dbname=postgresql://walpush:qxj1@db/app",
	"host=db hostaddr=qxj1@10.0.0.1",
};

static void strings_that_are_fine(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
		if (pgurl_trouble(fine[i]))
			fail_msg("%s should be %s", fine[i], pgurl_trouble(fine[i]));
}

static void strings_that_split_a_password(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(split) / sizeof(*split); i++) {
		const char *trouble = pgurl_trouble(split[i]);

		if (!trouble && strcmp(split[i], "host=db user=walpush password=qxj1\\") != 0)
			fail_msg("%s is taken", split[i]);
		assert_true(!trouble || (!strstr(trouble, "qxj") && strstr(trouble, "%40")));
	}
	assert_non_null(strstr(pgurl_trouble("postgresql://walpush:a@b@db/app"), "one @, between password and host"));
}

static const char *value_of(const PQconninfoOption *parts, const char *keyword)
{
	while (strcmp(parts->keyword, keyword) != 0)
		parts++;
	return parts->val ? parts->val : "";
}

/* A password of random characters, written into a URL as it is: either libpq reads it as it was meant, or the string is refused. */
static void no_password_is_split_in_silence(void **state)
{
	static const char of[] = "@@::///??##%%&=+,;[]' \\!ab12";
	unsigned seed = 1, taken = 0;
	char password[12], url[128];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t n = 1 + (size_t)rand_r(&seed) % 10;
		PQconninfoOption *parts;

		for (size_t k = 0; k < n; k++)
			password[k] = of[(size_t)rand_r(&seed) % (sizeof(of) - 1)];
		password[n] = '\0';
		snprintf(url, sizeof(url), "postgresql://walpush:%s@db.example:5432/app", password);
		if (pgurl_trouble(url))
			continue;
		taken++;
		parts = PQconninfoParse(url, NULL);
		/* A percent sign may have been meant as an escape. */
		if (strcmp(value_of(parts, "host"), "db.example") != 0 ||
		    strcmp(value_of(parts, "user"), "walpush") != 0 || strcmp(value_of(parts, "dbname"), "app") != 0 ||
		    (!strchr(password, '%') && strcmp(value_of(parts, "password"), password) != 0))
			fail_msg("%s is taken as host %s, database %s", url, value_of(parts, "host"),
				 value_of(parts, "dbname"));
		PQconninfoFree(parts);
	}
	assert_true(taken > 1000);
}

static void messages_that_repeat_the_password(void **state)
{
	const char *const shown[] = { "walpush", "app", NULL };

	(void)state;
	assert_true(pgurl_reveals("FATAL: bad password \"qxj1\"", "qxj1", shown, 3));
	assert_false(pgurl_reveals("FATAL: bad password \"qxj1\"", "qxj2", shown, 3));
	assert_false(pgurl_reveals("FATAL: bad password", NULL, shown, 3));
	/* What is the user's name too, every message shows. */
	assert_false(pgurl_reveals("FATAL: password of walpush", "walpush", shown, 3));
	assert_false(pgurl_reveals("FATAL: password of walpush", "push", shown, 3));
	/* Found by chance. */
	assert_false(pgurl_reveals("FATAL: password of walpush", "ass", shown, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_that_are_fine),
		cmocka_unit_test(strings_that_split_a_password),
		cmocka_unit_test(no_password_is_split_in_silence),
		cmocka_unit_test(messages_that_repeat_the_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
