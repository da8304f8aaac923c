/* reads words: what the queries over the server's catalog share: its catalogs, and how the source of a function is searched for names. For
 * reads_query.c and overlap_query.c. */
#ifndef WALPUSH_READS_WORDS_H
#define WALPUSH_READS_WORDS_H

#define CLASS "'pg_catalog.pg_class'::regclass"
#define PROC "'pg_catalog.pg_proc'::regclass"
#define RULE "'pg_catalog.pg_rewrite'::regclass"

/* A name, with the name before its dot, and whether it is called. Words inside literals count, because they may be
 * executed. Quotes count as blanks. A word followed by an operator is a column or a variable, and does not count. */
#define LETTER "[^[:space:][:punct:]]|[_$]"
#define WORD "((?:" LETTER ")+)"
#define WORDS "'(?:" WORD "\\s*\\.\\s*)?" WORD "(?!" LETTER "|\\s*[=<>+|~!@#^&?:])(\\s*\\()?'"
#define TEXT(source) "pg_catalog.lower((" source ") COLLATE pg_catalog.\"C\")"
/* A name that is not a plain word must be in quotes in the source. */
#define STANDS_QUOTED(source)                                                                                          \
	"o.name ~ '[^[:alnum:]_$]' AND pg_catalog.strpos(" TEXT(                                                       \
		source) ", '\"' || pg_catalog.replace(o.name, '\"', '\"\"') || '\"') > 0"
#define LOWER(name) "pg_catalog.lower(" name "::text COLLATE pg_catalog.\"C\")"

#define AGGREGATE_FUNCTIONS                                                                                            \
	"pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,\n"        \
	"    a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[])"

#endif
