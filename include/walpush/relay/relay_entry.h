/*
 * relay_entry: one entry of the Redis stream that carries events from the replica that holds the slot to all replicas.
 *
 * Pure. An entry's Redis id is "LSN-index" in decimal, the id of the message that it holds. Its fields:
 *
 *   p  the id of the entry before it: a reader that has not read that far has met a hole
 *   e  everything that commits before this LSN is in the Redis stream up to here (the end of a transaction, a position, a beginning)
 *   w  when the transaction was committed, in µs since 1970
 *   d  which decoding it comes from, if the transaction has several entries and a row asked a query: what two decodings made of it does not fit together
 *   u  users whose memberships the commit changed, each ended by a zero; none: every user        index 0, before all of the commit
 *   m  the message as a client gets it, g its groups, each ended by a zero; c the close code,    its own index
 *      if it closes, k that it is a bulk message; a section, action and key of its row, each
 *      ended by a zero; v, of one that differs from group to group, how many groups and bytes
 *      each wording takes: "2,130;1,128;"
 *   s  the section of `tables` whose groups must refetch, r the reason, l only those of lookups  its own index
 *   o  a row of the commit was skipped, of these sections of `tables`, each ended by a zero;     index 2^31 - 1
 *      n, of an unknown table; t, the groups that the other rows name: for each the code with
 *      which it is closed (0: it is not) and the name, each ended by a zero. The users of such
 *      a commit have index 2^31 - 2
 *   b  a history begins at `e`: entries before it cannot be continued; r, "skipped", if a        index 2^32 - 2, of e - 1 or later
 *      transaction was skipped, and n, if nothing is known about it
 *   (none of u m s o b)  only a position                                                         index 2^32 - 1, of e - 1
 *
 * So ids grow, and if a second writer repeats an entry, the entry has the same id.
 */
#ifndef WALPUSH_RELAY_ENTRY_H
#define WALPUSH_RELAY_ENTRY_H

#include "walpush/base/buf.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"

enum relay_kind { RELAY_POSITION, RELAY_MEMBERS, RELAY_MESSAGE, RELAY_MARK, RELAY_SKIPPED, RELAY_BEGIN };

#define RELAY_INDEX_BEGIN (UINT32_MAX - 1)
#define RELAY_INDEX_POSITION UINT32_MAX

struct relay_entry { /* slices are borrowed */
	enum relay_kind kind;
	struct event_id id;
	struct event_id before;
	lsn_t end;          /* 0: inside a transaction */
	uint64_t when;      /* with `end`; 0: unknown */
	uint32_t decoding;  /* 0: every decoding makes the same of it */
	struct slice users; /* RELAY_MEMBERS; empty: every user */
	struct slice payload, groups;
	struct slice about; /* decoded: always three texts */
	size_t n_groups;
	struct slice wordings; /* as `v` has them; empty: one for all groups */
	uint16_t close;        /* its receivers' connections are closed with this code; 0: they are not */
	bool bulk;
	struct slice section, reason; /* of RELAY_BEGIN: empty, or the reason */
	bool lookup_only;
	struct slice sections, closes; /* RELAY_SKIPPED: `o` and `t` */
	size_t n_closes;               /* pairs */
	bool everything;
};

#define RELAY_ID_MAX 33 /* two 64-bit numbers, a hyphen and a zero */

/* Returns the length, without the zero. */
size_t relay_id_format(char out[RELAY_ID_MAX], struct event_id id);
bool relay_id_parse(struct slice text, struct event_id *out);

/* Takes the first wording off. False: there is none, or it is malformed. */
bool relay_wording(struct slice *wordings, size_t *n_groups, size_t *len);

#define RELAY_FIELDS_MAX 16 /* names and values */

/* Encodes all fields except `p` as arguments of XADD. Numbers are printed into `scratch`, which must live as long as
 * the fields. Returns how many slices are used. */
size_t relay_entry_encode(const struct relay_entry *e, struct slice out[RELAY_FIELDS_MAX], struct buf *scratch);
/* From the id, and n alternating names and values. Fields with unknown names are ignored. */
bool relay_entry_decode(struct slice id, const struct slice *fields, size_t n, struct relay_entry *out,
			struct fail *why);

#endif
