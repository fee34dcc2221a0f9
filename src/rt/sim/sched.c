/* SPDX-License-Identifier: MIT */
/*
 * sched.c (sim) - simulated threads: points, atomics, locks, sleep, RCU, time.
 *
 * An operation goes:   before(op, obj)   a point, where others may come first
 *                      do it             nobody else runs
 *                      after(value)      what the thread has observed
 * The driver's own calls (S->cur < 0), and all in quiet mode, pass no point.
 *
 * Blocking. A thread that cannot go on stays READY with in_lock, in_sync or relaxes
 * set, and is not enabled until it could; one that sleeps is ASLEEP until it is woken.
 * When nobody is enabled the clock moves, to the earliest deadline; at no other time, so
 * that it does not tell in what order independent operations came. If there is none, that
 * is a deadlock, and the wait-for graph is the story.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define SIM_NO_SITES
#include "rt/sim/fiber.h"
#include "rt/sim/machine.h"

#define SPIN_NS   10000   /* that pass when only spinning threads can go on */
#define IDLES_MAX 300     /* times in a row that only the clock moved */
#define QUIET_MAX 3000000 /* operations of a run, with its set-up and its end */
#define SPINS_MAX 2000    /* ... that only spinning threads did */

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))

#define SYNC_IN(p, o)  ((o) != RT_RELAXED && (o) != RT_RELEASE ? ACQUIRE(p) : (void)0)
#define SYNC_OUT(p, o) ((o) != RT_RELAXED && (o) != RT_ACQUIRE ? RELEASE(p) : (void)0)

struct sim_engine E;

static void *driver_sp; /* where the driver waits for the run to end */
static sigjmp_buf crash;
static bool armed; /* crash leads somewhere */
static bool region_ready;
static struct {
	uint32_t mask;
	int cur;
	bool must;
} asked;                 /* of the driver, when nothing is reduced */
static int setup_thread; /* for which sim_quietly() waits; -1: none */

/* Who has touched a word, since sim_forget(). One for each four bytes of the region. */
struct word {
	uint16_t r, w, c; /* threads; of a lock: those who tried, locked, released */
	uint16_t q;       /* those who waited, or woke */
};
static struct word words[(SIM_END - SIM_BASE) / 4];
#define WORDS_LOW ((SIM_STACKS - SIM_BASE) / 4)
static bool words_on_stacks; /* seldom: those behind WORDS_LOW are not all zero */

/* --- the region -------------------------------------------------------------- */

static void region_open(void)
{
	void *p = mmap((void *)SIM_BASE, SIM_END - SIM_BASE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)SIM_BASE) {
		fprintf(stderr, "quire: the simulated machine's addresses (%#llx) are taken\n",
			SIM_BASE);
		_exit(125);
	}
	fiber_stacks((void *)SIM_STACKS, SIM_STACK);
	region_ready = true;
}

static char *stack_of(int t)
{
	return (char *)SIM_STACKS + (size_t)t * SIM_STACK;
}

static void names_forget(void);

void sim_reset(void)
{
	if (!region_ready)
		region_open();
	fibers_meet();
	memset((void *)SIM_BASE, 0, SIM_SIZE);
	S->cur = -1;
	S->quiet = true;
	S->io_thread = -1;
	setup_thread = -1;
	names_forget();
	machine_reset();
}

/* --- snapshot ------------------------------------------------------------------ */

static char image[SIM_END - SIM_BASE];
static size_t image_low;  /* bytes of struct sim and pages */
static bool machine_used; /* objects, views, frames or files were touched in this run */

static size_t low_bytes(void)
{
	return SIM_SIZE + (size_t)S->pages_high * RT_PAGE;
}

/* Not memcpy(3) under a sanitizer, which would take it for accesses of the thread that does
 * it. */
SIM_RAW NOINLINE void machine_copy(void *to, const void *from, size_t n)
{
#if !defined(SIM_ASAN) && !defined(SIM_TSAN)
	memcpy(to, from, n);
#elif defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
#else
	for (size_t i = 0; i < n / 8; i++)
		((volatile uint64_t *)to)[i] = ((const uint64_t *)from)[i];
#endif
}

static void copy_stacks(char *to, const char *from)
{
	for (uint32_t i = 0; i < S->threads; i++) {
		if (S->t[i].state == SIM_DONE || S->t[i].state == SIM_FREE)
			continue;
		size_t at = (size_t)((char *)S->t[i].sp - (char *)SIM_BASE);
		size_t end = (size_t)(stack_of((int)i) + SIM_STACK - (char *)SIM_BASE);
#if !defined(__x86_64__) && !defined(__aarch64__)
		at = (size_t)(stack_of((int)i) - (char *)SIM_BASE);
#endif
		machine_copy(to + at, from + at, end - at);
	}
}

void sim_snapshot(void)
{
	machine_used = true;
	S->quiet = false;
	image_low = low_bytes();
	machine_copy(image, (void *)SIM_BASE, image_low);
	machine_keep_shadow();
	copy_stacks(image, (char *)SIM_BASE);
}

/* The frames that hold something. */
static uint64_t frames_taken(const struct sim *s)
{
	uint64_t taken = (1ull << SIM_FRAMES) - 1;

	for (uint32_t i = 0; i < s->frames_free; i++)
		taken &= ~(1ull << s->frame_free[i]);
	return taken;
}

/* Of files only as much as they held before or after the run, of frames those that held
 * something before: what a free one has is nobody's (frame_new()); of a pool's those that are
 * there before or after, as the others are poison. */
static void restore_machine(const struct sim *was)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		struct sim_file *f = &S->file[i];
		uint64_t size = f->size > was->file[i].size ? f->size : was->file[i].size;
		if (was->file[i].used || f->used)
			machine_copy(f, &was->file[i], offsetof(struct sim_file, page) + size);
	}
	for (unsigned i = 0; i < SIM_POOL_FRAMES; i++)
		if (was->pool_frame[i] || S->pool_frame[i])
			machine_copy(S->pool_page[i], was->pool_page[i], RT_PAGE);
	machine_copy(S->object, was->object,
		     offsetof(struct sim, file) - offsetof(struct sim, object));
	for (uint64_t m = frames_taken(was); m; m &= m - 1)
		machine_copy(S->frame[__builtin_ctzll(m)], was->frame[__builtin_ctzll(m)], RT_PAGE);
}

/* Where a fiber stopped its frames end; after a crash nobody knows. */
static void clean_stacks(void)
{
	for (uint32_t i = 0; i < S->threads; i++) {
		char *sp = S->t[i].sp, *low = stack_of((int)i);
		bool known = E.status != SIM_BROKEN && sp >= low && sp < low + SIM_STACK;
		fiber_stack_clean(known ? sp : low, low + SIM_STACK);
	}
}

static void restore(void)
{
	size_t low = offsetof(struct sim, object), first = offsetof(struct sim, threads);
	const struct sim *was = (const void *)image;
	uint32_t threads = S->threads > was->threads ? S->threads : was->threads;

	clean_stacks();
	machine_copy(S->t, was->t, threads * sizeof(*S->t));
	machine_copy((char *)S + first, image + first, low - first);
	if (machine_used)
		restore_machine(was);
	machine_used = false;
	machine_copy((void *)SIM_PAGES, image + SIM_SIZE, image_low - SIM_SIZE);
	machine_put_shadow();
	copy_stacks((char *)SIM_BASE, image);
}

/* --- failing ---------------------------------------------------------------------- */

static _Noreturn void leave_run(enum sim_status status)
{
	E.status = status;
	if (S->cur < 0)
		siglongjmp(crash, 1);
	fiber_switch(S->cur, &S->t[S->cur].sp, FIBER_MAIN, driver_sp);
	__builtin_unreachable();
}

void sim_fail(const char *invariant, const char *fmt, ...)
{
	va_list ap;

	if (E.status != SIM_BROKEN) { /* the first says it */
		snprintf(E.invariant, sizeof(E.invariant), "%s", invariant);
		va_start(ap, fmt);
		vsnprintf(E.story, sizeof(E.story), fmt, ap);
		va_end(ap);
	}
	E.status = SIM_BROKEN;
	if (S->cur >= 0)
		leave_run(SIM_BROKEN);
	siglongjmp(crash, 1);
}

static _Noreturn void sim_crashed(int sig, const void *addr)
{
	snprintf(E.invariant, sizeof(E.invariant), "CRASH");
	snprintf(E.story, sizeof(E.story), "signal %d (%s) at address %p", sig, strsignal(sig),
		 addr);
	E.status = SIM_BROKEN;
	siglongjmp(crash, 1);
}

void rt_panic(const char *file, int line, const char *what)
{
	const char *base = strrchr(file, '/');

	sim_fail("ASSERT", "%s:%d: %s", base ? base + 1 : file, line, what);
}

/* --- hashes ------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

SIM_RAW uint64_t sim_hash(uint64_t h, const void *p, size_t n)
{
	const uint64_t *w = p, *end = w + n / 8;
	uint64_t a = h, b = h + 1, c = h + 2,
		 d = h + 3; /* side by side: a multiplication takes long */

	for (; end - w >= 4; w += 4) {
		a = mix(a, w[0]);
		b = mix(b, w[1]);
		c = mix(c, w[2]);
		d = mix(d, w[3]);
	}
	for (; w < end; w++)
		a = mix(a, *w);
	return mix(mix(mix(a, b), c), d);
}

#define HASH_FROM_TO(h, from, to)                                                                  \
	sim_hash(h, (const char *)S + offsetof(struct sim, from),                                  \
		 offsetof(struct sim, to) - offsetof(struct sim, from))

SIM_RAW uint64_t sim_state_hash(void)
{
	struct sim_thread *t;
	uint64_t h = sim_hash(1, (void *)SIM_PAGES, (size_t)S->pages_high * RT_PAGE);

	for (t = S->t; t < S->t + S->threads; t++) {
		/* What only counts the way here is no part of where we are. */
		uint32_t relax_at = t->relax_at;
		t->relax_at = t->relaxes && relax_at != S->moves;
		h = sim_hash(h, t, sizeof(*t));
		t->relax_at = relax_at;
		if (t->state != SIM_DONE && t->state != SIM_FREE)
			h = sim_hash(
				h, t->sp,
				(size_t)(stack_of((int)(t - S->t)) + SIM_STACK - (char *)t->sp));
	}
	h = mix(mix(mix(h, S->clock), S->idles), S->failures);
	h = HASH_FROM_TO(h, page_map, failures);
	h = HASH_FROM_TO(h, io, file);
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (S->file[i].used)
			h = sim_hash(h, &S->file[i], sizeof(S->file[i]));
	for (uint64_t m = frames_taken(S); m; m &= m - 1)
		h = sim_hash(h, S->frame[__builtin_ctzll(m)], RT_PAGE);
	return h;
}

SIM_RAW uint64_t sim_seen_hash(void)
{
	uint64_t h = sim_hash(2, (void *)SIM_PAGES, (size_t)S->pages_high * RT_PAGE);

	for (uint32_t i = 0; i < S->threads; i++)
		h = mix(h, S->t[i].seen);
	return h;
}

/* --- who can go on --------------------------------------------------------------------- */

static bool readers_gone(const struct sim_thread *t)
{
	for (uint32_t i = 0; i < S->threads; i++)
		if (t->sync_wants[i] && S->t[i].rcu_depth > 0 &&
		    S->t[i].rcu_section + 1 == t->sync_wants[i])
			return false;
	return true;
}

static bool is_enabled(const struct sim_thread *t)
{
	if (t->state != SIM_READY)
		return false;
	if (t->in_lock)
		return ((const struct rt_lock *)t->obj)->owner == 0;
	if (t->in_sync)
		return readers_gone(t);
	if (t->relaxes)
		return t->relax_at != S->moves;
	return true;
}

static SIM_RAW uint32_t enabled(void)
{
	uint32_t mask = 0, late = 0;

	for (uint32_t i = 0; i < S->threads; i++) {
		const struct sim_thread *t = &S->t[i];
		if (t->state != SIM_READY)
			continue;
		if (!(t->in_lock | t->in_sync | t->relaxes)) { /* most */
			mask |= 1u << i;
			continue;
		}
		if (!is_enabled(t))
			continue;
		if (t->in_sync && E.knobs.rcu_late)
			late |= 1u << i;
		else
			mask |= 1u << i;
	}
	return mask ? mask : late;
}

static bool all_done(void)
{
	for (uint32_t i = 0; i < S->threads; i++)
		if (!S->t[i].daemon && S->t[i].state != SIM_DONE && S->t[i].state != SIM_FREE)
			return false;
	return true;
}

/* --- the wait-for graph, when nobody can ------------------------------------------------ */

static const char *thread_name(int i)
{
	return i < 0 ? "driver" : S->t[i].name;
}

static int holder_of(const void *lock)
{
	for (uint32_t i = 0; i < S->threads; i++)
		for (uint32_t h = 0; h < S->t[i].n_held; h++)
			if (S->t[i].held[h].lock == lock)
				return (int)i;
	return -1;
}

static _Noreturn void deadlock(const char *invariant, const char *what)
{
	char text[1600], name[64];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", what);

	for (uint32_t i = 0; i < S->threads && n < sizeof(text) - 200; i++) {
		const struct sim_thread *t = &S->t[i];
		if (t->state == SIM_DONE || t->state == SIM_FREE)
			continue;
		const void *lock = t->in_lock ? t->obj : t->wants;
		int holder = lock ? holder_of(lock) : -1;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\n  %s: %s", t->name,
				      t->in_sync               ? "waits for readers to leave RCU"
				      : t->relaxes             ? "spins"
				      : t->in_lock             ? "waits for a lock"
				      : t->state == SIM_ASLEEP ? "sleeps"
							       : "has nothing to do");
		if (lock)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " for %s",
					      sim_name_of(lock, name, sizeof(name)));
		if (holder >= 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " held by %s",
					      thread_name(holder));
		for (uint32_t h = 0; h < t->n_held && n < sizeof(text) - 100; h++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
					      h ? ", " : "; holds ",
					      sim_name_of(t->held[h].lock, name, sizeof(name)));
	}
	sim_fail(invariant, "%s", text);
}

/* --- switching ------------------------------------------------------------------------------ */

static void go(int to)
{
	int from = S->cur;

	if (to == from)
		return;
	if (E.on_switch)
		(void)UNSEEN((E.on_switch(from, to), 0));
	S->cur = to;
	fiber_switch(from, from < 0 ? &driver_sp : &S->t[from].sp, to, S->t[to].sp);
}

/* Nobody is enabled: let time pass. False: nothing will come of it. */
static bool pass_time(void)
{
	struct sim_thread *first = NULL;
	bool spinning = false;

	for (uint32_t i = 0; i < S->threads; i++) {
		struct sim_thread *t = &S->t[i];
		if (t->state == SIM_READY && t->relaxes)
			spinning = true;
		if (t->state == SIM_ASLEEP && t->deadline &&
		    (!first || t->deadline < first->deadline))
			first = t;
	}
	S->idles++;
	S->jumps++;
	S->idle_since++;
	if (spinning && (!first || S->idles % 8)) {
		S->moves++; /* spinners look again; time passes meanwhile */
		S->clock += SPIN_NS;
		if (S->idles > SPINS_MAX)
			deadlock("PROG", "livelock: only spinning threads can go on");
		return true;
	}
	if (!first || S->idles > IDLES_MAX + (spinning ? SPINS_MAX : 0) ||
	    (S->idle_since > IDLES_MAX && !S->quiet))
		return false;
	if (S->clock < first->deadline)
		S->clock = first->deadline;
	for (uint32_t i = 0; i < S->threads; i++) {
		struct sim_thread *t = &S->t[i];
		if (t->state != SIM_ASLEEP || !t->deadline || t->deadline > S->clock)
			continue;
		t->state = SIM_READY;
		t->timed_out = true;
		t->cls = SIM_NONE;
	}
	return true;
}

/* Let the driver pick: from its own stack, so that all of ours stand still to be hashed. */
static void ask_driver(uint32_t mask, bool must)
{
	int cur = S->cur;

	asked.mask = mask;
	asked.must = must;
	asked.cur = cur;
	if (cur < 0)
		return; /* sim_run() is about to */
	S->cur = -1;
	fiber_switch(cur, &S->t[cur].sp, FIBER_MAIN, driver_sp);
}

/* The run is over, and this thread, a daemon, stands still: sim_quietly() may wake it. */
static void rest(void)
{
	int cur = S->cur;

	if (cur < 0)
		leave_run(SIM_OK);
	E.status = SIM_OK;
	S->cur = -1;
	fiber_switch(cur, &S->t[cur].sp, FIBER_MAIN, driver_sp);
}

/* Choose who goes on. must: the current thread cannot, or does not mind. */
static void reschedule(bool must)
{
	uint32_t mask;

	while ((mask = enabled()) == 0) {
		if (all_done() && (!S->quiet || !pass_time())) {
			rest();
			return;
		}
		if (!all_done() && !pass_time())
			deadlock("DEADLOCK", "nobody can go on");
	}
	int cur = S->cur, to;
	if (E.all_visible && !S->quiet) {
		ask_driver(mask, must || cur < 0 || !(mask & 1u << cur));
		return;
	}
	if (S->quiet || !E.pick) {
		to = cur >= 0 && mask & 1u << cur ? cur : __builtin_ctz(mask);
	} else if (!(mask & (mask - 1)) && !E.all_picks) {
		to = __builtin_ctz(mask); /* no choice */
	} else {
		to = UNSEEN(E.pick(E.explorer, mask, cur, must || cur < 0 || !(mask & 1u << cur)));
		if (to < 0)
			leave_run(SIM_PRUNED);
	}
	if (!must && cur >= 0 && to != cur && mask & 1u << cur)
		S->preempts++;
	go(to);
}

static inline bool in_region(const void *p)
{
	return (uintptr_t)p >= SIM_BASE && (uintptr_t)p < SIM_END;
}

/* A thread came to a word in a way that it had not before. */
static SIM_RAW bool first_touch(uint16_t *mine, uint16_t me, bool first, uint16_t others)
{
	if (first || !(*mine & me)) {
		*mine |= me;
		E.grew |= others != 0;
		words_on_stacks |= mine >= &words[WORDS_LOW].r;
	}
	return others;
}

/* Note that the current thread touches obj; is it a word that others conflict on? Inline,
 * as before() is: the class is known where they are called. */
static SIM_RAW ALWAYS_INLINE bool shared(const void *obj, enum sim_class cls)
{
	uint16_t me = (uint16_t)(1u << S->cur), *mine, others;
	bool first = false;

	if (cls == SIM_NONE)
		return false;
	if (!in_region(obj))
		return true;
	struct word *w = &words[((uintptr_t)obj - SIM_BASE) / 4];
	switch (cls) {
	case SIM_WAIT:
		mine = &w->r;
		others = w->w | w->c | w->q;
		first = !(w->q & me);
		w->q |= me;
		break;
	case SIM_WAKE:
		mine = &w->q;
		others = w->q;
		break;
	case SIM_R:
		mine = &w->r;
		others = w->w | w->c;
		break;
	case SIM_C:
		mine = &w->c;
		others = w->w | w->r;
		break;
	case SIM_TRY:
		mine = &w->r;
		others = w->r | w->w | w->c;
		break;
	case SIM_LOCK:
		mine = &w->w;
		others = w->r | w->w;
		break;
	case SIM_UNLOCK:
		mine = &w->c;
		others = w->r;
		break;
	default:
		mine = &w->w;
		others = w->r | w->w | w->c;
		break;
	}
	others &= (uint16_t)~me;
	if (!first && *mine & me)
		return others;
	return first_touch(mine, me, first, others);
}

void sim_forget(void)
{
	memset(words, 0, words_on_stacks ? sizeof(words) : WORDS_LOW * sizeof(words[0]));
	words_on_stacks = false;
	E.grew = false;
}

/*
 * What happened before. Each operation's hash is made of the thread's last one, and of
 * those of the object that it depends on: of the last write, and, if it writes, of the
 * reads since. Two runs in which every thread's hash is the same differ in the order of
 * independent operations alone (the happens-before relation of CHESS, Musuvathi and
 * Qadeer, PLDI 2008; Mazurkiewicz traces). What was chosen is part of it: a thread that
 * is answered otherwise goes on otherwise.
 */
struct cause {
	uint64_t write, reads;
	uint32_t run;
};
static struct cause causes[(SIM_END - SIM_BASE) / 4];

/* Not mix(): two that are equal, as a thread's last operation and the last write of what it
 * wrote, would take each other out. */
static inline uint64_t join(uint64_t h, uint64_t v)
{
	return mix(h, v * 0xbf58476d1ce4e5b9ull + 0x94d049bb133111ebull);
}

static SIM_RAW void note_cause(const void *obj, enum sim_class cls)
{
	struct sim_thread *t = &S->t[S->cur];
	size_t at = in_region(obj) ? ((uintptr_t)obj - SIM_BASE) / 4 : 0;

	if (cls == SIM_NONE)
		return;
	struct cause *c = &causes[at];
	if (c->run != E.run)
		*c = (struct cause){ .run = E.run };
	if (cls == SIM_R) {
		t->cause = join(t->cause + at, c->write);
		c->reads += join(t->cause, 1);
	} else if (cls == SIM_C) {
		/* Counts commute: those who read see that there were some. */
		t->cause = join(t->cause + at, 2);
		c->write += join(t->cause, 3);
	} else {
		t->cause = join(t->cause + at, c->write + 3 * c->reads);
		c->write = t->cause;
		c->reads = 0;
	}
}

static void note_choice(uint64_t got)
{
	struct sim_thread *t = &S->t[S->cur];

	t->cause = join(t->cause, ~got);
}

SIM_RAW uint64_t sim_cause_hash(void)
{
	uint64_t h = S->jumps;

	for (uint32_t i = 0; i < S->threads; i++)
		h = mix(mix(h, S->t[i].cause + S->t[i].state), S->t[i].ops);
	return h;
}

static NOINLINE void endless(const char *what)
{
	deadlock("PROG", what);
}

static _Noreturn NOINLINE void not_live(void)
{
	sim_fail("FREE", "%s uses memory that was given back", S->t[S->cur].name);
}

/* An atomic in pages that were given back: nobody may have a pointer there any more. */
static SIM_RAW ALWAYS_INLINE void check_live(const void *obj)
{
	uintptr_t at = (uintptr_t)obj;

	if (at < SIM_PAGES || at >= SIM_STACKS)
		return;
	at = (at - SIM_PAGES) / RT_PAGE;
	if (!(S->page_map[at / 64] >> at % 64 & 1))
		not_live();
}

/* The point itself: others may come first. */
static SIM_RAW NOINLINE void point(const void *obj, enum sim_class cls)
{
	S->steps++;
	reschedule(false);
	if (E.causes)
		note_cause(obj, cls);
}

static SIM_RAW ALWAYS_INLINE bool before(const char *op, const void *obj, enum sim_class cls)
{
	if (S->cur < 0)
		return false;
	struct sim_thread *t = &S->t[S->cur];
	t->ops++;
	S->moves++;
	t->op = op;
	t->obj = obj;
	t->cls = (uint8_t)cls;
	if (fiber_race())
		sim_fail("RACE", "%s", fiber_race());
	if (S->quiet) {
		if (S->moves > QUIET_MAX)
			endless("no end in sight, and nothing left to choose");
		return false;
	}
	check_live(obj);
	if (S->moves > E.max_steps)
		endless("no end in sight: too many steps");
	if (!shared(obj, cls) && !E.all_visible && !E.all_points)
		return false;
	point(obj, cls);
	return true;
}

static SIM_RAW inline void after(uint64_t value)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	t->seen = mix(t->seen, value);
	S->idles = 0;
	if (!t->daemon)
		S->idle_since = 0;
	if (!E.trace)
		return;
	E.hash = mix(E.hash, value ^ (uint64_t)S->cur << 56 ^ (uint64_t)t->ops << 32);
	if (E.on_op)
		(void)UNSEEN((E.on_op(t->op, t->obj, value), 0));
}

void sim_point(const char *op, const void *obj, enum sim_class cls)
{
	machine_used = true;
	before(op, obj, cls);
	after(0);
}

void machine_point(const char *op, const void *obj, enum sim_class cls)
{
	machine_used = true;
	before(op, obj, cls);
}

void machine_seen(uint64_t value)
{
	after(value);
}

SIM_RAW void machine_yield(const char *op, const void *obj, enum sim_class cls)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	if (S->quiet && t->state == SIM_READY)
		return;
	t->op = op;
	t->obj = obj;
	t->cls = (uint8_t)cls;
	t->ops++;
	S->moves++;
	t->yields = true;
	if (!S->quiet)
		shared(obj, cls);
	reschedule(true);
	t->yields = false;
	if (E.causes)
		note_cause(obj, cls);
	after(0);
}

void sim_yield(const char *op)
{
	machine_yield(op, NULL, SIM_NONE);
}

void machine_waited(const void *obj)
{
	if (S->cur >= 0 && E.causes)
		note_cause(obj, SIM_R);
}

/* Not enabled until something of its own says so. */
static void block(void)
{
	S->t[S->cur].ops++; /* a place of its own, for a replay */
	reschedule(true);
}

int sim_self(void)
{
	return S->cur;
}

/* --- threads ------------------------------------------------------------------------------------
 */

static void thread_entry(void)
{
	fiber_arrived();
	struct sim_thread *t = &S->t[S->cur];
	ACQUIRE(t); /* of sim_spawn() */
	t->fn(t->arg);
	t = &S->t[S->cur];
	RELEASE(t); /* to rt_thread_join() */
	if (t->n_held > 0) {
		char name[64];
		sim_fail("LOCK", "%s ended with %s held", t->name,
			 sim_name_of(t->held[0].lock, name, sizeof(name)));
	}
	t->ops++;
	S->moves++;
	t->state = SIM_DONE;
	if (S->cur == setup_thread)
		leave_run(SIM_OK);
	reschedule(true);
	__builtin_unreachable();
}

int sim_spawn(void (*fn)(void *), void *arg, const char *name, bool daemon)
{
	int id = 0;

	while (id < (int)S->threads && S->t[id].state != SIM_FREE)
		id++;
	if (id == SIM_THREADS)
		return -1;
	if (id == (int)S->threads)
		S->threads++;
	struct sim_thread *t = &S->t[id];
	memset(t, 0, sizeof(*t));
	t->fn = fn;
	t->arg = arg;
	t->daemon = daemon;
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->cls = SIM_NONE;
	t->op = "start";
	t->sp = fiber_make(id, stack_of(id), SIM_STACK, thread_entry);
	t->state = SIM_READY;
	RELEASE(t);
	return id;
}

int rt_thread_start(struct rt_thread *t, void (*fn)(void *), void *arg, const char *name)
{
	if (sim_fails("thread_start"))
		return -EAGAIN;
	t->id = sim_spawn(fn, arg, strncmp(name, "quire-", 6) ? name : name + 6, true);
	return t->id < 0 ? -EAGAIN : 0;
}

static bool is_done(int id)
{
	return S->t[id].state == SIM_DONE;
}

void rt_thread_join(struct rt_thread *t)
{
	while (!is_done(t->id)) {
		before("join", NULL, SIM_NONE);
		rt_relax();
	}
	ACQUIRE(&S->t[t->id]);
	S->t[t->id].state = SIM_FREE;
}

/* The part of a run that has no choices. */
static bool run_quietly(void (*fn)(void *), void *arg)
{
	machine_used = true;
	E.status = SIM_RUNNING;
	S->quiet = true;
	fibers_meet();
	setup_thread = sim_spawn(fn, arg, "driver", false);
	sigjmp_buf outer;
	bool was_armed = armed;
	memcpy(outer, crash, sizeof(outer)); /* of sim_guarded() */
	armed = true;
	if (sigsetjmp(crash, 0) == 0) {
		S->cur = -1;
		go(setup_thread);
	}
	memcpy(crash, outer, sizeof(outer));
	armed = was_armed;
	S->cur = -1;
	if (setup_thread >= 0 && E.status == SIM_OK)
		S->t[setup_thread].state = SIM_FREE;
	setup_thread = -1;
	return E.status == SIM_OK;
}

bool sim_setup(void (*fn)(void *), void *arg)
{
	return run_quietly(fn, arg);
}

bool sim_quietly(void (*fn)(void *), void *arg)
{
	return run_quietly(fn, arg);
}

bool sim_guarded(bool (*fn)(const void *arg), const void *arg)
{
	bool ok = false;

	armed = true;
	if (sigsetjmp(crash, 0) == 0)
		ok = fn(arg);
	armed = false;
	S->cur = -1;
	return ok;
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!armed) {
		signal(sig, SIG_DFL); /* ours, not a run's: again, and to the end */
		return;
	}
	sim_crashed(sig, info->si_addr);
}

void sim_catch_crashes(void)
{
#if !defined(SIM_ASAN) && !defined(SIM_TSAN)
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static char stack[64 << 10];
	stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = on_crash,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	sigaltstack(&own, NULL);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
#else
	(void)on_crash;
#endif
}

static void sim_overflow(uint32_t i)
{
	E.status = SIM_BROKEN;
	snprintf(E.invariant, sizeof(E.invariant), "STACK");
	snprintf(E.story, sizeof(E.story), "%s used more than %u bytes of stack", S->t[i].name,
		 SIM_STACK);
	*(uint64_t *)stack_of((int)i) = 0;
}

enum sim_status sim_run(void)
{
	restore();
	fibers_meet();
	E.status = SIM_RUNNING;
	E.hash = 0;
	E.fault = NULL;
	E.run++;
	armed = true;
	if (sigsetjmp(crash, 0) == 0) {
		S->cur = -1;
		reschedule(true);
		while (E.all_visible && E.status == SIM_RUNNING) {
			int to = E.pick(E.explorer, asked.mask, asked.cur, asked.must);
			if (to < 0)
				E.status = SIM_PRUNED;
			else
				go(to);
		}
	}
	armed = false;
	S->cur = -1;
	for (uint32_t i = 0; i < S->threads; i++)
		if (*(uint64_t *)stack_of((int)i) != 0)
			sim_overflow(i);
	if (E.status != SIM_BROKEN && fiber_race()) { /* the last thing that was done */
		E.status = SIM_BROKEN;
		snprintf(E.invariant, sizeof(E.invariant), "RACE");
		snprintf(E.story, sizeof(E.story), "%s", fiber_race());
	}
	return E.status;
}

/* --- atomics -------------------------------------------------------------------------------------
 */

#define ATOMIC(name, type, value, number)                                                          \
	SIM_RAW value rt_load_##name(const type *p, enum rt_order o)                               \
	{                                                                                          \
		before("load", p, SIM_R);                                                          \
		value v = p->v;                                                                    \
		SYNC_IN(p, o);                                                                     \
		after(number(v));                                                                  \
		return v;                                                                          \
	}                                                                                          \
	SIM_RAW void rt_store_##name(type *p, value v, enum rt_order o)                            \
	{                                                                                          \
		before("store", p, SIM_W);                                                         \
		SYNC_OUT(p, o);                                                                    \
		p->v = v;                                                                          \
		after(number(v));                                                                  \
	}                                                                                          \
	SIM_RAW bool rt_cas_##name(type *p, value expected, value v, enum rt_order o)              \
	{                                                                                          \
		before("cas", p, SIM_W);                                                           \
		bool same = p->v == expected;                                                      \
		if (same) {                                                                        \
			SYNC_OUT(p, o);                                                            \
			p->v = v;                                                                  \
		}                                                                                  \
		SYNC_IN(p, o);                                                                     \
		after(same);                                                                       \
		return same;                                                                       \
	}

#define ARITH_OP(verb, name, type, value, expr)                                                    \
	SIM_RAW value rt_##verb##_##name(type *p, value n, enum rt_order o)                        \
	{                                                                                          \
		before(#verb, p, SIM_W);                                                           \
		value old = p->v;                                                                  \
		SYNC_IN(p, o);                                                                     \
		SYNC_OUT(p, o);                                                                    \
		p->v = expr;                                                                       \
		after(old);                                                                        \
		return old;                                                                        \
	}

/* A pointer as the hash sees it: where in the region, or that it is outside. On a stack
 * it is where the compiler put it: not the same in every build. */
static inline uint64_t pointer_number(const void *p)
{
	uintptr_t at = (uintptr_t)p & ~15ull;

	return at < SIM_BASE || at >= SIM_STACKS ? at != 0 : (uintptr_t)p;
}
#define as_is(v) ((uint64_t)(v))

ATOMIC(u32, rt_u32, uint32_t, as_is)
ATOMIC(u64, rt_u64, uint64_t, as_is)
ATOMIC(ptr, rt_ptr, void *, pointer_number)
ARITH_OP(add, u32, rt_u32, uint32_t, old + n)
ARITH_OP(sub, u32, rt_u32, uint32_t, old - n)
ARITH_OP(or, u32, rt_u32, uint32_t, old | n)
ARITH_OP(and, u32, rt_u32, uint32_t, old &n)
ARITH_OP(add, u64, rt_u64, uint64_t, old + n)
ARITH_OP(sub, u64, rt_u64, uint64_t, old - n)
ARITH_OP(or, u64, rt_u64, uint64_t, old | n)
ARITH_OP(and, u64, rt_u64, uint64_t, old &n)

SIM_RAW void rt_count_u64(rt_u64 *p, uint64_t n)
{
	before("count", p, SIM_C);
	p->v += n;
	after(n);
}

/* --- names and the order of locks
 * ------------------------------------------------------------------ */

#define CLASSES 48

static const char *class_name[CLASSES];
static uint64_t class_before[CLASSES]; /* classes ever taken while this one was held */
static uint8_t class_of_word[(SIM_END - SIM_BASE) / 4 + 1];

static void names_forget(void)
{
	memset(class_of_word, 0, sizeof(class_of_word));
}

static int class_id(const char *name)
{
	int i = 1;

	while (i < CLASSES && class_name[i] && strcmp(class_name[i], name) != 0)
		i++;
	if (i == CLASSES)
		return 0;
	class_name[i] = name;
	return i;
}

void rt_note_class(const void *p, const char *name)
{
	if (in_region(p))
		class_of_word[((uintptr_t)p - SIM_BASE) / 4] = (uint8_t)class_id(name);
}

const char *sim_class_of(const void *p)
{
	int id = in_region(p) ? class_of_word[((uintptr_t)p - SIM_BASE) / 4] : 0;
	const char *name = id ? class_name[id] : "lock";

	if (*name == '&')
		name++;
	const char *arrow = strstr(name, "->");
	return arrow ? arrow + 2 : name;
}

const char *sim_name_of(const void *p, char *buf, size_t n)
{
	if (in_region(p))
		snprintf(buf, n, "%s@%llx", sim_class_of(p),
			 (unsigned long long)((uintptr_t)p - SIM_BASE));
	else
		snprintf(buf, n, "%s", "-");
	return buf;
}

/* Can `to` be reached from `from` by "was held while taking"? */
static bool ordered(int from, int to, uint64_t *been)
{
	if (class_before[from] & 1ull << to)
		return true;
	*been |= 1ull << from;
	for (int i = 1; i < CLASSES; i++)
		if (class_before[from] & 1ull << i && !(*been & 1ull << i) && ordered(i, to, been))
			return true;
	return false;
}

/* The current thread is about to wait for p, if need be: all it holds comes before. */
static SIM_RAW void order_locks(struct sim_thread *t, const void *p)
{
	int to = in_region(p) ? class_of_word[((uintptr_t)p - SIM_BASE) / 4] : 0;

	if (!to)
		return;
	for (uint32_t i = 0; i < t->n_held; i++) {
		int from = class_of_word[((uintptr_t)t->held[i].lock - SIM_BASE) / 4];
		uint64_t been = 0;
		if (!from || from == to || class_before[from] & 1ull << to)
			continue;
		if (ordered(to, from, &been)) {
			char a[64], b[64];
			sim_fail("ORDER",
				 "%s takes %s with %s held; elsewhere it is the other way round",
				 t->name, sim_name_of(p, a, sizeof(a)),
				 sim_name_of(t->held[i].lock, b, sizeof(b)));
		}
		class_before[from] |= 1ull << to;
	}
}

SIM_RAW void rt_note_want(const void *p)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	t->wants = p;
	if (E.on_want && !S->quiet)
		E.on_want(p);
	if (t->rcu_depth > 0)
		sim_fail("RCU", "%s may sleep for a lock inside a read-side section", t->name);
	order_locks(t, p);
}

SIM_RAW void rt_note_held(const void *p, bool write)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	if (t->n_held == SIM_HELD)
		sim_fail("LOCK", "%s holds more than %d locks", t->name, SIM_HELD);
	t->held[t->n_held++] = (struct sim_held){ p, write };
	if (t->wants == p)
		t->wants = NULL;
	ACQUIRE(p);
}

SIM_RAW void rt_note_dropped(const void *p)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	RELEASE(p);
	for (uint32_t i = t->n_held; i-- > 0;) {
		if (t->held[i].lock != p)
			continue;
		t->n_held--;
		for (; i < t->n_held; i++)
			t->held[i] = t->held[i + 1];
		t->held[t->n_held] = (struct sim_held){ NULL, false };
		return;
	}
	char name[64];
	sim_fail("LOCK", "%s lets go of %s, which it does not hold", t->name,
		 sim_name_of(p, name, sizeof(name)));
}

/* --- locks
 * -------------------------------------------------------------------------------------------- */

void rt_sim_lock_init(struct rt_lock *l, const char *class)
{
	l->owner = 0;
	rt_note_class(l, class);
}

SIM_RAW bool rt_trylock(struct rt_lock *l)
{
	before("trylock", l, SIM_TRY);
	bool got = l->owner == 0;
	if (got) {
		l->owner = (uint32_t)S->cur + 2;
		rt_note_held(l, true);
	}
	after(got);
	return got;
}

SIM_RAW void rt_lock(struct rt_lock *l)
{
	if (S->cur >= 0) {
		struct sim_thread *t = &S->t[S->cur];
		if (t->rcu_depth > 0)
			sim_fail("RCU", "%s may sleep for a lock inside a read-side section",
				 t->name);
		order_locks(t, l);
		t->in_lock = true;
		if (!before("lock", l, SIM_LOCK) && l->owner) {
			shared(l, SIM_LOCK);
			block();
		}
		S->t[S->cur].in_lock = false;
	}
	if (l->owner)
		sim_fail("LOCK", "a lock is taken that is held");
	l->owner = (uint32_t)S->cur + 2;
	rt_note_held(l, true);
	after(1);
}

SIM_RAW void rt_unlock(struct rt_lock *l)
{
	before("unlock", l, SIM_UNLOCK);
	if (l->owner != (uint32_t)S->cur + 2)
		sim_fail("LOCK", "%s lets go of a lock that %s holds", thread_name(S->cur),
			 l->owner ? thread_name((int)l->owner - 2) : "nobody");
	rt_note_dropped(l);
	l->owner = 0;
	after(0);
}

int sim_lock_holder(const void *lock)
{
	return (int)((const struct rt_lock *)lock)->owner - 2;
}

void rt_lock_assert(struct rt_lock *l)
{
	if (l->owner != (uint32_t)S->cur + 2)
		sim_fail("LOCK", "%s does not hold a lock that it needs", thread_name(S->cur));
}

/* --- sleep
 * --------------------------------------------------------------------------------------------- */

SIM_RAW int rt_wait(rt_u32 *word, uint32_t expected, uint64_t timeout_ns)
{
	if (S->cur < 0)
		sim_fail("LOCK", "the driver sleeps");
	struct sim_thread *t = &S->t[S->cur];
	if (t->rcu_depth > 0)
		sim_fail("RCU", "%s sleeps inside a read-side section", t->name);
	bool heard = !S->quiet && shared(t, SIM_R); /* of sim_kill() */
	if (!before("wait", word, SIM_WAIT) && heard)
		point(word, SIM_WAIT);
	if (E.causes && heard)
		note_cause(t, SIM_R);
	t = &S->t[S->cur];
	if (word->v != expected) {
		after(1);
		return 0;
	}
	if (t->signalled) {
		t->signalled = false;
		after(2);
		return -EINTR;
	}
	if (sim_hiccups("wait")) { /* woken for nothing, or the time was over at once */
		after(3);
		return 0;
	}
	t->word = word;
	t->state = SIM_ASLEEP;
	t->deadline = timeout_ns ? S->clock + timeout_ns : 0;
	t->woken = t->timed_out = false;
	t->op = "asleep";
	block();
	t->word = NULL;
	t->op = "awake";
	t->ops++;
	int err = 0;
	if (t->signalled) {
		t->signalled = false;
		err = -EINTR;
	}
	ACQUIRE(word);
	after((t->woken ? 4 : t->timed_out ? 5 : 6) + (err ? 8 : 0));
	return err;
}

/* One of those who sleep on word, of whom at most n are to be woken: who is a choice. */
static SIM_RAW struct sim_thread *sleeper_on(const rt_u32 *word, unsigned n)
{
	uint32_t found[SIM_THREADS], count = 0, which = 0;

	for (uint32_t i = 0; i < S->threads; i++)
		if (S->t[i].state == SIM_ASLEEP && S->t[i].word == word)
			found[count++] = i;
	if (count > n)
		which = sim_choose(count);
	return count ? &S->t[found[which]] : NULL;
}

SIM_RAW void rt_wake(rt_u32 *word, unsigned n)
{
	struct sim_thread *t;

	before("wake", word, SIM_WAKE);
	RELEASE(word);
	for (; n > 0 && (t = sleeper_on(word, n)) != NULL; n--) {
		t->state = SIM_READY;
		t->woken = true;
		t->cls = SIM_NONE;
	}
	after(n);
}

void sim_kill(int id)
{
	struct sim_thread *t = &S->t[id];

	before("kill", t, SIM_W);
	if (E.causes && t->word) /* who wakes it then comes before, or after */
		note_cause(t->word, SIM_WAKE);
	t->killed = t->signalled = true;
	if (t->state == SIM_ASLEEP) {
		t->state = SIM_READY;
		t->cls = SIM_NONE;
	}
	after(0);
}

bool rt_killed(void)
{
	if (S->cur < 0)
		return false;
	before("killed", &S->t[S->cur], SIM_R);
	after(S->t[S->cur].killed);
	return S->t[S->cur].killed;
}

SIM_RAW void rt_relax(void)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	t->op = "relax";
	t->obj = NULL;
	t->cls = SIM_NONE;
	t->ops++;
	t->relaxes = true;
	t->relax_at = S->moves;
	reschedule(true);
	S->t[S->cur].relaxes = false;
}

/* --- rcu
 * ---------------------------------------------------------------------------------------------------
 */

SIM_RAW void rt_rcu_read_lock(void)
{
	before("rcu_read_lock", &S->rcu, SIM_R);
	if (S->cur < 0)
		return;
	if (S->t[S->cur].rcu_depth++ == 0)
		S->t[S->cur].rcu_section++;
	after(0);
}

SIM_RAW void rt_rcu_read_unlock(void)
{
	before("rcu_read_unlock", &S->rcu, SIM_R);
	if (S->cur < 0)
		return;
	if (S->t[S->cur].rcu_depth == 0)
		sim_fail("RCU", "%s leaves a section that it is not in", S->t[S->cur].name);
	RELEASE(&S->rcu);
	S->t[S->cur].rcu_depth--;
	after(0);
}

SIM_RAW void rt_rcu_synchronize(void)
{
	if (S->cur < 0)
		return;
	struct sim_thread *t = &S->t[S->cur];
	if (t->rcu_depth > 0)
		sim_fail("RCU", "%s waits for readers inside a read-side section", t->name);
	before("rcu_sync", &S->rcu, SIM_W);
	for (uint32_t i = 0; i < S->threads; i++)
		t->sync_wants[i] = S->t[i].rcu_depth > 0 ? S->t[i].rcu_section + 1 : 0;
	t->in_sync = true;
	if (!readers_gone(t) || E.knobs.rcu_late)
		block();
	t->in_sync = false;
	ACQUIRE(&S->rcu);
	after(0);
}

/* --- the clock, and the rest
 * ----------------------------------------------------------------------------------- */

uint64_t rt_now_ns(void)
{
	if (S->cur >= 0)
		S->t[S->cur].cause = mix(S->t[S->cur].cause, S->jumps);
	return S->clock + 1000000000ull;
}

void rt_sim_cover(struct sim_cover *c)
{
	if (S->quiet || S->cur < 0 || c->last == E.run)
		return;
	c->last = E.run;
	c->runs++;
}

void rt_sim_site(struct sim_site *s)
{
	if (S->cur >= 0)
		E.site[S->cur] = s;
}

unsigned sim_choose(unsigned n)
{
	if (n < 2 || !E.choose || S->quiet)
		return 0;
	unsigned got = UNSEEN(E.choose(E.explorer, SIM_VALUE, n));
	if (got)
		note_choice(got);
	return got;
}

static SIM_RAW bool fails(const char *what, enum sim_choice kind)
{
	if (S->quiet || S->cur < 0)
		return false;
	struct sim_site *site = E.site[S->cur];
	E.site[S->cur] = NULL;
	E.asking = site;
	if (site)
		site->calls++;
	S->fallible++;
	S->t[S->cur].ops++; /* a key of its own, for a replay */
	if (!E.choose || UNSEEN(E.choose(E.explorer, kind, 2)) == 0)
		return false;
	S->failures++;
	/* Which error it is depends on how many there were (disk.c). */
	note_choice((uint64_t)S->t[S->cur].ops << 8 | S->failures);
	E.fault = what;
	if (site && E.on_failure)
		E.on_failure(site);
	return true;
}

bool sim_fails(const char *what)
{
	return fails(what, SIM_FAIL);
}

bool sim_hiccups(const char *what)
{
	return fails(what, SIM_ONCE);
}
