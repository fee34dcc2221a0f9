/* SPDX-License-Identifier: MIT */
/*
 * columns.c - one schedule, for a person: a column per thread, in the order in which
 * things happened.
 *
 *     op   t1                              t2
 *      1   read r 0
 *          load faults
 *          lock folio
 *          -- preempted before `drop`; holds folio
 *      4                                   read r 0
 *                                          ...
 *
 * The replay is recorded first: locks as they come and go (what the machine holds of
 * each thread is compared after each operation), what touches memory, the device or
 * another thread; and of plain atomics only the last one before a switch. Then the noise
 * goes (a lock that was taken and dropped with nothing between), equal names of different
 * objects get numbers, and it is printed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/replay.h"

#define WIDTH      110
#define GUTTER     7
#define COLUMN     40  /* of room for the last column */
#define NEARBY     64  /* bytes into an object that has a name */
#define ITEM       200 /* bytes of one event's text */
#define RUNS_FIRST 150 /* of more, the middle is left out */
#define RUNS_LAST  50
#define MARK       '\x01' /* "\x01<n>\x02" in a text: name n */
#define MARK_END   '\x02'

enum event_kind {
	EVENT_NOTE, /* a call of the program's begins */
	EVENT_TAKE,
	EVENT_DROP,
	EVENT_OP,
	EVENT_ATOM,      /* shown when it is the last before a preemption */
	EVENT_IDLE_WAKE, /* a wake that found nobody: shown if somebody sleeps there later */
	EVENT_FAIL,
	EVENT_END, /* of a run of one thread's operations */
};

struct event {
	uint8_t kind, thread;
	bool preempted; /* EVENT_END */
	bool gone;
	uint32_t op;
	const void *obj;
	char *text;
};

struct name {
	const void *p;
	char class[32];
	bool shown;
	unsigned number; /* 0: it is the only one */
};

static struct {
	struct event *event;
	size_t events, room;
	struct name *name;
	size_t names, name_room;
	const void **slept;
	size_t sleeps, sleep_room;
	struct sim_held held[SIM_THREADS][SIM_HELD];
	uint32_t n_held[SIM_THREADS];
	bool asleep[SIM_THREADS];
	char thread[SIM_THREADS][12];
	bool daemon[SIM_THREADS], shown[SIM_THREADS];
	unsigned choices; /* since the last operation: "1 of n" */
	char choice[32];
	bool mapped; /* on_map() was called for the operation that is being made */
	int cur;
	uint32_t last_op;        /* of cur, that was made */
	uint32_t io_op;          /* that came back from the device: what it got comes next */
	const struct event *map; /* the last one: it may grow */
	uint64_t map_vaddr, map_index, map_n;
	unsigned map_object;
	bool wrapped;
	struct sim_engine was; /* the world's own hooks */
} c;

/* --- recording ------------------------------------------------------------------- */

static void *grown(void *list, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return list;
	*room = *room ? 2 * *room : 256;
	list = realloc(list, *room * size);
	if (!list)
		abort();
	return list;
}

static struct event *record(enum event_kind kind, const void *obj, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static struct event *record(enum event_kind kind, const void *obj, const char *fmt, ...)
{
	char text[ITEM];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c.event = grown(c.event, c.events, &c.room, sizeof(*c.event));
	struct event *e = &c.event[c.events++];
	*e = (struct event){ .kind = (uint8_t)kind,
			     .thread = (uint8_t)c.cur,
			     .op = S->t[c.cur].ops,
			     .obj = obj,
			     .text = strdup(text) };
	if (!e->text)
		abort();
	c.map = NULL;
	return e;
}

/* The number of the name of p, which is of this class. */
static size_t name_index(const void *p, const char *class)
{
	for (size_t i = 0; i < c.names; i++)
		if (c.name[i].p == p && !strcmp(c.name[i].class, class))
			return i;
	c.name = grown(c.name, c.names, &c.name_room, sizeof(*c.name));
	c.name[c.names] = (struct name){ .p = p };
	snprintf(c.name[c.names].class, sizeof(c.name[0].class), "%s", class);
	return c.names++;
}

static bool inside(const void *p, uintptr_t from, uintptr_t to)
{
	return (uintptr_t)p >= from && (uintptr_t)p < to;
}

/* A name for p, as a mark. */
static const char *name_of(const void *p, bool is_lock, char *buf, size_t n)
{
	const char *class;
	size_t off = 0;

	if (inside(p, SIM_STACKS, SIM_END)) {
		unsigned t = (unsigned)(((uintptr_t)p - SIM_STACKS) / SIM_STACK);
		snprintf(buf, n, "%s's own word", S->t[t].name);
		return buf;
	}
	if (!inside(p, SIM_BASE, SIM_STACKS)) {
		snprintf(buf, n, "?");
		return buf;
	}
	class = sim_class_of(p);
	/* A word of a folio is known by the folio that it is in. */
	for (size_t back = 4; !strcmp(class, "lock") && back < NEARBY; back += 4) {
		const char *near = sim_class_of((const char *)p - back);
		if (strstr(near, "lock"))
			continue;
		class = near;
		off = back;
	}
	if (!is_lock && !strcmp(class, "lock"))
		class = "word";
	snprintf(buf, n, "%c%zu%c", MARK, name_index((const char *)p - off, class), MARK_END);
	if (off)
		snprintf(buf + strlen(buf), n - strlen(buf), "+%zu", off);
	return buf;
}

static const char *lock_name(const void *p, bool write, char *buf, size_t n)
{
	snprintf(buf, n, "%c%zu%c%s", MARK, name_index(p, sim_class_of(p)), MARK_END,
		 write ? "" : " (r)");
	return buf;
}

static bool holds(const struct sim_held *list, uint32_t n, const void *lock)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i].lock == lock)
			return true;
	return false;
}

/* What c.cur has taken and dropped since the last look. */
static void look_at_locks(void)
{
	struct sim_thread *t = &S->t[c.cur];
	struct sim_held *old = c.held[c.cur];
	char name[64];

	for (uint32_t i = c.n_held[c.cur]; i-- > 0;)
		if (!holds(t->held, t->n_held, old[i].lock))
			record(EVENT_DROP, old[i].lock, "unlock %s",
			       lock_name(old[i].lock, true, name, sizeof(name)));
	for (uint32_t i = 0; i < t->n_held; i++)
		if (!holds(old, c.n_held[c.cur], t->held[i].lock))
			record(EVENT_TAKE, t->held[i].lock, "lock %s",
			       lock_name(t->held[i].lock, t->held[i].write, name, sizeof(name)));
	memcpy(old, t->held, t->n_held * sizeof(*old));
	c.n_held[c.cur] = t->n_held;
}

static int holder_of(const void *lock)
{
	for (uint32_t i = 0; i < S->threads; i++)
		if (holds(S->t[i].held, S->t[i].n_held, lock))
			return (int)i;
	return -1;
}

/* "; holds folio, vma lock (r)" */
static void say_held(const struct sim_thread *t, char *buf, size_t n)
{
	size_t at = 0;
	char name[64];

	buf[0] = '\0';
	for (uint32_t i = 0; i < t->n_held && at < n; i++)
		at += (size_t)snprintf(
			buf + at, n - at, "%s%s", i ? ", " : "; holds ",
			lock_name(t->held[i].lock, t->held[i].write, name, sizeof(name)));
	if (t->rcu_depth > 0 && at < n)
		snprintf(buf + at, n - at, "%s", at ? ", RCU" : "; in an RCU section");
}

/* What it waits for, and who has it. */
static void say_wanted(const void *p, char *buf, size_t n)
{
	char name[64];
	int holder = p ? holder_of(p) : -1;

	buf[0] = '\0';
	if (p)
		snprintf(buf, n, " for %s", lock_name(p, true, name, sizeof(name)));
	if (holder >= 0)
		snprintf(buf + strlen(buf), n - strlen(buf), ", which %s holds", S->t[holder].name);
}

/* --- operations ------------------------------------------------------------------ */

static const char *const atoms[] = { "load", "store", "cas", "add", "sub", "or", "and" };
static const char *const silent[] = {
	"count",  "lock",      "unlock",     "trylock",     "rcu_read_lock", "rcu_read_unlock",
	"killed", "relax",     "join",       "pages_alloc", "pages_free",    "start",
	"asleep", "file_size", "no request", "flush",       "view_reserve"
};
static const char *const sleeps[] = { "reading", "writing", "syncing" };

static bool among(const char *op, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(op, list[i]))
			return true;
	return false;
}

#define AMONG(op, list) among(op, list, sizeof(list) / sizeof((list)[0]))

/* The last event of this run of operations that was kept. */
static struct event *last_event(void)
{
	struct event *e = c.events ? &c.event[c.events - 1] : NULL;

	return e && e->kind != EVENT_END && e->thread == c.cur ? e : NULL;
}

static void say_program_access(const char *op, uint64_t value)
{
	if (value == 1)
		record(EVENT_OP, NULL, "%s: faults", op);
	else if (value == 2)
		record(EVENT_OP, NULL, "%s: no right", op);
	else if (value == 0xdeaddeaddeaddeadull)
		record(EVENT_OP, NULL, "%s: %#llx, a freed frame", op, (unsigned long long)value);
	else
		record(EVENT_OP, NULL, "%s: %#llx", op, (unsigned long long)value);
}

static void say_wake(const void *word)
{
	char text[100] = "", name[64];
	size_t at = 0;

	for (uint32_t i = 0; i < S->threads && at < sizeof(text); i++) {
		const struct sim_thread *t = &S->t[i];
		if (!c.asleep[i] || t->word != word || !t->woken)
			continue;
		c.asleep[i] = false;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "",
				       t->name);
	}
	if (at)
		record(EVENT_OP, NULL, "wake %s", text);
	else
		record(EVENT_IDLE_WAKE, word, "wake on %s: nobody sleeps",
		       name_of(word, false, name, sizeof(name)));
}

static void say_io(const char *op, int64_t value)
{
	struct event *e = last_event();

	if (value < 0)
		record(EVENT_OP, NULL, "%s: %s", op, strerrorname_np((int)-value));
	else if (!strcmp(op, "syncing"))
		record(EVENT_OP, NULL, "the device has synced");
	else if (!strcmp(op, "writing") || (e && !strncmp(e->text, "write ", 6)))
		return; /* on_write() has said it */
	else
		record(EVENT_OP, NULL, "%s %lld bytes",
		       strcmp(op, "complete") ? "read" : "complete a read of", (long long)value);
}

/* Pages by their number, frames by theirs: what the value of the operation is. */
static void say_operation(const char *op, const void *obj, uint64_t value)
{
	unsigned long long v = value;

	if ((!strcmp(op, "load") || !strcmp(op, "store")) && obj == (const void *)S->pte)
		say_program_access(op, value);
	else if (!strcmp(op, "wake"))
		say_wake(obj);
	else if (!strcmp(op, "wait"))
		record(EVENT_ATOM, obj, "%s",
		       value == 2   ? "sleep: interrupted"
		       : value == 3 ? "sleep: woken for nothing"
				    : "no sleep: the word has changed");
	else if (!strcmp(op, "awake"))
		record(EVENT_OP, NULL, "%s",
		       value == 4   ? "woken"
		       : value == 5 ? "its time is over"
				    : "woken by a signal");
	else if (!strcmp(op, "kill"))
		record(EVENT_OP, NULL, "kill %s", ((const struct sim_thread *)obj)->name);
	else if (!strcmp(op, "map")) {
		if (!c.mapped)
			record(EVENT_OP, NULL, "map: nothing new");
	} else if (!strcmp(op, "copy")) {
		if (!c.mapped)
			record(EVENT_OP, NULL, "copy: it is there already");
	} else if (!strcmp(op, "drop") || !strcmp(op, "filled"))
		return; /* on_drop(), "fill" */
	else if (!strcmp(op, "fill"))
		record(EVENT_OP, NULL, "fill page %llu", v);
	else if (!strcmp(op, "zap") || !strcmp(op, "wrprotect") || !strcmp(op, "unprotect"))
		record(EVENT_OP, NULL, "%s %llu page%s", op, v, v == 1 ? "" : "s");
	else if (!strcmp(op, "own") || !strcmp(op, "view_open") || !strcmp(op, "view_close") ||
		 !strcmp(op, "view_move"))
		record(EVENT_OP, NULL, "%s at %#llx", op, v);
	else if (!strcmp(op, "view_protect"))
		record(EVENT_OP, NULL, "view_protect %s%s", value & RT_READ ? "r" : "",
		       value & RT_WRITE  ? "w"
		       : value & RT_READ ? ""
					 : "none");
	else if (!strcmp(op, "truncate"))
		record(EVENT_OP, NULL, "truncate to %llu bytes", v);
	else if (!strcmp(op, "io_submit"))
		record(EVENT_OP, NULL, "submit a request (%llu queued)", v);
	else if (!strcmp(op, "io_flush"))
		record(EVENT_OP, NULL, "flush the queue");
	else if (!strcmp(op, "complete") || (AMONG(op, sleeps) && c.io_op == S->t[c.cur].ops))
		say_io(op, (int64_t)value);
	else if (AMONG(op, sleeps))
		c.io_op = S->t[c.cur].ops;
	else if (!strcmp(op, "rcu_sync"))
		record(EVENT_OP, NULL, "grace period over");
	else if (AMONG(op, silent))
		return;
	else
		record(EVENT_OP, NULL, "%s", op);
}

/* A failure that no call site told of: the device's. */
static void flush_choices(void)
{
	if (!c.choices)
		return;
	c.choices = 0;
	record(EVENT_FAIL, NULL, "%s", c.choice);
}

static void on_op(const char *op, const void *obj, uint64_t value)
{
	char name[64];

	if (S->quiet || S->cur < 0)
		return;
	c.cur = S->cur;
	look_at_locks();
	flush_choices();
	/* The entries of page tables are no rt_u32: a load of theirs is the program's. */
	if (AMONG(op, atoms) && obj != (const void *)S->pte)
		record(EVENT_ATOM, obj, "%s %s", op, name_of(obj, false, name, sizeof(name)));
	else
		say_operation(op, obj, value);
	c.mapped = false;
	c.last_op = S->t[c.cur].ops;
}

static void on_note(const char *text)
{
	if (S->quiet || S->cur < 0)
		return;
	c.cur = S->cur;
	look_at_locks();
	record(EVENT_NOTE, NULL, "%s", text);
}

/* The pending operation of a thread that was preempted. */
static void say_pending(const struct sim_thread *t, char *buf, size_t n)
{
	char name[64];

	if (t->ops == 0)
		snprintf(buf, n, "it begins");
	else if (AMONG(t->op, atoms) && t->obj == (const void *)S->pte)
		snprintf(buf, n, "its %s", t->op);
	else if (AMONG(t->op, atoms))
		snprintf(buf, n, "`%s %s`", t->op, name_of(t->obj, false, name, sizeof(name)));
	else if (t->in_lock || !strcmp(t->op, "unlock") || !strcmp(t->op, "trylock"))
		snprintf(buf, n, "`%s %s`", t->op, name_of(t->obj, true, name, sizeof(name)));
	else
		snprintf(buf, n, "`%s`", t->op);
}

static void end_run(void)
{
	struct sim_thread *t = &S->t[c.cur];
	char held[ITEM], wanted[120], pending[100];
	struct event *e;

	look_at_locks();
	flush_choices();
	say_held(t, held, sizeof(held));
	if (t->state == SIM_DONE) {
		record(EVENT_END, NULL, "ends");
		return;
	}
	if (t->in_lock && holder_of(t->obj) >= 0) {
		say_wanted(t->obj, wanted, sizeof(wanted));
		record(EVENT_END, NULL, "waits%s%s", wanted, held);
	} else if (t->in_sync) {
		record(EVENT_END, NULL, "waits for RCU readers%s", held);
	} else if (t->state == SIM_ASLEEP) {
		c.asleep[c.cur] = true;
		c.slept = grown(c.slept, c.sleeps, &c.sleep_room, sizeof(*c.slept));
		c.slept[c.sleeps++] = t->word;
		say_wanted(t->wants, wanted, sizeof(wanted));
		record(EVENT_END, NULL, "sleeps%s%s", wanted, held);
	} else if (t->state == SIM_IDLE_IO) {
		record(EVENT_END, NULL, "has nothing to do");
	} else if (t->yields) {
		record(EVENT_END, NULL, "sleeps in I/O (%s)%s", t->op, held);
	} else if (t->relaxes) {
		record(EVENT_END, NULL, "spins%s", held);
	} else {
		say_pending(t, pending, sizeof(pending));
		e = record(EVENT_END, NULL, "preempted before %s%s", pending, held);
		e->preempted = true;
	}
}

static void on_switch(int from, int to)
{
	if (S->quiet)
		return;
	if (from >= 0) {
		c.cur = from;
		end_run();
	}
	c.cur = to;
	c.last_op = S->t[to].ops;
	c.asleep[to] = false;
	memcpy(c.thread[to], S->t[to].name, sizeof(c.thread[to]));
	c.daemon[to] = S->t[to].daemon;
}

/* --- the world's hooks, and ours ------------------------------------------------- */

static void on_map(uint64_t vaddr, unsigned object, uint64_t index, bool copied)
{
	unsigned long long at = vaddr, i = index;

	if (!S->quiet && S->cur >= 0) {
		c.cur = S->cur;
		look_at_locks();
		c.mapped = true;
		if (c.map && !copied && object == c.map_object && index == c.map_index + c.map_n) {
			struct event *e = &c.event[c.events - 1];
			c.map_n++;
			free(e->text);
			if (asprintf(&e->text, "map pages %llu-%llu at %#llx",
				     (unsigned long long)c.map_index, i,
				     (unsigned long long)c.map_vaddr) < 0)
				abort();
		} else {
			record(EVENT_OP, NULL, "%s page %llu %s %#llx", copied ? "copy" : "map", i,
			       copied ? "to" : "at", at);
			c.map = copied ? NULL : &c.event[c.events - 1];
			c.map_vaddr = vaddr;
			c.map_index = index;
			c.map_object = object;
			c.map_n = 1;
		}
	}
	if (c.was.on_map)
		c.was.on_map(vaddr, object, index, copied);
}

static void on_drop(unsigned object, uint64_t index, uint64_t n)
{
	if (!S->quiet && S->cur >= 0) {
		c.cur = S->cur;
		look_at_locks();
		if (n == 1)
			record(EVENT_OP, NULL, "drop page %llu", (unsigned long long)index);
		else
			record(EVENT_OP, NULL, "drop pages %llu-%llu", (unsigned long long)index,
			       (unsigned long long)(index + n - 1));
	}
	if (c.was.on_drop)
		c.was.on_drop(object, index, n);
}

static void on_write(unsigned file, uint64_t page, unsigned word, uint64_t value)
{
	char text[64];
	struct event *e;

	if (!S->quiet && S->cur >= 0) {
		c.cur = S->cur;
		look_at_locks();
		snprintf(text, sizeof(text), "write page %llu to the device",
			 (unsigned long long)page);
		e = last_event();
		if (!e || strcmp(e->text, text) != 0)
			record(EVENT_OP, NULL, "%s", text);
	}
	if (c.was.on_write)
		c.was.on_write(file, page, word, value);
}

static void on_failure(const struct sim_site *site)
{
	const char *base = strrchr(site->file, '/');

	c.cur = S->cur;
	look_at_locks();
	c.choices = 0;
	record(EVENT_FAIL, NULL, "%s FAILS (%s:%d)", site->what, base ? base + 1 : site->file,
	       site->line);
}

static void chose(enum sim_choice kind, unsigned n, unsigned got)
{
	const struct sim_thread *t = &S->t[S->cur];

	c.choices++;
	if (kind != SIM_VALUE)
		snprintf(c.choice, sizeof(c.choice), "%s FAILS", t->op);
	else if (!strcmp(t->op, "complete"))
		snprintf(c.choice, sizeof(c.choice), "takes request %u of %u", got + 1, n);
	else if (!strcmp(t->op, "load") || !strcmp(t->op, "store"))
		snprintf(c.choice, sizeof(c.choice), "the TLB has forgotten");
	else
		snprintf(c.choice, sizeof(c.choice), "%s: outcome %u of %u", t->op, got + 1, n);
}

static void built(void)
{
	c.was = E;
	c.wrapped = true;
	E.on_map = on_map;
	E.on_drop = on_drop;
	E.on_write = on_write;
	E.on_failure = on_failure;
}

static void unwrap(void)
{
	E.on_op = NULL;
	E.on_switch = NULL;
	E.on_note = NULL;
	if (!c.wrapped)
		return;
	E.on_map = c.was.on_map;
	E.on_drop = c.was.on_drop;
	E.on_write = c.was.on_write;
	E.on_failure = c.was.on_failure;
}

/* --- less of it ------------------------------------------------------------------ */

static void gone(struct event *e)
{
	e->gone = true;
}

/* Locks that were taken and dropped with nothing between that shows. */
static void hush_locks(size_t from, size_t to)
{
	bool more = true;

	while (more) {
		size_t take = SIZE_MAX;
		more = false;
		for (size_t i = from; i < to; i++) {
			struct event *e = &c.event[i];
			if (e->gone || e->kind == EVENT_ATOM)
				continue;
			if (e->kind == EVENT_TAKE) {
				take = i;
			} else if (e->kind == EVENT_DROP && take != SIZE_MAX &&
				   c.event[take].obj == e->obj) {
				gone(e);
				gone(&c.event[take]);
				more = true;
				take = SIZE_MAX;
			} else {
				take = SIZE_MAX;
			}
		}
	}
}

static bool slept_on(const void *word)
{
	for (size_t i = 0; i < c.sleeps; i++)
		if (c.slept[i] == word)
			return true;
	return false;
}

/* [from, to): a run, to: its end. */
static void hush_run(size_t from, size_t to, bool preempted)
{
	size_t last = SIZE_MAX;

	for (size_t i = from; i < to; i++)
		if (c.event[i].kind == EVENT_IDLE_WAKE && !slept_on(c.event[i].obj))
			gone(&c.event[i]);
	hush_locks(from, to);
	for (size_t i = from; i < to; i++)
		if (!c.event[i].gone)
			last = i;
	for (size_t i = from; i < to; i++)
		if (c.event[i].kind == EVENT_ATOM && !(i == last && preempted))
			gone(&c.event[i]);
}

/* cut: the last run of operations ends where it broke: as good as a preemption. */
static void hush(bool cut)
{
	size_t from = 0;

	for (size_t i = 0; i < c.events; i++) {
		if (c.event[i].kind != EVENT_END)
			continue;
		hush_run(from, i, c.event[i].preempted || (cut && i + 1 == c.events));
		from = i + 1;
	}
	hush_run(from, c.events, cut);
}

/* --- names ----------------------------------------------------------------------- */

static void mark_shown(const char *text)
{
	for (const char *p = strchr(text, MARK); p; p = strchr(p + 1, MARK))
		c.name[strtoul(p + 1, NULL, 10)].shown = true;
}

/* Where the story says class@address, so that it gets the same names. */
static struct name *name_in(const char *text, size_t *len)
{
	for (size_t i = 0; i < c.names; i++) {
		char long_name[64];
		snprintf(long_name, sizeof(long_name), "%s@%llx", c.name[i].class,
			 (unsigned long long)((uintptr_t)c.name[i].p - SIM_BASE));
		size_t n = strlen(long_name);
		if (strncmp(text, long_name, n) != 0 || strspn(text + n, "0123456789abcdef"))
			continue;
		*len = n;
		return &c.name[i];
	}
	return NULL;
}

static void number_names(const char *story)
{
	size_t len;

	for (size_t i = 0; i < c.events; i++)
		if (!c.event[i].gone)
			mark_shown(c.event[i].text);
	for (; *story; story++) {
		struct name *n = name_in(story, &len);
		if (n)
			n->shown = true;
	}
	for (size_t i = 0; i < c.names; i++) {
		unsigned same = 0, before = 0;
		for (size_t k = 0; k < c.names; k++) {
			if (!c.name[k].shown || strcmp(c.name[k].class, c.name[i].class) != 0)
				continue;
			same++;
			before += k < i;
		}
		c.name[i].number = same > 1 ? before + 1 : 0;
	}
}

static void put_name(const struct name *n, char *buf, size_t room)
{
	if (n->number)
		snprintf(buf, room, "%s#%u", n->class, n->number);
	else
		snprintf(buf, room, "%s", n->class);
}

/* With the marks, or the long names, as what people read. */
static char *spelled(const char *text, bool story)
{
	size_t room = 4 * strlen(text) + 128, at = 0, len;
	char *out = malloc(room);

	if (!out)
		abort();
	while (*text && at + 64 < room) {
		struct name *n = story ? name_in(text, &len) : NULL;
		if (*text == MARK) {
			char *end;
			n = &c.name[strtoul(text + 1, &end, 10)];
			len = (size_t)(end + 1 - text);
		}
		if (n) {
			put_name(n, out + at, room - at);
			at += strlen(out + at);
			text += len;
		} else {
			out[at++] = *text++;
		}
	}
	out[at] = '\0';
	return out;
}

/* --- printing -------------------------------------------------------------------- */

struct page {
	FILE *f;
	unsigned columns, step;
	bool laid_out, left_out;
	size_t run, runs;
	int column[SIM_THREADS]; /* of a thread, -1: none */
	unsigned thread[SIM_THREADS];
};

/* A line of column k; the others' places are shown left of it. */
static void put_line(const struct page *p, unsigned k, const char *gutter, const char *text,
		     size_t len)
{
	fprintf(p->f, "%*s  ", GUTTER - 2, gutter);
	for (unsigned i = 0; i < k; i++)
		fprintf(p->f, "%-*s", (int)p->step, "|");
	fprintf(p->f, "%.*s\n", (int)len, text);
}

/* Text in column k, wrapped at blanks; what goes on is indented. */
static void put_text(const struct page *p, unsigned k, const char *gutter, const char *text)
{
	size_t room = WIDTH - GUTTER - k * p->step;
	char line[WIDTH + 1];
	bool first = true;

	if (k + 1 < p->columns && room > p->step && p->step >= COLUMN)
		room = p->step - 1;
	while (*text) {
		size_t indent = first ? 0 : 4, len = strlen(text), left = room - indent;
		if (len > left) {
			for (len = left; len > left / 3 && text[len] != ' '; len--)
				;
			if (text[len] != ' ')
				len = left;
		}
		int n = snprintf(line, sizeof(line), "%*s%.*s", (int)indent, "", (int)len, text);
		put_line(p, k, first ? gutter : "", line, (size_t)n);
		text += len;
		text += strspn(text, " ");
		first = false;
	}
}

static void lay_out(struct page *p)
{
	p->laid_out = true;
	for (int daemons = 0; daemons < 2; daemons++)
		for (unsigned t = 0; t < SIM_THREADS; t++) {
			if (!daemons)
				p->column[t] = -1;
			if (!c.shown[t] || c.daemon[t] != (daemons > 0))
				continue;
			p->column[t] = (int)p->columns;
			p->thread[p->columns++] = t;
		}
	p->step = p->columns > 1 ? (WIDTH - GUTTER - COLUMN) / (p->columns - 1) : 0;
	if (p->columns == 2)
		p->step = (WIDTH - GUTTER) / 2;
	fprintf(p->f, "%*s  ", GUTTER - 2, "op");
	for (unsigned k = 0; k + 1 < p->columns; k++)
		fprintf(p->f, "%-*s", (int)p->step, c.thread[p->thread[k]]);
	fprintf(p->f, "%s\n", p->columns ? c.thread[p->thread[p->columns - 1]] : "");
}

static bool nothing_in(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (!c.event[i].gone)
			return false;
	return true;
}

#define ITEMS  400
#define PERIOD 6

/* What is said over and over: item i and the `period` - 1 before it came `times` times. */
struct item {
	const struct event *e;
	unsigned times, period;
};

static bool same_items(const struct item *a, const struct item *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (a[i].e->kind != b[i].e->kind || strcmp(a[i].e->text, b[i].e->text) != 0)
			return false;
	return true;
}

/* The items of a run, what repeats told once. A run that is too long ends early. */
static size_t collect_items(struct item *item, size_t from, size_t to)
{
	size_t n = 0;

	for (size_t i = from; i < to && n < ITEMS; i++) {
		if (c.event[i].gone)
			continue;
		item[n++] = (struct item){ .e = &c.event[i] };
		for (unsigned p = 1; p <= PERIOD && 2 * p <= n; p++) {
			/* item[n - p .. n) again? The tally is kept at the last of the first. */
			struct item *first = &item[n - 2 * p];
			if (!same_items(first, first + p, p))
				continue;
			if (first[p - 1].times && first[p - 1].period != p)
				continue;
			first[p - 1].times = first[p - 1].times ? first[p - 1].times + 1 : 2;
			first[p - 1].period = p;
			n -= p;
			break;
		}
	}
	return n;
}

static char *item_text(const struct item *item)
{
	char *said = spelled(item->e->text, false), *text = NULL, times[40] = "";

	if (item->times && item->period == 1)
		snprintf(times, sizeof(times), " (%u times)", item->times);
	else if (item->times)
		snprintf(times, sizeof(times), " (the last %u: %u times)", item->period,
			 item->times);
	if (asprintf(&text, "%s%s%s",
		     item->e->kind == EVENT_FAIL   ? "!! "
		     : item->e->kind == EVENT_NOTE ? "> "
						   : "",
		     said, times) < 0)
		abort();
	free(said);
	return text;
}

/* Events of one run, as lines; a call of the program's is one of its own, and so is a
 * failure. */
static void print_run(struct page *p, size_t from, size_t to, size_t end)
{
	static struct item item[ITEMS];
	unsigned k = (unsigned)p->column[c.event[from].thread];
	size_t at = 0, n = collect_items(item, from, to);
	char gutter[16], line[1200] = "";

	snprintf(gutter, sizeof(gutter), "%u", c.event[from].op);
	for (size_t i = 0; i < n; i++) {
		char *text = item_text(&item[i]);
		bool alone = item[i].e->kind == EVENT_NOTE || item[i].e->kind == EVENT_FAIL;
		if (at && (alone || at + strlen(text) + 4 > sizeof(line))) {
			put_text(p, k, gutter, line);
			gutter[0] = '\0';
			at = 0;
		}
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", at ? "; " : "", text);
		free(text);
		if (alone) {
			put_text(p, k, gutter, line);
			gutter[0] = '\0';
			at = 0;
		}
	}
	if (at) {
		put_text(p, k, gutter, line);
		gutter[0] = '\0';
	}
	if (end != SIZE_MAX) {
		char *text = spelled(c.event[end].text, false);
		snprintf(line, sizeof(line), "%s%s", c.event[end].preempted ? "<< " : "-- ", text);
		free(text);
		put_text(p, k, gutter, line);
	}
}

/* A daemon that looked, and found nothing, is no news. */
static bool is_news(size_t from, size_t to, size_t end)
{
	const struct event *e = &c.event[from];

	if (!nothing_in(from, to))
		return true;
	return end != SIZE_MAX && (!c.daemon[e->thread] || c.event[end].preempted);
}

static void one_run(struct page *p, size_t from, size_t to, size_t end)
{
	size_t run = p->run++;

	if (!is_news(from, to, end))
		return;
	if (!p->laid_out) {
		c.shown[c.event[from].thread] = true;
		p->runs = run + 1;
	} else if (run < RUNS_FIRST || run + RUNS_LAST >= p->runs) {
		print_run(p, from, to, end);
	} else if (!p->left_out) {
		p->left_out = true;
		fprintf(p->f, "%*s  ... and so on, %zu times in turn ...\n", GUTTER - 2, "",
			p->runs - RUNS_FIRST - RUNS_LAST);
	}
}

static void each_run(struct page *p)
{
	size_t from = 0;

	p->run = 0;
	for (size_t i = 0; i < c.events; i++) {
		if (c.event[i].kind != EVENT_END)
			continue;
		one_run(p, from, i, i);
		from = i + 1;
	}
	if (from < c.events)
		one_run(p, from, c.events, SIZE_MAX);
}

/* Lines, each wrapped at blanks. */
static void wrap(FILE *f, const char *head, const char *text)
{
	char *all = NULL;

	if (asprintf(&all, "%s%s", head, text) < 0)
		abort();
	for (char *line = all, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		for (int indent = 0; *line || !indent; indent = 4) {
			size_t len = strlen(line);
			if (len > WIDTH - (size_t)indent) {
				for (len = WIDTH - (size_t)indent; len > 20 && line[len] != ' ';
				     len--)
					;
			}
			fprintf(f, "%*s%.*s\n", indent, "", (int)len, line);
			line += len;
			line += strspn(line, " ");
		}
	}
	free(all);
}

static void print_held(FILE *f)
{
	char held[ITEM], line[ITEM + 40];

	for (uint32_t i = 0; i < S->threads; i++) {
		if (S->t[i].state == SIM_DONE || S->t[i].state == SIM_FREE || !S->t[i].n_held)
			continue;
		say_held(&S->t[i], held, sizeof(held));
		snprintf(line, sizeof(line), "%s%s", S->t[i].name, held + 1);
		char *text = spelled(line, false);
		wrap(f, "at the end ", text);
		free(text);
	}
}

static void print_head(FILE *f, const struct schedule *s)
{
	char text[200];
	size_t failures = 0;

	for (size_t i = 0; i < s->entries; i++)
		failures += s->entry[i].kind == ENTRY_FAIL;
	fprintf(f, "%s: %s\n", s->program->name, s->program->title);
	if (!s->program->piece)
		fprintf(f, "%s\n", schedule_knobs(&s->knobs, text, sizeof(text)));
	size_t n = schedule_preemptions(s);
	fprintf(f, "%zu preemption%s, %zu failure%s, %zu choice%s in all\n\n", n, n == 1 ? "" : "s",
		failures, failures == 1 ? "" : "s", s->entries, s->entries == 1 ? "" : "s");
}

/* What the last thread was at when it broke. */
static void last_words(enum sim_status status)
{
	const struct sim_thread *t;
	char pending[100];

	if (c.cur < 0)
		return;
	t = &S->t[c.cur];
	look_at_locks();
	flush_choices();
	if (t->state != SIM_READY || t->in_lock || t->in_sync) {
		end_run();
	} else if (status == SIM_BROKEN && t->ops != c.last_op) {
		say_pending(t, pending, sizeof(pending));
		record(EVENT_OP, NULL, "at %s", pending);
	}
}

static void forget(void)
{
	for (size_t i = 0; i < c.events; i++)
		free(c.event[i].text);
	free(c.event);
	free(c.name);
	free(c.slept);
	memset(&c, 0, sizeof(c));
}

void columns_print(const struct schedule *s, void *stream)
{
	static const struct watch watch = { built, chose };
	struct page p = { .f = stream };
	struct schedule exact = { 0 };
	enum sim_status status;

	memset(&c, 0, sizeof(c));
	c.cur = -1;
	E.on_op = on_op;
	E.on_switch = on_switch;
	E.on_note = on_note;
	status = replay_watched(s, &exact, NULL, &watch);
	unwrap();
	last_words(status);
	hush(status == SIM_BROKEN && c.cur >= 0 && S->t[c.cur].state != SIM_DONE);
	number_names(status == SIM_BROKEN ? E.story : "");
	print_head(p.f, &exact);
	each_run(&p);
	lay_out(&p);
	each_run(&p);
	fputc('\n', p.f);
	print_held(p.f);
	if (status == SIM_BROKEN) {
		char head[32], *story = spelled(E.story, true);
		snprintf(head, sizeof(head), "%s: ", E.invariant);
		wrap(p.f, head, story);
		free(story);
	} else {
		fprintf(p.f, "Nothing breaks.\n");
	}
	schedule_free(&exact);
	forget();
}
