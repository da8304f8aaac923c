/*
 * cmd: the commands of the program, `walpush NAME …`, one src/cmd_NAME.c each.
 *
 * argv[0] is the command's name; options follow. Each prints its own errors, one line on stderr, and returns the exit code:
 * 0 fine, 1 failed, 2 usage or configuration.
 */
#ifndef WALPUSH_CMD_H
#define WALPUSH_CMD_H

enum { CMD_FINE = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

/* run -c sidecar.conf: serve */
int cmd_run(int argc, char **argv);
/* check -c sidecar.conf [--offline] [--json]: say what is wrong, and how to fix it */
int cmd_check(int argc, char **argv);
/* sql -c sidecar.conf: print what a DBA runs for this configuration */
int cmd_sql(int argc, char **argv);
/* health -c sidecar.conf: ask the admin port whether the server runs well */
int cmd_health(int argc, char **argv);
/* listen -c sidecar.conf --user 7 PATH: subscribe and print what arrives */
int cmd_listen(int argc, char **argv);
/* token -c sidecar.conf --user 7 [--lifetime SECONDS]: print a token */
int cmd_token(int argc, char **argv);

#endif
