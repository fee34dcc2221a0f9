/* SPDX-License-Identifier: MIT */
/*
 * parse.c - the text form of scenarios (docs/scenario.md), read and written.
 *
 *     line at the margin   declares: title, file, region, thread, before, expect, ...
 *     indented line        operations of the thread, or of `before`, above it
 *
 * The tables are the grammar: declarations[], and forms[] with the arguments of each
 * operation. Parser, printer and messages all go by them. The text is read twice, the first
 * time for the names of threads alone: t1 may wait for a t2 that comes later. What can only
 * be told from the whole (is a page in its region, whoever grows it? does anyone wait for
 * himself?) is looked at in the end, by check_all().
 *
 * The first thing wrong ends it. Whoever finds it calls bad(), which says what and returns
 * false, and everybody above hands the false on.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/scenario.h"

#define LINE_MOST 256
#define WORDS     64
#define LIST_MOST 320
#define NONE      0xff

struct parser {
	struct scenario *s;
	char *why;
	size_t why_size;
	int line;
	unsigned names;          /* threads that the text has in all */
	struct scenario_op *ops; /* where an indented line's operations go; NULL: nowhere */
	unsigned *ops_count;
	const char *usage; /* of the operation or declaration that is being read */
	int thread_line[SCENARIO_THREADS];
	bool has_before, has_memory, has_ahead, has_swap;
	char *word[WORDS];
	unsigned words, at;
};

/* --- saying what is wrong ---------------------------------------------------- */

static bool bad(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, p->why_size, fmt, ap);
	va_end(ap);
	return false;
}

/* The word that is next is not what it should be. */
static bool unexpected(struct parser *p, const char *expected)
{
	const char *usage = p->usage ? p->usage : "";
	const char *form = *usage ? "; the form is: " : "";

	if (p->at < p->words)
		return bad(p, "seen `%s`, expected %s%s%s", p->word[p->at], expected, form, usage);
	return bad(p, "seen nothing, expected %s%s%s", expected, form, usage);
}

struct list {
	char text[LIST_MOST];
	size_t used;
};

static void list_add(struct list *l, const char *word)
{
	if (l->used < sizeof(l->text))
		l->used += (size_t)snprintf(l->text + l->used, sizeof(l->text) - l->used, "%s%s",
					    l->used ? ", " : "", word);
}

/* --- words ------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cut text, which is written to, into words. */
static bool cut(struct parser *p, char *text)
{
	p->words = p->at = 0;
	for (char *at = text; *at;) {
		while (is_blank(*at))
			*at++ = 0;
		if (!*at)
			break;
		if (p->words == WORDS)
			return bad(p, "more words in a line than expected, %d at most", WORDS);
		p->word[p->words++] = at;
		while (*at && !is_blank(*at))
			at++;
	}
	return true;
}

static const char *next(const struct parser *p)
{
	return p->at < p->words ? p->word[p->at] : "";
}

static bool take(struct parser *p, const char *word)
{
	if (strcmp(next(p), word) != 0)
		return false;
	p->at++;
	return true;
}

static bool at_end(struct parser *p)
{
	return p->at == p->words || unexpected(p, "the end");
}

/* A number of low .. high; what: "a page". */
static bool number(struct parser *p, const char *what, int low, int high, int *out)
{
	const char *w = next(p);
	char expected[80];
	size_t n = strlen(w);

	snprintf(expected, sizeof(expected), "%s, %d to %d", what, low, high);
	if (n == 0 || n > 6 || strspn(w, "0123456789") != n)
		return unexpected(p, expected);
	*out = atoi(w);
	if (*out < low || *out > high)
		return unexpected(p, expected);
	p->at++;
	return true;
}

/* Pages, and perhaps half of one: "2" or "2.5". */
static bool size(struct parser *p, int *pages, int *half)
{
	char expected[80];
	char *w = p->at < p->words ? p->word[p->at] : NULL;
	char *dot = w ? strchr(w, '.') : NULL;

	snprintf(expected, sizeof(expected), "pages, 0 to %d, as 2 or 2.5", SIM_FILE_PAGES);
	if (dot && strcmp(dot, ".5") != 0)
		return unexpected(p, expected);
	*half = dot != NULL;
	if (dot)
		*dot = 0;
	bool ok = number(p, "pages", 0, SIM_FILE_PAGES - *half, pages);
	if (dot)
		*dot = '.';
	return ok || unexpected(p, expected);
}

/* One of several words, each with its value. */
struct choice {
	const char *word; /* NULL: the end */
	uint8_t value;
};

static bool choose(struct parser *p, const struct choice *c, uint8_t *out)
{
	struct list expected = { .used = 0 };

	for (const struct choice *i = c; i->word; i++) {
		if (take(p, i->word)) {
			*out = i->value;
			return true;
		}
		list_add(&expected, i->word);
	}
	char text[LIST_MOST + 16];
	snprintf(text, sizeof(text), "one of: %s", expected.text);
	return unexpected(p, text);
}

static const char *chosen(const struct choice *c, uint8_t value)
{
	while (c->word && c->value != value)
		c++;
	return c->word ? c->word : "?";
}

static const struct choice rights[] = {
	{ "r", RT_READ },
	{ "rw", RT_READ | RT_WRITE },
	{ NULL, 0 },
};
static const struct choice rights_or_none[] = {
	{ "none", 0 },
	{ "r", RT_READ },
	{ "rw", RT_READ | RT_WRITE },
	{ NULL, 0 },
};
static const struct choice sharing[] = { { "shared", false }, { "private", true }, { NULL, 0 } };
static const struct choice advices[] = {
	{ "normal", ADVICE_NORMAL },         { "random", ADVICE_RANDOM },
	{ "sequential", ADVICE_SEQUENTIAL }, { "willneed", ADVICE_WILLNEED },
	{ "dontneed", ADVICE_DONTNEED },     { "cold", ADVICE_COLD },
	{ "pageout", ADVICE_PAGEOUT },       { NULL, 0 },
};
static const struct choice failures[] = {
	{ "reads", FAIL_READS }, { "hangs", FAIL_HANGS }, { "writes", FAIL_WRITES },
	{ "syncs", FAIL_SYNCS }, { "none", FAIL_NONE },   { NULL, 0 },
};
static const struct choice results[] = {
	{ "ok", RESULT_OK },         { "sigbus", RESULT_SIGBUS },
	{ "segv", RESULT_SEGV },     { "enomem", RESULT_ENOMEM },
	{ "killed", RESULT_KILLED }, { "error", RESULT_ERROR },
	{ "busy", RESULT_BUSY },     { "exist", RESULT_EXIST },
	{ "any", RESULT_ANY },       { NULL, 0 },
};
static const struct choice comparisons[] = {
	{ "<=", '<' },
	{ "=", '=' },
	{ ">=", '>' },
	{ NULL, 0 },
};

/* --- names ------------------------------------------------------------------- */

/* What has names; each lies first in its struct. */
struct names {
	const char *kind;
	const char *first;
	size_t stride;
	unsigned count;
};

static struct names files_of(const struct scenario *s)
{
	return (struct names){ "file", s->file[0].name, sizeof(s->file[0]), s->files };
}

static struct names regions_of(const struct scenario *s)
{
	return (struct names){ "region", s->region[0].name, sizeof(s->region[0]), s->regions };
}

static struct names threads_of(const struct scenario *s, unsigned n)
{
	return (struct names){ "thread", s->thread[0].name, sizeof(s->thread[0]), n };
}

static unsigned find(const struct names *n, const char *word)
{
	for (unsigned i = 0; i < n->count; i++)
		if (strcmp(n->first + i * n->stride, word) == 0)
			return i;
	return NONE;
}

/* The next word is the name of one of them. */
static bool known(struct parser *p, struct names n, uint8_t *out)
{
	struct list list = { .used = 0 };
	char expected[LIST_MOST + 64];
	unsigned i = find(&n, next(p));

	if (i != NONE) {
		*out = (uint8_t)i;
		p->at++;
		return true;
	}
	for (i = 0; i < n.count; i++)
		list_add(&list, n.first + i * n.stride);
	snprintf(expected, sizeof(expected), "a %s, declared above: %s", n.kind,
		 n.count ? list.text : "there is none");
	return unexpected(p, expected);
}

/* The next word is the name of a new one, of at most `most`. */
static bool unknown(struct parser *p, struct names n, unsigned most, char *to)
{
	const char *w = next(p);
	size_t len = strlen(w);
	bool good = isalpha((unsigned char)w[0]) || w[0] == '_';

	if (n.count == most)
		return bad(p, "one %s too many, expected %u at most", n.kind, most);
	for (size_t i = 0; i < len; i++)
		good = good && (isalnum((unsigned char)w[i]) || w[i] == '_');
	/* `expect word A 0 0 = start` is no thread's. */
	if (!good || len >= SCENARIO_NAME || strcmp(w, "start") == 0)
		return unexpected(p, "a name: letters, digits and _, 15 at most, not `start`");
	if (find(&n, w) != NONE)
		return bad(p, "a second %s `%s`, expected a name of its own", n.kind, w);
	memset(to, 0, SCENARIO_NAME);
	memcpy(to, w, len);
	p->at++;
	return true;
}

/* --- arguments of operations --------------------------------------------------- */

enum arg {
	NOTHING,
	REGION,
	A_FILE,
	THREAD,
	PAGE,
	WORD,
	RANGE,
	PART,
	RIGHTS,
	PROTECTION,
	ADVICE,
	FAILURE,
	AS,
	PAGES,
	MOVE,
	SOURCE,
	HOLES,
	SIZE,
	ROUNDS,
	FRAMES,
	ROOM,
};

static const char *const arg_name[] = {
	[REGION] = "REGION",
	[A_FILE] = "FILE",
	[THREAD] = "THREAD",
	[PAGE] = "PAGE",
	[WORD] = "[WORD]",
	[RANGE] = "PAGE PAGES",
	[PART] = "[PAGE PAGES]",
	[RIGHTS] = "r|rw",
	[PROTECTION] = "none|r|rw",
	[ADVICE] = "ADVICE",
	[FAILURE] = "reads|writes|syncs|hangs|none",
	[AS] = "[as=FILE [PAGE]]",
	[PAGES] = "PAGES",
	[MOVE] = "[move]",
	[SOURCE] = "REGION PAGE PAGES",
	[HOLES] = "[holes]",
	[SIZE] = "PAGES[.5]",
	[ROUNDS] = "[ROUNDS]",
	[FRAMES] = "FRAMES",
	[ROOM] = "PAGES|never",
};

static bool read_page(struct parser *p, int *out)
{
	return number(p, "a page", 0, SIM_FILE_PAGES - 1, out);
}

static bool read_word(struct parser *p, uint8_t *out)
{
	int word = 0;

	if (!number(p, "a word of the page", 0, SIM_WORDS - 1, &word))
		return false;
	*out = (uint8_t)word;
	return true;
}

static bool read_range(struct parser *p, struct scenario_op *op)
{
	op->has_range = true;
	return read_page(p, &op->page) &&
	       number(p, "a number of pages", 1, SIM_FILE_PAGES, &op->pages);
}

/* as=FILE [PAGE]; without it, what the region shows by its declaration. */
static bool read_as(struct parser *p, struct scenario_op *op)
{
	const struct scenario_region *r = &p->s->region[op->region];

	op->file = r->file;
	op->page = r->page;
	if (p->at == p->words)
		return true;
	if (strncmp(p->word[p->at], "as=", 3) != 0)
		return unexpected(p, "as=FILE, or the end");
	p->word[p->at] += 3;
	op->page = 0;
	op->has_range = true;
	return known(p, files_of(p->s), &op->file) &&
	       (p->at == p->words || read_page(p, &op->page));
}

static bool read_move(struct parser *p, struct scenario_op *op)
{
	op->move = p->at < p->words;
	return !op->move || take(p, "move") || unexpected(p, "move, or the end");
}

/* REGION PAGE PAGES, of which OP_MOVE's other place has as many. */
static bool read_source(struct parser *p, struct scenario_op *op)
{
	int page = 0;

	if (!known(p, regions_of(p->s), &op->from_region) || !read_page(p, &page))
		return false;
	op->from_page = (uint8_t)page;
	return number(p, "a number of pages", 1, SIM_FILE_PAGES, &op->pages);
}

static bool read_holes(struct parser *p, struct scenario_op *op)
{
	op->holes = p->at < p->words;
	return !op->holes || take(p, "holes") || unexpected(p, "holes, or the end");
}

static bool read_room(struct parser *p, struct scenario_op *op)
{
	op->pages = -1;
	return take(p, "never") || number(p, "`never` or pages", 0, SIM_FILE_PAGES, &op->pages);
}

/* Read an argument. An optional one that is not there reads nothing. */
static bool read_arg(struct parser *p, enum arg a, struct scenario_op *op)
{
	bool more = p->at < p->words;

	switch (a) {
	case NOTHING:
		return true;
	case REGION:
		return known(p, regions_of(p->s), &op->region);
	case A_FILE:
		return known(p, files_of(p->s), &op->file);
	case THREAD:
		return known(p, threads_of(p->s, p->names), &op->thread);
	case PAGE:
		return read_page(p, &op->page);
	case WORD:
		return !more || read_word(p, &op->word);
	case RANGE:
		return read_range(p, op);
	case PART:
		return !isdigit((unsigned char)next(p)[0]) || read_range(p, op);
	case RIGHTS:
		return choose(p, rights, &op->how);
	case PROTECTION:
		return choose(p, rights_or_none, &op->how);
	case ADVICE:
		return choose(p, advices, &op->how);
	case FAILURE:
		return choose(p, failures, &op->how);
	case AS:
		return read_as(p, op);
	case PAGES:
		return number(p, "a number of pages", 1, SIM_FILE_PAGES, &op->pages);
	case MOVE:
		return read_move(p, op);
	case SOURCE:
		return read_source(p, op);
	case HOLES:
		return read_holes(p, op);
	case SIZE:
		return size(p, &op->page, &op->half);
	case ROUNDS:
		op->pages = 1;
		return !more || number(p, "a number of rounds", 1, 99, &op->pages);
	case FRAMES:
		return number(p, "a number of frames", 1, SIM_FRAMES, &op->pages);
	case ROOM:
		return read_room(p, op);
	}
	return false;
}

struct out {
	char *buf;
	size_t size, used;
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;

	if (o->used >= o->size)
		return;
	va_start(ap, fmt);
	o->used += (size_t)vsnprintf(o->buf + o->used, o->size - o->used, fmt, ap);
	va_end(ap);
}

static void put_number(struct out *o, bool there, int n)
{
	if (there)
		put(o, " %d", n);
}

/* Write it again, as short as it can be. */
static void print_arg(const struct scenario *s, enum arg a, const struct scenario_op *op,
		      struct out *o)
{
	switch (a) {
	case NOTHING:
		break;
	case REGION:
		put(o, " %s", s->region[op->region].name);
		break;
	case A_FILE:
		put(o, " %s", s->file[op->file].name);
		break;
	case THREAD:
		put(o, " %s", s->thread[op->thread].name);
		break;
	case PAGE:
		put_number(o, true, op->page);
		break;
	case WORD:
		put_number(o, op->word, op->word);
		break;
	case RANGE:
	case PART:
		put_number(o, op->has_range, op->page);
		put_number(o, op->has_range, op->pages);
		break;
	case RIGHTS:
	case PROTECTION:
		put(o, " %s", chosen(rights_or_none, op->how));
		break;
	case ADVICE:
		put(o, " %s", chosen(advices, op->how));
		break;
	case FAILURE:
		put(o, " %s", chosen(failures, op->how));
		break;
	case AS:
		if (op->has_range)
			put(o, " as=%s %d", s->file[op->file].name, op->page);
		break;
	case PAGES:
	case FRAMES:
		put_number(o, true, op->pages);
		break;
	case MOVE:
		put(o, "%s", op->move ? " move" : "");
		break;
	case SOURCE:
		put(o, " %s %d %d", s->region[op->from_region].name, op->from_page, op->pages);
		break;
	case HOLES:
		put(o, "%s", op->holes ? " holes" : "");
		break;
	case SIZE:
		put(o, " %d%s", op->page, op->half ? ".5" : "");
		break;
	case ROUNDS:
		put_number(o, op->pages != 1, op->pages);
		break;
	case ROOM:
		put_number(o, op->pages >= 0, op->pages);
		put(o, "%s", op->pages < 0 ? " never" : "");
		break;
	}
}

/* --- operations ------------------------------------------------------------------ */

#define ARGS 4

static const struct form {
	const char *name;
	enum op_kind kind;
	enum arg arg[ARGS];
} forms[] = {
	{ "read", OP_READ, { REGION, PAGE, WORD } },
	{ "write", OP_WRITE, { REGION, PAGE, WORD } },
	{ "fill", OP_FILL, { REGION, PAGE } },
	{ "walk", OP_WALK, { REGION, PAGE } },
	{ "nowait", OP_NOWAIT, { REGION, PAGE } },
	{ "populate", OP_POPULATE, { REGION, RANGE, RIGHTS } },
	{ "map", OP_MAP, { REGION, AS } },
	{ "unmap", OP_UNMAP, { REGION, PART } },
	{ "protect", OP_PROTECT, { REGION, PART, PROTECTION } },
	{ "advise", OP_ADVISE, { REGION, PART, ADVICE } },
	{ "sync", OP_SYNC, { REGION, PART } },
	{ "async", OP_ASYNC, { REGION, PART } },
	{ "remap", OP_REMAP, { REGION, PAGES, MOVE } },
	{ "pin", OP_PIN, { REGION, RANGE, RIGHTS } },
	{ "unpin", OP_UNPIN, { REGION, RANGE } },
	{ "move", OP_MOVE, { REGION, PAGE, SOURCE, HOLES } },
	{ "resident", OP_RESIDENT, { REGION } },
	{ "truncate", OP_TRUNCATE, { A_FILE, SIZE } },
	{ "outside", OP_OUTSIDE, { A_FILE, SIZE } },
	{ "refresh", OP_REFRESH, { NOTHING } },
	{ "pwrite", OP_PWRITE, { A_FILE, PAGE, WORD } },
	{ "reclaim", OP_RECLAIM, { ROUNDS } },
	{ "writeback", OP_WRITEBACK, { NOTHING } },
	{ "budget", OP_BUDGET, { FRAMES } },
	{ "freeze", OP_FREEZE, { NOTHING } },
	{ "kill", OP_KILL, { THREAD } },
	{ "fail", OP_FAIL, { A_FILE, FAILURE } },
	{ "full", OP_FULL, { A_FILE, ROOM } },
	{ "after", OP_AFTER, { THREAD } },
};

#define FORMS (sizeof(forms) / sizeof(forms[0]))

static const struct form *form_named(const char *name)
{
	for (size_t i = 0; i < FORMS; i++)
		if (strcmp(forms[i].name, name) == 0)
			return &forms[i];
	return NULL;
}

static bool no_such_operation(struct parser *p)
{
	struct list list = { .used = 0 };

	for (size_t i = 0; i < FORMS; i++)
		list_add(&list, forms[i].name);
	return bad(p, "seen `%s`, expected an operation: %s", next(p), list.text);
}

/* "unmap REGION [PAGE PAGES]" */
static const char *usage_of(const struct form *f, char *buf, size_t n)
{
	struct out o = { buf, n, 0 };

	put(&o, "%s", f->name);
	for (unsigned i = 0; i < ARGS && f->arg[i]; i++)
		put(&o, " %s", arg_name[f->arg[i]]);
	put(&o, " [-> RESULT|...]");
	return buf;
}

/* What follows `->`, a word: ok|sigbus. Cuts it up. */
static bool read_results(struct parser *p, struct scenario_op *op)
{
	char *all = p->at < p->words ? p->word[p->at] : NULL;
	char *bar = all;

	op->expect = 0;
	if (!all)
		return unexpected(p, "a result after ->");
	for (char *at = all; bar; at = bar + 1) {
		uint8_t one;
		bar = strchr(at, '|');
		if (bar)
			*bar = 0;
		p->word[p->at] = at;
		if (!choose(p, results, &one))
			return false;
		op->expect |= one;
		if (bar)
			p->at--; /* the next part of the same word */
	}
	return true;
}

static bool read_args(struct parser *p, const struct form *f, struct scenario_op *op)
{
	unsigned words = p->words, arrow = p->at;

	while (arrow < words && strcmp(p->word[arrow], "->") != 0)
		arrow++;
	p->words = arrow; /* what is optional ends here */
	for (unsigned i = 0; i < ARGS; i++)
		if (!read_arg(p, f->arg[i], op))
			return false;
	if (p->at < p->words)
		return unexpected(p, "-> or the end");
	p->words = words;
	op->expect = RESULT_OK;
	if (take(p, "->") && !read_results(p, op))
		return false;
	return at_end(p);
}

/* One operation: the words are its. */
static bool operation(struct parser *p)
{
	const struct form *f = form_named(next(p));
	char usage[96];

	if (!p->ops)
		return bad(p, "seen `%s`, indented, expected `thread NAME` or `before` above it",
			   next(p));
	if (!f)
		return no_such_operation(p);
	if (*p->ops_count == SCENARIO_OPS)
		return bad(p, "one operation too many, expected %d at most", SCENARIO_OPS);
	if (p->ops == p->s->before && (f->kind == OP_KILL || f->kind == OP_AFTER))
		return bad(p, "seen `%s` in `before`, expected it in a thread: none runs yet",
			   f->name);
	p->at++;
	p->usage = usage_of(f, usage, sizeof(usage));
	struct scenario_op *op = &p->ops[*p->ops_count];
	*op = (struct scenario_op){ .kind = (uint8_t)f->kind, .line = p->line };
	bool ok = read_args(p, f, op);
	p->usage = NULL;
	*p->ops_count += ok;
	return ok;
}

/* An indented line: operations, with ; between. */
static bool operations(struct parser *p, char *text)
{
	for (char *at = text, *end = text; end; at = end + 1) {
		end = strchr(at, ';');
		if (end)
			*end = 0;
		if (!cut(p, at))
			return false;
		if (p->words == 0)
			return bad(p, "nothing on one side of `;`, expected an operation");
		if (!operation(p))
			return false;
	}
	return true;
}

static void print_results(uint8_t expect, struct out *o)
{
	const char *between = " -> ";

	if (expect == RESULT_OK)
		return;
	if (expect == RESULT_ANY) {
		put(o, " -> any");
		return;
	}
	for (const struct choice *c = results; c->word; c++) {
		if (c->value == RESULT_ANY || !(expect & c->value))
			continue;
		put(o, "%s%s", between, c->word);
		between = "|";
	}
}

void scenario_op_print(const struct scenario *s, const struct scenario_op *op, char *buf, size_t n)
{
	struct out o = { buf, n, 0 };

	if (n > 0)
		buf[0] = 0;
	for (size_t i = 0; i < FORMS; i++) {
		if (forms[i].kind != op->kind)
			continue;
		put(&o, "%s", forms[i].name);
		for (unsigned j = 0; j < ARGS; j++)
			print_arg(s, forms[i].arg[j], op, &o);
		print_results(op->expect, &o);
	}
}

/* --- declarations ------------------------------------------------------------------ */

static bool declare_title(struct parser *p)
{
	struct out o = { p->s->title, sizeof(p->s->title), 0 };

	if (p->s->title[0])
		return bad(p, "a second title, expected one");
	if (p->at == p->words)
		return unexpected(p, "what meets what, in words");
	for (; p->at < p->words; p->at++)
		put(&o, "%s%s", o.used ? " " : "", p->word[p->at]);
	return o.used < o.size ||
	       bad(p, "a title too long, expected %zu characters at most", o.size - 1);
}

static bool declare_file(struct parser *p)
{
	struct scenario *s = p->s;
	char name[SCENARIO_NAME];
	int pages, half;

	if (!unknown(p, files_of(s), SCENARIO_FILES, name) || !size(p, &pages, &half) || !at_end(p))
		return false;
	memcpy(s->file[s->files].name, name, sizeof(name));
	s->file[s->files].pages = pages;
	s->file[s->files].half = half;
	s->files++;
	return true;
}

/* FILE PAGE PAGES shared|private, or anon PAGES */
static bool region_content(struct parser *p, struct scenario_region *r)
{
	uint8_t private;

	r->anon = take(p, "anon");
	if (r->anon)
		return number(p, "a number of pages", 1, SIM_FILE_PAGES, &r->pages);
	if (!known(p, files_of(p->s), &r->file) ||
	    !number(p, "its first page of the file", 0, SIM_FILE_PAGES - 1, &r->page) ||
	    !number(p, "a number of pages", 1, SIM_FILE_PAGES - r->page, &r->pages) ||
	    !choose(p, sharing, &private))
		return false;
	r->private = private;
	return p->s->swap == 0 || r->file != p->s->swap_file ||
	       bad(p, "a region of the swap store, expected one of a file, or `anon`");
}

static bool declare_region(struct parser *p)
{
	struct scenario *s = p->s;
	struct scenario_region r = { .page = 0 };

	if (!unknown(p, regions_of(s), SCENARIO_REGIONS, r.name) || !region_content(p, &r) ||
	    !choose(p, rights, &r.rights))
		return false;
	r.unmapped = take(p, "unmapped");
	if (!at_end(p))
		return false;
	s->region[s->regions++] = r;
	return true;
}

static bool frames(struct parser *p, bool *seen, const char *what, int low, int high, unsigned *out)
{
	int n;

	if (*seen)
		return bad(p, "a second `%s`, expected one", p->word[0]);
	*seen = true;
	if (!number(p, what, low, high, &n))
		return false;
	*out = (unsigned)n;
	return at_end(p);
}

/* A file like others, but for what is in it. */
static bool declare_swap(struct parser *p)
{
	struct scenario *s = p->s;
	char name[SCENARIO_NAME];
	static char word[] = "swap";

	if (!frames(p, &p->has_swap, "a number of slots", 1, SIM_FILE_PAGES, &s->swap))
		return false;
	p->at = p->words = 0;
	p->word[p->words++] = word;
	if (!unknown(p, files_of(s), SCENARIO_FILES, name))
		return false;
	memcpy(s->file[s->files].name, name, sizeof(name));
	s->file[s->files].pages = (int)s->swap;
	s->swap_file = s->files++;
	return true;
}

static bool declare_memory(struct parser *p)
{
	return frames(p, &p->has_memory, "a number of frames", 1, SIM_FRAMES, &p->s->memory);
}

static bool declare_ahead(struct parser *p)
{
	return frames(p, &p->has_ahead, "a number of pages", 0, SIM_FILE_PAGES, &p->s->ahead);
}

static bool declare_tiny(struct parser *p)
{
	p->s->tiny = true;
	return at_end(p);
}

static bool declare_before(struct parser *p)
{
	if (p->has_before)
		return bad(p, "a second `before`, expected one");
	p->has_before = true;
	p->ops = p->s->before;
	p->ops_count = &p->s->befores;
	return at_end(p);
}

static bool declare_thread(struct parser *p)
{
	struct scenario *s = p->s;
	char name[SCENARIO_NAME];

	if (!unknown(p, threads_of(s, s->threads), SCENARIO_THREADS, name) || !at_end(p))
		return false;
	struct scenario_thread *t = &s->thread[s->threads];
	memcpy(t->name, name, sizeof(name));
	p->thread_line[s->threads++] = p->line;
	p->ops = t->op;
	p->ops_count = &t->ops;
	return true;
}

/* FILE PAGE, of an expectation. */
static bool expect_page(struct parser *p, struct scenario_expect *e)
{
	return known(p, files_of(p->s), &e->file) && read_page(p, &e->page);
}

/* word FILE PAGE WORD = THREAD|start */
static bool expect_word(struct parser *p, struct scenario_expect *e)
{
	uint8_t thread;

	if (!expect_page(p, e) || !read_word(p, &e->word))
		return false;
	if (!take(p, "="))
		return unexpected(p, "=");
	e->cmp = '=';
	e->thread = -1;
	if (take(p, "start"))
		return true;
	if (!known(p, threads_of(p->s, p->names), &thread))
		return false;
	e->thread = thread;
	return true;
}

static bool expect_count(struct parser *p, struct scenario_expect *e)
{
	uint8_t cmp;
	int n;

	if (e->what == EXPECT_READS && !expect_page(p, e))
		return false;
	if (!choose(p, comparisons, &cmp) || !number(p, "a number", 0, 999999, &n))
		return false;
	e->cmp = (char)cmp;
	e->value = (uint64_t)n;
	return true;
}

static bool declare_expect(struct parser *p)
{
	static const struct choice whats[] = {
		{ "reads", EXPECT_READS },
		{ "word", EXPECT_WORD },
		{ "retries", EXPECT_RETRIES },
		{ "major", EXPECT_MAJOR },
		{ "lost", EXPECT_LOST },
		{ "vmas", EXPECT_VMAS },
		{ NULL, 0 },
	};
	static const char *const usage[] = {
		[EXPECT_READS] = "expect reads FILE PAGE <=|=|>= NUMBER",
		[EXPECT_WORD] = "expect word FILE PAGE WORD = THREAD|start",
		[EXPECT_RETRIES] = "expect retries <=|=|>= NUMBER",
		[EXPECT_MAJOR] = "expect major <=|=|>= NUMBER",
		[EXPECT_LOST] = "expect lost <=|=|>= NUMBER",
		[EXPECT_VMAS] = "expect vmas <=|=|>= NUMBER",
	};

	if (p->s->expects == SCENARIO_EXPECTS)
		return bad(p, "one expectation too many, expected %d at most", SCENARIO_EXPECTS);
	struct scenario_expect *e = &p->s->expect[p->s->expects];
	*e = (struct scenario_expect){ .line = p->line };
	if (!choose(p, whats, &e->what))
		return false;
	p->usage = usage[e->what];
	bool ok = e->what == EXPECT_WORD ? expect_word(p, e) : expect_count(p, e);
	ok = ok && at_end(p);
	p->s->expects += ok;
	return ok;
}

static const struct declaration {
	const char *name;
	bool (*read)(struct parser *p);
	const char *usage;
} declarations[] = {
	{ "title", declare_title, "title WORDS" },
	{ "file", declare_file, "file NAME PAGES[.5]" },
	{ "region", declare_region,
	  "region NAME FILE PAGE PAGES shared|private r|rw [unmapped], or NAME anon PAGES r|rw "
	  "[unmapped]" },
	{ "swap", declare_swap, "swap SLOTS" },
	{ "memory", declare_memory, "memory FRAMES" },
	{ "ahead", declare_ahead, "ahead PAGES" },
	{ "tiny", declare_tiny, "tiny" },
	{ "before", declare_before, "before" },
	{ "thread", declare_thread, "thread NAME" },
	{ "expect", declare_expect, "expect reads|word|retries|major|lost|vmas ..." },
};

#define DECLARATIONS (sizeof(declarations) / sizeof(declarations[0]))

static bool declare(struct parser *p, char *text)
{
	struct list list = { .used = 0 };

	if (!cut(p, text))
		return false;
	p->ops = NULL; /* what is indented belongs to the line above it */
	for (size_t i = 0; i < DECLARATIONS; i++) {
		if (take(p, declarations[i].name)) {
			p->usage = declarations[i].usage;
			bool ok = declarations[i].read(p);
			p->usage = NULL;
			return ok;
		}
		list_add(&list, declarations[i].name);
	}
	if (form_named(next(p)))
		return bad(p, "seen `%s` at the margin, expected it indented, below a thread",
			   next(p));
	return bad(p, "seen `%s`, expected a declaration: %s", next(p), list.text);
}

/* --- the whole -------------------------------------------------------------------- */

/* Copy the next line of *text, without its comment. False: it is too long. */
static bool next_line(const char **text, char *line)
{
	size_t n = strcspn(*text, "\n"), used = strcspn(*text, "#\n");

	if (used >= LINE_MOST)
		return false;
	while (used > 0 && is_blank((*text)[used - 1]))
		used--;
	memcpy(line, *text, used);
	line[used] = 0;
	*text += n + ((*text)[n] == '\n');
	return true;
}

/* The names of all threads; what is wrong with them is said when it is their turn. */
static void name_threads(struct parser *p, const char *text)
{
	char line[LINE_MOST];

	while (*text && p->names < SCENARIO_THREADS) {
		if (!next_line(&text, line))
			return;
		if (is_blank(line[0]) || !cut(p, line) || p->words < 2 ||
		    strcmp(p->word[0], "thread") != 0)
			continue;
		snprintf(p->s->thread[p->names++].name, SCENARIO_NAME, "%.*s", SCENARIO_NAME - 1,
			 p->word[1]);
	}
}

static bool read_lines(struct parser *p, const char *text)
{
	char line[LINE_MOST];

	while (*text) {
		p->line++;
		if (!next_line(&text, line))
			return bad(p, "a line of %d characters and more, expected less", LINE_MOST);
		if (!line[0])
			continue;
		if (!(is_blank(line[0]) ? operations(p, line) : declare(p, line)))
			return false;
	}
	return true;
}

/* Pages that region r ever has. */
static int reach(const struct scenario *s, unsigned r)
{
	int most = s->region[r].pages;

	for (unsigned t = 0; t <= s->threads; t++) {
		const struct scenario_op *op = t < s->threads ? s->thread[t].op : s->before;
		unsigned n = t < s->threads ? s->thread[t].ops : s->befores;
		for (unsigned i = 0; i < n; i++)
			if (op[i].kind == OP_REMAP && op[i].region == r && op[i].pages > most)
				most = op[i].pages;
	}
	return most;
}

/* The other place of a move. That they do not overlap is the api's business. */
static bool check_source(struct parser *p, const struct scenario_op *op)
{
	const struct scenario_region *r = &p->s->region[op->from_region];
	int most = reach(p->s, op->from_region);

	if (!r->anon || !p->s->region[op->region].anon)
		return bad(p, "a move of a file's pages, expected two anonymous regions");
	if (op->from_page + op->pages > most)
		return bad(p, "pages %d to %d of region %s, expected 0 to %d", op->from_page,
			   op->from_page + op->pages - 1, r->name, most - 1);
	if (op->from_region == op->region && op->from_page < op->page + op->pages &&
	    op->page < op->from_page + op->pages)
		return bad(p, "pages moved onto each other, expected two places");
	return true;
}

static bool check_region_op(struct parser *p, const struct scenario_op *op)
{
	const struct scenario_region *r = &p->s->region[op->region];
	int most = reach(p->s, op->region);
	bool one = op->kind <= OP_NOWAIT;
	bool some = op->has_range || op->kind == OP_MOVE;
	int first = one || some ? op->page : 0;
	int pages = one ? 1 : some ? op->pages : 0;

	if (!r->anon && (op->kind == OP_FILL || op->kind == OP_WALK))
		return bad(p, "region %s is of a file, expected an anonymous one", r->name);
	if (r->anon && (op->kind == OP_SYNC || op->kind == OP_ASYNC))
		return bad(p, "region %s is anonymous, expected one of a file", r->name);
	if (r->anon && op->kind == OP_MAP && op->has_range)
		return bad(p, "region %s is anonymous, expected `map %s` alone", r->name, r->name);
	if (op->kind == OP_MOVE && !check_source(p, op))
		return false;
	if (op->kind == OP_REMAP && r->page + op->pages > SIM_FILE_PAGES)
		return bad(p, "region %s of %d pages, expected %d at most: it begins at page %d",
			   r->name, op->pages, SIM_FILE_PAGES - r->page, r->page);
	if (op->kind == OP_MAP && op->page + r->pages > SIM_FILE_PAGES)
		return bad(p, "%d pages from page %d of the file on, expected an end at %d at most",
			   r->pages, op->page, SIM_FILE_PAGES);
	if (op->kind == OP_MAP || op->kind == OP_REMAP || first + pages <= most)
		return true;
	if (pages == 1)
		return bad(p, "page %d of region %s, expected 0 to %d", first, r->name, most - 1);
	return bad(p, "pages %d to %d of region %s, expected 0 to %d", first, first + pages - 1,
		   r->name, most - 1);
}

static bool check_ops(struct parser *p, const struct scenario_op *op, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		p->line = op[i].line;
		/* Up to this kind they have a region. */
		if (op[i].kind <= OP_RESIDENT && !check_region_op(p, &op[i]))
			return false;
		bool of_file = op[i].kind >= OP_TRUNCATE && op[i].kind <= OP_PWRITE &&
			       op[i].kind != OP_REFRESH;
		if (of_file && p->s->swap && op[i].file == p->s->swap_file)
			return bad(p, "the swap store's size and content are the core's, expected "
				      "another file");
	}
	return true;
}

/* The first `after` of thread t, if it waits for `other`, itself or by way of others. */
static const struct scenario_op *waits_for(const struct scenario *s, unsigned t, unsigned other,
					   unsigned depth)
{
	for (unsigned i = 0; depth > 0 && i < s->thread[t].ops; i++) {
		const struct scenario_op *op = &s->thread[t].op[i];
		if (op->kind == OP_AFTER &&
		    (op->thread == other || waits_for(s, op->thread, other, depth - 1)))
			return op;
	}
	return NULL;
}

static bool check_threads(struct parser *p)
{
	const struct scenario *s = p->s;

	for (unsigned t = 0; t < s->threads; t++) {
		p->line = p->thread_line[t];
		if (s->thread[t].ops == 0)
			return bad(p, "thread %s has no operation, expected one",
				   s->thread[t].name);
		if (!check_ops(p, s->thread[t].op, s->thread[t].ops))
			return false;
		const struct scenario_op *op = waits_for(s, t, t, SCENARIO_THREADS);
		if (!op)
			continue;
		p->line = op->line;
		return bad(p, "thread %s waits for its own end, expected `after` without a circle",
			   s->thread[t].name);
	}
	return true;
}

static bool writes(const struct scenario_op *op, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (op[i].kind == OP_WRITE || op[i].kind == OP_PWRITE)
			return true;
	return false;
}

static bool check_expects(struct parser *p)
{
	const struct scenario *s = p->s;

	for (unsigned i = 0; i < s->expects; i++) {
		const struct scenario_expect *e = &s->expect[i];
		if (e->what != EXPECT_WORD || e->thread < 0 ||
		    writes(s->thread[e->thread].op, s->thread[e->thread].ops))
			continue;
		/* What `before` writes counts as the first thread's. */
		if (e->thread == 0 && writes(s->before, s->befores))
			continue;
		p->line = e->line;
		return bad(p, "a word of thread %s, which writes none, expected one that does",
			   s->thread[e->thread].name);
	}
	return true;
}

static bool check_all(struct parser *p)
{
	const struct scenario *s = p->s;

	if (!s->title[0])
		return bad(p, "no title, expected `title WORDS`");
	if (s->files == 0 && s->regions == 0)
		return bad(p, "no file, expected `file NAME PAGES`");
	if (s->regions == 0)
		return bad(p, "no region, expected `region NAME FILE PAGE PAGES shared|private "
			      "r|rw`");
	if (s->threads == 0)
		return bad(p, "no thread, expected `thread NAME` and its operations");
	return check_ops(p, s->before, s->befores) && check_threads(p) && check_expects(p);
}

int scenario_parse(struct scenario *s, const char *name, const char *text, char *why, size_t n)
{
	struct parser p = { .s = s, .why = why, .why_size = n };

	*s = (struct scenario){ .tiny = false };
	if (n > 0)
		why[0] = 0;
	if (strlen(name) >= sizeof(s->name)) {
		bad(&p, "the name `%s`, expected %zu characters at most", name,
		    sizeof(s->name) - 1);
		return 1;
	}
	memcpy(s->name, name, strlen(name) + 1);
	name_threads(&p, text);
	if (read_lines(&p, text) && check_all(&p))
		return 0;
	return p.line > 0 ? p.line : 1;
}
