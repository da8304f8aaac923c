/*
 * cmd: the commands of the program, `walpush NAME …`, each in src/cmd/cmd_NAME.c.
 *
 * argv[0] is the command's name; options follow. Each command prints its own errors, one line on stderr, and returns
 * the exit code: 0 fine, 1 failed, 2 usage or configuration.
 */
#ifndef WALPUSH_CMD_H
#define WALPUSH_CMD_H

enum { CMD_FINE = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

/* run -c sidecar.conf: serve */
int cmd_run(int argc, char **argv);
/* check -c sidecar.conf [--offline] [--json]: report problems and their fixes */
int cmd_check(int argc, char **argv);
/* sql -c sidecar.conf: print the DBA's script for this configuration */
int cmd_sql(int argc, char **argv);
/* health -c sidecar.conf: ask the admin port whether the server is healthy */
int cmd_health(int argc, char **argv);
/* explain -c sidecar.conf --user 7 --path PATH, --table T --key K, or --event ID: why somebody receives something, or not */
int cmd_explain(int argc, char **argv);
/* listen -c sidecar.conf --user 7 PATH: subscribe and print what arrives */
int cmd_listen(int argc, char **argv);
/* token -c sidecar.conf --user 7 [--lifetime SECONDS]: print a token */
int cmd_token(int argc, char **argv);

#endif
