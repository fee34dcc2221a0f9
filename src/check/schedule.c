/* SPDX-License-Identifier: MIT */
/*
 * schedule.c - the choices of a run, and their text form:
 *
 *     quire schedule 1
 *     scenario fault-fault                  or: scenario-file /path/race.scn
 *     knobs policy=P1 frames=0 ahead=0 reuse=0 tlb=1 rcu_late=0 short_reads=0 lazy_more=1
 *     invariant UPT
 *     story t2 maps page 0, which is not uptodate
 *     driver @ 0 -> 1                       # the run begins with thread 1
 *     0 @ 137 -> 1                          # thread 0 is preempted before its operation 137
 *     0 @ 140 waits -> 2                    # it cannot go on, or sleeps: of the others, 2
 *     1 @ 55 fails
 *     2 @ 12 picks 2
 *
 * '#' starts a comment, except in the story. What is not said of the knobs is as usual.
 */
#include "check/schedule.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check/scenario.h"

#define HEAD     "quire schedule 1"
#define FILE_MAX (1l << 20) /* of a scenario's text */

/* --- the list -------------------------------------------------------------------- */

void schedule_free(struct schedule *s)
{
	free(s->entry);
	s->entry = NULL;
	s->entries = s->room = 0;
}

void schedule_clear(struct schedule *s)
{
	s->entries = 0;
}

static void make_room(struct schedule *s, size_t n)
{
	if (n <= s->room)
		return;
	size_t room = s->room ? s->room : 64;
	while (room < n)
		room *= 2;
	s->entry = realloc(s->entry, room * sizeof(*s->entry));
	if (!s->entry)
		abort();
	s->room = room;
}

void schedule_add(struct schedule *s, struct entry e)
{
	make_room(s, s->entries + 1);
	s->entry[s->entries++] = e;
}

void schedule_copy(struct schedule *to, const struct schedule *from)
{
	to->program = from->program;
	to->knobs = from->knobs;
	to->entries = 0;
	if (!from->entries)
		return;
	make_room(to, from->entries);
	memcpy(to->entry, from->entry, from->entries * sizeof(*to->entry));
	to->entries = from->entries;
}

size_t schedule_preemptions(const struct schedule *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->entries; i++)
		n += s->entry[i].kind == ENTRY_SWITCH && s->entry[i].preempts;
	return n;
}

/* --- knobs by name --------------------------------------------------------------- */

enum knob { KNOB_POLICY, KNOB_NUMBER, KNOB_BOOL };

static const struct {
	const char *name;
	enum knob kind;
	size_t offset;
} knob[] = {
	{ "policy", KNOB_POLICY, offsetof(struct knobs, policy) },
	{ "rmap", KNOB_NUMBER, offsetof(struct knobs, rmap) },
	{ "frames", KNOB_NUMBER, offsetof(struct knobs, frames) },
	{ "ahead", KNOB_NUMBER, offsetof(struct knobs, ahead) },
	{ "reuse", KNOB_BOOL, offsetof(struct knobs, sim.reuse_last) },
	{ "tlb", KNOB_BOOL, offsetof(struct knobs, sim.tlb) },
	{ "rcu_late", KNOB_BOOL, offsetof(struct knobs, sim.rcu_late) },
	{ "short_reads", KNOB_BOOL, offsetof(struct knobs, sim.short_reads) },
	{ "lazy_more", KNOB_BOOL, offsetof(struct knobs, sim.lazy_more) },
};

#define KNOBS (sizeof(knob) / sizeof(knob[0]))

static unsigned knob_value(const struct knobs *k, size_t i)
{
	const char *at = (const char *)k + knob[i].offset;
	unsigned v;

	if (knob[i].kind == KNOB_BOOL)
		return *(const bool *)at;
	memcpy(&v, at, sizeof(v));
	return v;
}

static void knob_set(struct knobs *k, size_t i, unsigned v)
{
	char *at = (char *)k + knob[i].offset;

	if (knob[i].kind == KNOB_BOOL)
		*(bool *)at = v != 0;
	else
		memcpy(at, &v, sizeof(v));
}

char *schedule_knobs(const struct knobs *k, char *buf, size_t n)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < KNOBS && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, "%s%s=%s%u", i ? " " : "", knob[i].name,
				       knob[i].kind == KNOB_POLICY ? "P" : "", knob_value(k, i));
	return buf;
}

/* --- saving ---------------------------------------------------------------------- */

/* The names of the world that was built last, if one was. */
static const char *thread_name(unsigned t)
{
	static int built = -1;
	unsigned char there;

	if (built != 1)
		built = mincore((void *)SIM_BASE, 1, &there) == 0;
	if (t >= SIM_THREADS)
		return "the start";
	return built == 1 && t < S->threads && S->t[t].name[0] ? S->t[t].name : "?";
}

static void print_entry(FILE *f, const struct entry *e)
{
	int n = 0;

	if (e->thread >= SIM_THREADS)
		n = fprintf(f, "driver @ %u", e->op);
	else
		n = fprintf(f, "%u @ %u", e->thread, e->op);
	if (e->kind == ENTRY_FAIL)
		n += fprintf(f, " fails");
	else if (e->kind == ENTRY_VALUE)
		n += fprintf(f, " picks %u", e->choice);
	else
		n += fprintf(f, "%s -> %u", e->preempts || e->thread >= SIM_THREADS ? "" : " waits",
			     e->choice);
	fprintf(f, "%*s# %s", n < 24 ? 24 - n : 1, "", thread_name(e->thread));
	if (e->kind == ENTRY_SWITCH)
		fprintf(f, " -> %s", thread_name(e->choice));
	fputc('\n', f);
}

/* One line: what would end it is escaped. */
static void print_line(FILE *f, const char *word, const char *text)
{
	fprintf(f, "%s ", word);
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", f);
		else if (*text == '\\')
			fputs("\\\\", f);
		else
			fputc(*text, f);
	}
	fputc('\n', f);
}

bool schedule_save(const struct schedule *s, const char *path, const char *scenario_file,
		   const char *invariant, const char *story, char *why, size_t n)
{
	char text[256], full[PATH_MAX];
	FILE *f = fopen(path, "we");

	if (!f) {
		snprintf(why, n, "cannot write '%s': %s", path, strerror(errno));
		return false;
	}
	fprintf(f, HEAD "\n");
	if (scenario_file)
		print_line(f, "scenario-file",
			   realpath(scenario_file, full) ? full : scenario_file);
	else
		fprintf(f, "scenario %s\n", s->program->name);
	fprintf(f, "knobs %s\n", schedule_knobs(&s->knobs, text, sizeof(text)));
	if (invariant && *invariant)
		print_line(f, "invariant", invariant);
	if (story && *story)
		print_line(f, "story", story);
	for (size_t i = 0; i < s->entries; i++)
		print_entry(f, &s->entry[i]);
	bool bad = ferror(f);
	if (fclose(f) || bad) {
		snprintf(why, n, "cannot write '%s': %s", path, strerror(errno));
		return false;
	}
	return true;
}

/* --- scenario files -------------------------------------------------------------- */

/* Kept for ever: programs are compared by their address, and few. */
struct loaded {
	struct loaded *next;
	char *path;
	struct scenario scenario;
	struct program program;
};

static struct loaded *all_loaded;

static char *read_all(const char *path, char *why, size_t n)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t got;

	if (!f) {
		snprintf(why, n, "cannot read '%s': %s", path, strerror(errno));
		return NULL;
	}
	text = malloc(FILE_MAX + 1);
	if (!text)
		abort();
	errno = 0;
	got = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f))
		snprintf(why, n, "cannot read '%s': %s", path, strerror(errno));
	else if (got > FILE_MAX)
		snprintf(why, n, "'%s' is too long for a scenario", path);
	else if (memchr(text, '\0', got))
		snprintf(why, n, "'%s' is not text", path);
	else {
		text[got] = '\0';
		fclose(f);
		return text;
	}
	fclose(f);
	free(text);
	return NULL;
}

/* "race" of "dir/race.scn". */
static void base_name(const char *path, char *name, size_t n)
{
	const char *slash = strrchr(path, '/');

	snprintf(name, n, "%s", slash ? slash + 1 : path);
	char *dot = strrchr(name, '.');
	if (dot && dot != name)
		*dot = '\0';
}

const struct program *schedule_scenario(const char *path, char *why, size_t n)
{
	char name[48], said[256];

	for (struct loaded *l = all_loaded; l; l = l->next)
		if (!strcmp(l->path, path))
			return &l->program;
	char *text = read_all(path, why, n);
	if (!text)
		return NULL;
	struct loaded *l = calloc(1, sizeof(*l));
	if (!l || !(l->path = strdup(path)))
		abort();
	base_name(path, name, sizeof(name));
	int line = scenario_parse(&l->scenario, name, text, said, sizeof(said));
	free(text);
	if (line) {
		snprintf(why, n, "%s:%d: %s", path, line, said);
		free(l->path);
		free(l);
		return NULL;
	}
	scenario_program(&l->scenario, &l->program);
	l->next = all_loaded;
	all_loaded = l;
	return &l->program;
}

const char *schedule_scenario_file(const struct program *p)
{
	for (struct loaded *l = all_loaded; l; l = l->next)
		if (&l->program == p)
			return l->path;
	return NULL;
}

/* --- loading --------------------------------------------------------------------- */

struct loader {
	struct schedule *s;
	const char *path;
	int line;
	char *why;
	size_t n;
	bool told;
};

static bool wrong(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct loader *l, const char *fmt, ...)
{
	va_list ap;
	int at;

	if (l->told)
		return false;
	l->told = true;
	at = snprintf(l->why, l->n, "%s:%d: ", l->path, l->line);
	va_start(ap, fmt);
	if (at > 0 && (size_t)at < l->n)
		vsnprintf(l->why + at, l->n - (size_t)at, fmt, ap);
	va_end(ap);
	return false;
}

/* The next word of *text, NULL at its end. */
static char *next_word(char **text)
{
	char *word = *text + strspn(*text, " \t");

	if (!*word)
		return NULL;
	char *end = word + strcspn(word, " \t");
	if (*end)
		*end++ = '\0';
	*text = end;
	return word;
}

/* A number of at most `most`. */
static bool number(const char *word, unsigned long most, unsigned long *out)
{
	char *end;

	if (!word || *word < '0' || *word > '9')
		return false;
	errno = 0;
	*out = strtoul(word, &end, 10);
	return !errno && !*end && *out <= most;
}

static bool load_knobs(struct loader *l, char *text)
{
	struct knobs k = knobs_nth(l->s->program, 0);
	char *word;

	while ((word = next_word(&text))) {
		char *value = strchr(word, '=');
		unsigned long v;
		size_t i = 0;
		if (!value)
			return wrong(l, "'%s' is not KNOB=VALUE", word);
		*value++ = '\0';
		while (i < KNOBS && strcmp(knob[i].name, word) != 0)
			i++;
		if (i == KNOBS)
			return wrong(l, "no knob is called '%s'", word);
		if (knob[i].kind == KNOB_POLICY && *value == 'P')
			value++;
		unsigned long most = knob[i].kind == KNOB_POLICY ? 4
				     : knob[i].kind == KNOB_BOOL ? 1
								 : 1000000;
		if (!number(value, most, &v))
			return wrong(l, "%s is %s0 to %s%lu, not '%s'", word,
				     knob[i].kind == KNOB_POLICY ? "P" : "",
				     knob[i].kind == KNOB_POLICY ? "P" : "", most, value);
		knob_set(&k, i, (unsigned)v);
	}
	l->s->knobs = k;
	return true;
}

/* Where it was written, or beside the schedule. */
static bool load_scenario_file(struct loader *l, const char *path)
{
	char why[512], beside[PATH_MAX];
	const char *slash = strrchr(l->path, '/'), *base = strrchr(path, '/');

	l->s->program = schedule_scenario(path, why, sizeof(why));
	if (!l->s->program && errno == ENOENT) {
		snprintf(beside, sizeof(beside), "%.*s%s", slash ? (int)(slash + 1 - l->path) : 0,
			 l->path, base ? base + 1 : path);
		if (strcmp(beside, path) != 0)
			l->s->program = schedule_scenario(beside, why, sizeof(why));
	}
	return l->s->program || wrong(l, "%s", why);
}

static bool load_program(struct loader *l, const char *word, char *text)
{
	char *end = text + strlen(text);

	while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	text += strspn(text, " \t");
	if (l->s->program)
		return wrong(l, "a second scenario");
	if (!*text)
		return wrong(l, "which scenario?");
	if (!strcmp(word, "scenario-file")) {
		errno = 0;
		if (!load_scenario_file(l, text))
			return false;
	} else {
		l->s->program = program_find(text);
		if (!l->s->program)
			return wrong(l, "no scenario is called '%s'; `quire check --list` has all",
				     text);
	}
	l->s->knobs = knobs_nth(l->s->program, 0);
	return true;
}

static bool load_entry(struct loader *l, const char *first, char *text)
{
	struct entry e = { .kind = ENTRY_SWITCH, .preempts = true };
	unsigned long v;

	if (!strcmp(first, "driver")) {
		e.thread = SIM_THREADS;
		e.preempts = false;
	} else if (number(first, SIM_THREADS - 1, &v)) {
		e.thread = (uint8_t)v;
	} else {
		return wrong(l,
			     "'%s' is no thread (0 to %d, or driver) and nothing else that "
			     "may stand here",
			     first, SIM_THREADS - 1);
	}
	char *at = next_word(&text), *op = next_word(&text), *what = next_word(&text);
	if (!at || strcmp(at, "@") != 0)
		return wrong(l, "'@' is missing after the thread");
	if (!number(op, UINT32_MAX, &v))
		return wrong(l, "after '@' comes the number of an operation, not '%s'",
			     op ? op : "");
	e.op = (uint32_t)v;
	if (what && !strcmp(what, "waits")) {
		e.preempts = false;
		what = next_word(&text);
		if (!what || strcmp(what, "->") != 0)
			return wrong(l, "'->' is missing after 'waits'");
	}
	if (what && !strcmp(what, "->")) {
		if (!number(next_word(&text), SIM_THREADS - 1, &v))
			return wrong(l, "after '->' comes a thread, 0 to %d", SIM_THREADS - 1);
	} else if (what && !strcmp(what, "fails")) {
		e.kind = ENTRY_FAIL;
		v = 1;
	} else if (what && !strcmp(what, "picks")) {
		e.kind = ENTRY_VALUE;
		if (!number(next_word(&text), UINT8_MAX, &v) || v == 0)
			return wrong(l, "after 'picks' comes a number, 1 to %d", UINT8_MAX);
	} else {
		return wrong(l,
			     "expected '-> THREAD', 'waits -> THREAD', 'fails' or 'picks N', "
			     "not '%s'",
			     what ? what : "");
	}
	e.choice = (uint8_t)v;
	if (e.kind != ENTRY_SWITCH)
		e.preempts = false;
	char *more = next_word(&text);
	if (more)
		return wrong(l, "'%s' is too much", more);
	schedule_add(l->s, e);
	return true;
}

static bool load_line(struct loader *l, char *text)
{
	char *end = text + strcspn(text, "\r\n"), *word;

	*end = '\0';
	if (l->line == 1)
		return !strcmp(text, HEAD) ||
		       wrong(l, strncmp(text, "quire schedule ", 15)
					? "no schedule: the first line is not '" HEAD "'"
					: "a schedule of another version; this quire reads '" HEAD
					  "'");
	char *rest = text + strspn(text, " \t");
	if (!strncmp(rest, "story", 5) || !strncmp(rest, "invariant", 9))
		return true; /* for people, and schedule_invariant() */
	if (strncmp(rest, "scenario-file", 13) != 0)
		rest[strcspn(rest, "#")] = '\0';
	word = next_word(&rest);
	if (!word)
		return true;
	if (!strcmp(word, "scenario") || !strcmp(word, "scenario-file"))
		return load_program(l, word, rest);
	if (!l->s->program)
		return wrong(l, "'scenario NAME' comes before '%s'", word);
	if (!strcmp(word, "knobs"))
		return load_knobs(l, rest);
	return load_entry(l, word, rest);
}

bool schedule_load(struct schedule *s, const char *path, char *why, size_t n)
{
	struct loader l = { .s = s, .path = path, .why = why, .n = n };
	char *text = NULL;
	size_t room = 0;
	bool good = true;
	ssize_t got;

	schedule_clear(s);
	s->program = NULL;
	memset(&s->knobs, 0, sizeof(s->knobs));
	FILE *f = fopen(path, "re");
	if (!f) {
		snprintf(why, n, "cannot read '%s': %s", path, strerror(errno));
		return false;
	}
	errno = 0;
	while (good && (got = getline(&text, &room, f)) >= 0) {
		l.line++;
		if (memchr(text, '\0', (size_t)got))
			good = wrong(&l, "this is not text");
		else
			good = load_line(&l, text);
	}
	if (good && ferror(f)) {
		snprintf(why, n, "cannot read '%s': %s", path, strerror(errno));
		good = false;
	} else if (good && !l.line) {
		snprintf(why, n, "'%s' is empty", path);
		good = false;
	} else if (good && !s->program) {
		good = wrong(&l, "no scenario is named");
	}
	free(text);
	fclose(f);
	return good;
}

bool schedule_invariant(const char *path, char *buf, size_t n)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;
	bool got = false;

	while (f && !got && getline(&text, &room, f) >= 0) {
		got = !strncmp(text, "invariant ", 10);
		if (got) {
			text[strcspn(text, "\r\n")] = '\0';
			snprintf(buf, n, "%s", text + 10);
		}
	}
	free(text);
	if (f)
		fclose(f);
	return got;
}
