#include "walframe.h"

#define DATA_HEADER 25    /* 'w', start, end, time */
#define KEEPALIVE_SIZE 18 /* 'k', end, time, whether to reply */

static uint64_t read64(const char *bytes)
{
	uint64_t n = 0;

	for (size_t i = 0; i < 8; i++)
		n = n << 8 | (unsigned char)bytes[i];
	return n;
}

static void write64(char *to, uint64_t n)
{
	for (size_t i = 8; i-- > 0; n >>= 8)
		to[i] = (char)(n & 0xFF);
}

static bool parse_data(struct slice bytes, struct walframe *out, struct fail *why)
{
	if (bytes.len < DATA_HEADER)
		return fail_set(why, "XLogData of %zu bytes, at least %d expected", bytes.len, DATA_HEADER);
	*out = (struct walframe){ .kind = WALFRAME_DATA,
				  .start = read64(bytes.at + 1),
				  .end = read64(bytes.at + 9),
				  .sent_at = (int64_t)read64(bytes.at + 17),
				  .payload = { bytes.at + DATA_HEADER, bytes.len - DATA_HEADER } };
	return true;
}

static bool parse_keepalive(struct slice bytes, struct walframe *out, struct fail *why)
{
	unsigned char reply;

	if (bytes.len != KEEPALIVE_SIZE)
		return fail_set(why, "keepalive of %zu bytes, %d expected", bytes.len, KEEPALIVE_SIZE);
	reply = (unsigned char)bytes.at[17];
	if (reply > 1)
		return fail_set(why, "keepalive with %u where 0 or 1 says whether to reply", reply);
	*out = (struct walframe){ .kind = WALFRAME_KEEPALIVE,
				  .end = read64(bytes.at + 1),
				  .sent_at = (int64_t)read64(bytes.at + 9),
				  .reply_demanded = reply == 1 };
	return true;
}

bool walframe_parse(struct slice bytes, struct walframe *out, struct fail *why)
{
	if (bytes.len == 0)
		return fail_set(why, "empty message on the replication connection");
	switch (bytes.at[0]) {
	case 'w':
		return parse_data(bytes, out, why);
	case 'k':
		return parse_keepalive(bytes, out, why);
	default:
		return fail_set(why,
				"message of unknown kind 0x%02x on the replication connection, 'w' or 'k' expected",
				(unsigned)(unsigned char)bytes.at[0]);
	}
}

void walframe_status(char out[WALFRAME_STATUS_SIZE], lsn_t written, lsn_t flushed, int64_t now, bool demand_reply)
{
	out[0] = 'r';
	write64(out + 1, written);
	write64(out + 9, flushed);
	write64(out + 17, flushed); /* applied */
	write64(out + 25, (uint64_t)now);
	out[33] = demand_reply ? 1 : 0;
}
