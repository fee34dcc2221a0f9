/* SPDX-License-Identifier: MIT */
/*
 * replay.c - run one schedule again, and find a smaller one that breaks the same.
 *
 * An entry is taken where its thread is before that operation of its own: whatever else
 * is different by then. So an entry can be left out and the others keep their places.
 * Every operation is a point here (E.all_points), for what was known to be shared when
 * the schedule was made is not known any more.
 *
 * Shrinking is ddmin (Zeller, Hildebrandt, TSE 2002) over the entries. After each
 * success what goes on with is what that run in fact chose: entries that were passed
 * over are gone at once.
 */
#include "check/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE        SIZE_MAX
#define REPLAYS_MAX 400 /* of a shrink */

struct player {
	const struct schedule *s;
	size_t head[SIM_THREADS + 1]; /* the first entry of a thread not passed yet */
	size_t *after;                /* the next one of the same thread */
	bool *used;
	struct schedule *exact;
	const struct watch *watch;
};

/* --- playing --------------------------------------------------------------------- */

static void player_init(struct player *p, const struct schedule *s)
{
	size_t last[SIM_THREADS + 1];

	*p = (struct player){ .s = s };
	p->after = calloc(s->entries + 1, sizeof(*p->after));
	p->used = calloc(s->entries + 1, sizeof(*p->used));
	if (!p->after || !p->used)
		abort();
	for (unsigned t = 0; t <= SIM_THREADS; t++)
		p->head[t] = last[t] = NONE;
	for (size_t i = 0; i < s->entries; i++) {
		unsigned t = s->entry[i].thread <= SIM_THREADS ? s->entry[i].thread : SIM_THREADS;
		p->after[i] = NONE;
		if (last[t] == NONE)
			p->head[t] = i;
		else
			p->after[last[t]] = i;
		last[t] = i;
	}
}

static void player_fini(struct player *p)
{
	free(p->after);
	free(p->used);
}

/* Does e say what happens at a switch that must be made, or need not? One operation may
 * have both: before it, and while it sleeps. */
static bool fits(const struct entry *e, enum entry_kind kind, bool must)
{
	return e->kind == kind && (kind != ENTRY_SWITCH || must || e->preempts);
}

static const struct entry *take(struct player *p, int thread, enum entry_kind kind, bool must)
{
	unsigned t = thread < 0 ? SIM_THREADS : (unsigned)thread;
	uint32_t op = thread < 0 ? 0 : S->t[thread].ops;
	const struct entry *e = p->s->entry;
	size_t i = p->head[t], found = NONE;

	while (i != NONE && (p->used[i] || e[i].op < op))
		i = p->after[i];
	p->head[t] = i;
	for (; i != NONE && e[i].op == op; i = p->after[i]) {
		if (p->used[i] || !fits(&e[i], kind, must))
			continue;
		/* Where it has to be made, one that had to be first. */
		if (found == NONE || (must && e[found].preempts && !e[i].preempts))
			found = i;
	}
	if (found == NONE)
		return NULL;
	p->used[found] = true;
	return &e[found];
}

static void keep(struct player *p, int thread, enum entry_kind kind, unsigned choice, bool preempts)
{
	if (!p->exact)
		return;
	schedule_add(p->exact, (struct entry){ .op = thread < 0 ? 0 : S->t[thread].ops,
					       .thread = thread < 0 ? SIM_THREADS : (uint8_t)thread,
					       .kind = (uint8_t)kind,
					       .choice = (uint8_t)choice,
					       .preempts = preempts });
}

static int play_pick(void *x, uint32_t enabled, int cur, bool must)
{
	int usual = cur >= 0 && enabled & 1u << cur ? cur : __builtin_ctz(enabled);
	const struct entry *e = take(x, cur, ENTRY_SWITCH, must);

	if (!e || e->choice == usual || e->choice >= SIM_THREADS || !(enabled & 1u << e->choice))
		return usual;
	keep(x, cur, ENTRY_SWITCH, e->choice, !must);
	return e->choice;
}

static unsigned play_choose(void *x, enum sim_choice kind, unsigned n)
{
	enum entry_kind want = kind == SIM_VALUE ? ENTRY_VALUE : ENTRY_FAIL;
	struct player *p = x;

	if (S->quiet)
		return 0;
	const struct entry *e = take(p, S->cur, want, true);
	if (!e || e->choice == 0 || e->choice >= n)
		return 0;
	keep(p, S->cur, want, e->choice, false);
	if (p->watch && p->watch->chose)
		p->watch->chose(kind, n, e->choice);
	return e->choice;
}

/* One run of s in the world that stands. */
static enum sim_status play(const struct schedule *s, struct schedule *exact, const struct watch *w)
{
	struct player p;

	player_init(&p, s);
	p.exact = exact;
	p.watch = w;
	if (exact) {
		schedule_clear(exact);
		exact->program = s->program;
		exact->knobs = s->knobs;
	}
	E.explorer = &p;
	enum sim_status status = program_run(s->program);
	E.explorer = NULL;
	player_fini(&p);
	return status;
}

/* The engine as a replay needs it, and the world. False: E says why. */
static bool stage(const struct schedule *s)
{
	E.knobs = s->knobs.sim;
	E.pick = play_pick;
	E.choose = play_choose;
	E.explorer = NULL;
	E.on_failure = NULL;
	E.all_visible = false;
	E.all_points = true;
	E.sparing = false;
	E.trace = false;
	E.max_steps = STEPS_MAX;
	return s->program->build(s->program, &s->knobs);
}

static void strike(void)
{
	E.pick = NULL;
	E.choose = NULL;
	E.all_points = false;
	E.trace = false;
}

enum sim_status replay_watched(const struct schedule *s, struct schedule *exact, uint64_t *hash,
			       const struct watch *w)
{
	enum sim_status status = SIM_BROKEN; /* also when it cannot be built */

	if (exact) {
		schedule_clear(exact);
		exact->program = s->program;
		exact->knobs = s->knobs;
	}
	E.hash = 0;
	if (stage(s)) {
		if (w && w->built)
			w->built();
		E.trace = true;
		status = play(s, exact, w);
	}
	if (hash)
		*hash = E.hash;
	strike();
	return status;
}

enum sim_status replay(const struct schedule *s, struct schedule *exact, uint64_t *hash)
{
	E.on_op = NULL;
	E.on_switch = NULL;
	E.on_note = NULL;
	return replay_watched(s, exact, hash, NULL);
}

/* --- shrinking ------------------------------------------------------------------- */

struct shrinker {
	struct schedule *best;
	struct schedule trial, exact;
	char invariant[sizeof(E.invariant)];
	unsigned replays;
};

/* Does the trial break the same? Then what it did is the best. */
static bool attempt(struct shrinker *x)
{
	if (x->replays >= REPLAYS_MAX)
		return false;
	x->replays++;
	if (play(&x->trial, &x->exact, NULL) != SIM_BROKEN ||
	    strcmp(E.invariant, x->invariant) != 0)
		return false;
	schedule_copy(x->best, &x->exact);
	return true;
}

/* Without entries [from, to). */
static bool without(struct shrinker *x, size_t from, size_t to)
{
	schedule_copy(&x->trial, x->best);
	memmove(&x->trial.entry[from], &x->trial.entry[to],
		(x->trial.entries - to) * sizeof(struct entry));
	x->trial.entries -= to - from;
	return attempt(x);
}

/* Only what fails, or what has to be. */
static bool only(struct shrinker *x, bool (*keeps)(const struct entry *))
{
	size_t n = 0;

	schedule_copy(&x->trial, x->best);
	for (size_t i = 0; i < x->trial.entries; i++)
		if (keeps(&x->trial.entry[i]))
			x->trial.entry[n++] = x->trial.entry[i];
	if (n == x->trial.entries)
		return false;
	x->trial.entries = n;
	return attempt(x);
}

static bool is_failure(const struct entry *e)
{
	return e->kind == ENTRY_FAIL;
}

static bool is_free(const struct entry *e)
{
	return !e->preempts;
}

/* Larger pieces first; in each round from the front: what happened early is seldom
 * what broke it. Returns whether anything went. */
static bool drop_pieces(struct shrinker *x, size_t piece)
{
	bool any = false;

	for (size_t at = 0; at < x->best->entries;) {
		size_t end = at + piece < x->best->entries ? at + piece : x->best->entries;
		if (without(x, at, end))
			any = true;
		else
			at = end;
	}
	return any;
}

/* Two switches in a row: t -> u, and soon u -> v. Straight to v; or, if v is t, none. */
static bool merge(struct shrinker *x)
{
	for (size_t i = 0; i + 1 < x->best->entries; i++) {
		const struct entry *a = &x->best->entry[i], *b = a + 1;
		if (a->kind != ENTRY_SWITCH || b->kind != ENTRY_SWITCH || b->thread != a->choice)
			continue;
		if (b->choice == a->thread) {
			if (without(x, i, i + 2))
				return true;
			continue;
		}
		schedule_copy(&x->trial, x->best);
		x->trial.entry[i].choice = b->choice;
		memmove(&x->trial.entry[i + 1], &x->trial.entry[i + 2],
			(x->trial.entries - i - 2) * sizeof(struct entry));
		x->trial.entries--;
		if (attempt(x))
			return true;
	}
	return false;
}

/* A switch to a daemon, from which it went on to somebody: straight to a thread of the
 * program's, if that breaks too. It is no shorter, but simpler. */
static void skip_daemons(struct shrinker *x)
{
	for (size_t i = 0; i < x->best->entries; i++) {
		const struct entry *e = &x->best->entry[i];
		if (e->kind != ENTRY_SWITCH || !S->t[e->choice].daemon)
			continue;
		for (unsigned t = 0; t < S->threads; t++) {
			if (S->t[t].daemon || t == e->thread)
				continue;
			schedule_copy(&x->trial, x->best);
			x->trial.entry[i].choice = (uint8_t)t;
			if (attempt(x))
				break;
			e = &x->best->entry[i];
		}
	}
}

static void drop_entries(struct shrinker *x)
{
	if (x->best->entries == 0)
		return;
	if (!only(x, is_failure))
		only(x, is_free);
	for (size_t piece = (x->best->entries + 1) / 2; piece > 1; piece = (piece + 1) / 2)
		drop_pieces(x, piece);
	do {
		while (drop_pieces(x, 1))
			;
	} while (merge(x));
	skip_daemons(x);
}

static bool same_knobs(const struct knobs *a, const struct knobs *b)
{
	char one[200], other[200];

	return !strcmp(schedule_knobs(a, one, sizeof(one)),
		       schedule_knobs(b, other, sizeof(other)));
}

/* The usual machine, if it breaks there too. */
static void usual_knobs(struct shrinker *x)
{
	struct knobs usual = knobs_nth(x->best->program, x->best->knobs.policy);

	if (x->best->program->piece)
		return;
	for (unsigned i = 0; i < 8; i++) {
		struct knobs k = x->best->knobs;
		k.frames = i == 0 ? usual.frames : k.frames;
		k.ahead = i == 1 ? usual.ahead : k.ahead;
		k.sim.reuse_last = i == 2 ? usual.sim.reuse_last : k.sim.reuse_last;
		k.sim.tlb = i == 3 ? usual.sim.tlb : k.sim.tlb;
		k.sim.rcu_late = i == 4 ? usual.sim.rcu_late : k.sim.rcu_late;
		k.sim.short_reads = i == 5 ? usual.sim.short_reads : k.sim.short_reads;
		k.rmap = i == 7 ? usual.rmap : k.rmap;
		k.sim.lazy_more = i == 6 ? usual.sim.lazy_more : k.sim.lazy_more;
		if (same_knobs(&k, &x->best->knobs))
			continue;
		schedule_copy(&x->trial, x->best);
		x->trial.knobs = k;
		if (stage(&x->trial))
			attempt(x);
	}
	stage(x->best);
}

unsigned shrink(struct schedule *s)
{
	struct shrinker x = { .best = s };

	E.on_op = NULL;
	E.on_switch = NULL;
	E.on_note = NULL;
	if (!stage(s)) {
		strike();
		return 0;
	}
	x.replays++;
	if (play(s, &x.exact, NULL) == SIM_BROKEN) {
		memcpy(x.invariant, E.invariant, sizeof(x.invariant));
		schedule_copy(s, &x.exact);
		drop_entries(&x);
		usual_knobs(&x);
		/* The last run is the one that E tells of. */
		play(s, NULL, NULL);
	}
	strike();
	schedule_free(&x.trial);
	schedule_free(&x.exact);
	return x.replays;
}
