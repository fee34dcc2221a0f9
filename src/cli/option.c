/* SPDX-License-Identifier: MIT */
/* option.c - options and complaints: see cli.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define NAMES_MAX 32
#define WORD_MAX  32

static void say(const struct command *c, const char *format, va_list ap)
{
	if (c)
		fprintf(stderr, "quire %s: ", c->name);
	else
		fprintf(stderr, "quire: ");
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

int complain(const struct command *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(c, format, ap);
	va_end(ap);
	if (c)
		fprintf(stderr, "Try `quire %s --help`.\n", c->name);
	else
		fprintf(stderr, "Try `quire --help`.\n");
	return c ? c->usage : EXIT_USAGE;
}

int fail(const struct command *c, int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(c, format, ap);
	va_end(ap);
	return code;
}

static int min3(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits (insert, delete, replace) from a to b; a large number for long words. */
static int distance(const char *a, const char *b)
{
	int row[WORD_MAX + 1];
	int n = (int)strlen(b);

	if (n > WORD_MAX)
		return WORD_MAX;
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= n; j++) {
			int up = row[j];

			row[j] = min3(up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = up;
		}
	}
	return row[n];
}

const char *nearest(const char *word, const char *const *names, int count)
{
	int best = (int)strlen(word) / 3 + 2;
	const char *found = NULL;

	for (int i = 0; i < count; i++) {
		int d = distance(word, names[i]);

		if (d < best) {
			best = d;
			found = names[i];
		}
	}
	return found;
}

static int unknown(const struct option_walk *o, const char *word)
{
	const char *names[NAMES_MAX] = { "help" };
	const char *near;
	int n = 1;

	for (const struct option *p = o->command->options; p->name && n < NAMES_MAX; p++)
		names[n++] = p->name;
	near = nearest(word + strspn(word, "-"), names, n);
	if (near)
		complain(o->command, "unknown option '%s', did you mean '--%s'?", word, near);
	else
		complain(o->command, "unknown option '%s'", word);
	return OPTION_ERROR;
}

static const struct option *lookup(const struct command *c, const char *name, size_t n)
{
	for (const struct option *p = c->options; p->name; p++) {
		if (!strncmp(p->name, name, n) && !p->name[n])
			return p;
	}
	return NULL;
}

static int take_value(struct option_walk *o, const struct option *p, const char *equals)
{
	o->name = p->name;
	o->value = NULL;
	if (!p->has_value && equals) {
		complain(o->command, "option '--%s' takes no value", p->name);
		return OPTION_ERROR;
	}
	if (!p->has_value)
		return p->id;
	if (!equals && o->at == o->argc) {
		complain(o->command, "option '--%s' needs a value", p->name);
		return OPTION_ERROR;
	}
	o->value = equals ? equals + 1 : o->argv[o->at++];
	return p->id;
}

int option_next(struct option_walk *o)
{
	const struct option *p;
	const char *word, *equals;
	char bare[WORD_MAX + 3];
	size_t n;

	if (o->at == o->argc || o->argv[o->at][0] != '-' || !o->argv[o->at][1])
		return OPTION_END;
	word = o->argv[o->at++];
	if (!strcmp(word, "--"))
		return OPTION_END;
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		return OPTION_HELP;
	equals = strchr(word, '=');
	n = equals ? (size_t)(equals - word) : strlen(word);
	if (n > 2 && !strncmp(word, "--", 2)) {
		p = lookup(o->command, word + 2, n - 2);
		if (p)
			return take_value(o, p, equals);
	}
	snprintf(bare, sizeof(bare), "%.*s", (int)n, word);
	return unknown(o, bare);
}

void json_string(const char *text)
{
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}
