#include "writer.h"

#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "goodbye.h"
#include "walpush/base/clock.h"
#include "walpush/change/render.h"

void writer_init(struct writer *w, struct writers *all, struct lws *wsi)
{
	w->wsi = wsi;
	w->all = all;
	w->direct = lws_is_ssl(wsi) ? -1 : lws_get_socket_fd(wsi);
}

void writer_fini(struct writer *w)
{
	writer_behind(w, false);
	buf_fini(&w->reply);
}

void writer_behind(struct writer *w, bool behind)
{
	if (w->is_behind == behind)
		return;
	w->is_behind = behind;
	if (behind) {
		w->behind_since = clock_us();
		DL_APPEND(w->all->behind, w);
		lws_callback_on_writable(w->wsi);
	} else {
		DL_DELETE(w->all->behind, w);
	}
}

/* Returns how many bytes the socket takes at once. The library would make the same call, but its way there is a twentieth of the cost of a
 * delivery. The library finds errors by itself when it gets the rest. */
static size_t send_direct(struct writer *w, const char *bytes, size_t len)
{
	ssize_t n = w->direct < 0 || lws_partial_buffered(w->wsi)
			    ? 0
			    : send(w->direct, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n > 0 ? (size_t)n : 0;
}

int writer_raw(struct writer *w, const char *bytes, size_t len)
{
	size_t sent = send_direct(w, bytes, len);

	metrics_add(w->all->counts, METRICS_SENT_BYTES, (int64_t)len);
	if (sent == len)
		return 0;
	if (lws_write(w->wsi, (unsigned char *)bytes + sent, len - sent, LWS_WRITE_RAW) < 0)
		return -1;
	if (lws_partial_buffered(w->wsi))
		writer_behind(w, true);
	return 0;
}

int writer_text(struct writer *w, struct slice payload)
{
	char header[FRAME_HEADER_MAX];
	struct buf *frame = &w->all->scratch;

	buf_clear(frame);
	buf_add(frame, header, render_frame_header(header, payload.len));
	buf_add_slice(frame, payload);
	return writer_raw(w, frame->data, frame->len);
}

void writer_queue(struct writer *w, unsigned char opcode, struct slice payload)
{
	char header[FRAME_HEADER_MAX];
	size_t n = render_frame_header(header, payload.len);

	header[0] = (char)(0x80 | opcode);
	buf_add(&w->reply, header, n);
	buf_add_slice(&w->reply, payload);
}

int writer_queued(struct writer *w)
{
	int result = w->reply.len ? writer_raw(w, w->reply.data, w->reply.len) : 0;

	buf_fini(&w->reply);
	return result;
}

void writer_goodbye(struct writer *w)
{
	unsigned char frame[GOODBYE_MAX];

	if (w->is_behind || w->said_goodbye)
		return;
	w->said_goodbye = true;
	if (lws_write(w->wsi, frame, goodbye_frame(w->close_code, w->close_words, frame), LWS_WRITE_RAW) < 0)
		writer_kill(w);
}

/* A failed write is ignored: if the socket does not take these four bytes at once, no close frame can reach the peer. */
void writer_answer_close(struct writer *w, const unsigned char *payload, size_t len)
{
	unsigned char frame[4] = { 0x88 };

	if (len > 1)
		memcpy(frame + 2, payload, frame[1] = 2);
	w->said_goodbye = true;
	lws_write(w->wsi, frame, 2u + frame[1], LWS_WRITE_RAW);
}

void writer_kill(struct writer *w)
{
	w->is_hung_up = true;
	lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}
