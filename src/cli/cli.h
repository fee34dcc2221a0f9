/* SPDX-License-Identifier: MIT */
/*
 * cli.h - the commands of quire(1), and what they share.
 *
 * A command gets argv from its own name on and returns the exit code. It prints
 * to stdout what was asked for, and to stderr one line when it fails:
 *
 *     quire run: unknown option '--memroy', did you mean '--memory'?
 *     Try `quire run --help`.
 */
#ifndef QUIRE_CLI_CLI_H
#define QUIRE_CLI_CLI_H

#include <stdbool.h>

/* Exit codes, as env(1) and timeout(1) have them. */
enum {
	EXIT_NO = 1,      /* the answer is no */
	EXIT_USAGE = 2,   /* all but run: wrong arguments */
	EXIT_QUIRE = 125, /* run: quire failed, or wrong arguments */
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
};

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary; /* one line */
	const char *help;    /* all of --help */
	const struct option *options;
	int usage; /* exit code for wrong arguments */
};

extern const struct command run_command;
extern const struct command stat_command;
extern const struct command doctor_command;
extern const struct command check_command;

/* One option: "--name", or "--name VALUE" and "--name=VALUE". */
struct option {
	const char *name; /* without the dashes; NULL ends a list */
	int id;
	bool has_value;
};

enum { OPTION_HELP = 1, OPTION_OWN = 16 }; /* ids of a command's own start there */

enum option_result {
	OPTION_END = 0,    /* no more: o->at is the first argument */
	OPTION_ERROR = -1, /* it was said on stderr */
};

/* Walks argv; starts with { .command, .argc, .argv, .at = 1 }. */
struct option_walk {
	const struct command *command;
	int argc;
	char **argv;
	int at;
	const char *name;  /* of the option just found */
	const char *value; /* NULL without one */
};

/* option_next - the id of the next option, or an option_result. */
int option_next(struct option_walk *o);

/* nearest - of count names the one that was meant, NULL if none is close. */
const char *nearest(const char *word, const char *const *names, int count);

/* complain - "quire COMMAND: ..." and the way to the help; returns c->usage. */
int complain(const struct command *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* fail - "quire COMMAND: ..." alone; returns code. */
int fail(const struct command *c, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* json_string - text in quotes, escaped, on stdout. */
void json_string(const char *text);

#endif
