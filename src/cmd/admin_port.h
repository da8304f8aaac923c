/* admin_port: one request to the admin port of a running walpush. Blocking; for commands. */
#ifndef WALPUSH_CMD_ADMIN_PORT_H
#define WALPUSH_CMD_ADMIN_PORT_H

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"

struct admin_answer {     /* zero it before; buf_fini(&text) after */
	struct buf text;  /* head and body */
	int status;       /* of HTTP; 0: the answer is no HTTP */
	const char *body; /* in `text` */
};

/* A socket; -1: nobody answers there, and *why says so. `patience`: seconds, for each step. */
int admin_port_dial(const struct conf_admin *admin, int patience, const char **why);
/* GET. `token` NULL: none is sent. At most `most` bytes are read. False: no answer; *why says so. */
bool admin_port_ask(int fd, const char *target, const char *token, size_t most, struct admin_answer *out,
		    const char **why);

#endif
