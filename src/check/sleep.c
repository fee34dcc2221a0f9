/* SPDX-License-Identifier: MIT */
/*
 * sleep.c - two ways to exhaust a tiny program. The second judges the first.
 *
 * sleep: depth first, every run from the start. A thread whose step was explored at a
 * place sleeps in the places beyond it, until somebody makes a step that conflicts with
 * the one it is about to make: until then, going with it leads where we have been, by
 * another order of independent steps (Godefroid 1996). A place where all sleep is left.
 * A step is one visible operation and what follows it up to the next; it conflicts where
 * its operation does, because nothing else in it touches what others touch. That holds
 * if it is known what is shared: a pass that learns of another shared word (E.grew) is
 * begun again, and only one that learns nothing counts.
 *
 * states: every operation is visible, and every enabled thread is tried at every place;
 * what is left out is a state that was seen before, by a 64-bit hash of all memory, the
 * stacks and what each thread has observed.
 *
 * Both collect the outcomes: final memory, and what each thread observed on its way
 * (sim_seen_hash()). If the sets differ, a conflict is not declared, or a hash sees what
 * it should not: the gate of checking.md 2.2.
 *
 * choose() branches too. Failures have a budget of limits.F for each thread, not for
 * all: a common one would make every two failures depend on each other.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check/explore.h"
#include "check/footprint.h"

#define MAX_STEPS  20000
#define STATES_MAX (1ull << 24) /* then it was not tiny: a quarter of a GiB */

/* A place with a choice: who goes on (ENTRY_SWITCH), or what a choose() answers. */
struct node {
	uint32_t enabled; /* threads */
	uint32_t asleep;  /* ... that need not go on from here */
	uint32_t done;    /* ... all of whose ways from here were explored */
	uint32_t op;
	uint8_t thread; /* that came to the place; SIM_THREADS: the driver */
	uint8_t kind;   /* enum entry_kind */
	uint8_t chosen, usual;
	uint8_t ways; /* of a choose() */
	bool must;
	uint64_t clock;
	struct footprint next[SIM_THREADS]; /* what each enabled one is about to do */
};

/* A set of hashes: open addressing, 0 is an empty place. */
struct set {
	uint64_t *slot;
	size_t room, used;
};

struct search {
	const struct limits *limits;
	struct result *r;
	bool reduced;
	struct node *node; /* the way to where we are */
	size_t nodes, room;
	size_t at;                      /* of this run */
	unsigned failures[SIM_THREADS]; /* of this run */
	struct set outcomes, states;
};

/* --- sets -------------------------------------------------------------------------- */

static uint64_t scramble(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 27) * 0x94d049bb133111ebull;
	return h ^ h >> 31;
}

/* Where h is, or belongs. */
static uint64_t *set_slot(const struct set *s, uint64_t h)
{
	size_t i = (size_t)h & (s->room - 1);

	while (s->slot[i] && s->slot[i] != h)
		i = (i + 1) & (s->room - 1);
	return &s->slot[i];
}

static void set_grow(struct set *s)
{
	struct set old = *s;

	s->room = old.room ? 2 * old.room : 4096;
	s->slot = calloc(s->room, sizeof(*s->slot));
	if (!s->slot)
		abort();
	for (size_t i = 0; i < old.room; i++)
		if (old.slot[i])
			*set_slot(s, old.slot[i]) = old.slot[i];
	free(old.slot);
}

/* False: it was there. */
static bool set_add(struct set *s, uint64_t h)
{
	h = scramble(h);
	h += h == 0;
	if (s->used * 2 >= s->room)
		set_grow(s);
	uint64_t *slot = set_slot(s, h);
	if (*slot)
		return false;
	*slot = h;
	s->used++;
	return true;
}

static uint64_t set_sum(const struct set *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->room; i++)
		sum += scramble(s->slot[i]);
	return sum;
}

static void set_clear(struct set *s)
{
	free(s->slot);
	*s = (struct set){ 0 };
}

/* --- who sleeps ---------------------------------------------------------------------- */

/* The threads of n that may sleep on once n's choice was made. */
static uint32_t sleep_on(const struct node *n)
{
	uint32_t asleep = (n->asleep | n->done) & ~(1u << n->chosen), left = asleep;
	struct footprint step = n->next[n->chosen];

	for (uint32_t m = asleep; m; m &= m - 1) {
		int t = __builtin_ctz(m);
		if (footprints_conflict(step, n->next[t]))
			left &= ~(1u << t);
	}
	return left;
}

/* --- the path ---------------------------------------------------------------------------- */

static struct node *push(struct search *s, enum entry_kind kind, int cur)
{
	if (s->nodes == s->room) {
		s->room = s->room ? 2 * s->room : 256;
		s->node = realloc(s->node, s->room * sizeof(*s->node));
		if (!s->node)
			abort();
	}
	struct node *n = &s->node[s->nodes++];
	s->at = s->nodes;
	n->kind = (uint8_t)kind;
	n->thread = cur < 0 ? SIM_THREADS : (uint8_t)cur;
	n->op = cur < 0 ? 0 : S->t[cur].ops;
	n->asleep = n->done = 0;
	n->usual = 0;
	n->must = true;
	return n;
}

/* The place that this run comes to again. NULL: it is new. */
static struct node *old_node(struct search *s, enum entry_kind kind, int cur, uint32_t ways)
{
	if (s->at == s->nodes)
		return NULL;
	struct node *n = &s->node[s->at++];
	if (n->kind != kind || n->thread != (cur < 0 ? SIM_THREADS : cur) ||
	    (kind == ENTRY_SWITCH ? n->enabled : n->ways) != ways)
		sim_fail("REPLAY", "the same choices do not lead to the same place: "
				   "something varies that is no choice");
	return n;
}

/* What may sleep at the end of the path. */
static uint32_t asleep_here(const struct search *s)
{
	for (size_t i = s->nodes; i-- > 0;)
		if (s->node[i].kind == ENTRY_SWITCH)
			/* Time passes when nobody can go on: it conflicts with all. */
			return s->node[i].clock == S->clock ? sleep_on(&s->node[i]) : 0;
	return 0;
}

/* Turn to the next path. False: there is none. */
static bool next_path(struct search *s)
{
	while (s->nodes > 0) {
		struct node *n = &s->node[s->nodes - 1];
		if (n->kind == ENTRY_SWITCH) {
			n->done |= 1u << n->chosen;
			uint32_t left = n->enabled & ~n->asleep & ~n->done;
			if (left) {
				n->chosen = (uint8_t)__builtin_ctz(left);
				return true;
			}
		} else if (++n->chosen < n->ways) {
			return true;
		}
		s->nodes--;
	}
	return false;
}

/* --- the hooks ------------------------------------------------------------------------------ */

/* Was this state, with the failures left, met before? */
static bool state_is_old(struct search *s)
{
	return !set_add(&s->states, sim_hash(sim_state_hash(), s->failures, sizeof(s->failures)));
}

static int on_pick(void *x, uint32_t enabled, int cur, bool must)
{
	struct search *s = x;
	struct node *n = old_node(s, ENTRY_SWITCH, cur, enabled);
	uint32_t asleep = 0;

	if (n)
		return n->chosen;
	if (s->reduced) {
		asleep = asleep_here(s) & enabled;
		if (asleep == enabled)
			return -1;
	} else if (state_is_old(s)) {
		return -1;
	}
	n = push(s, ENTRY_SWITCH, cur);
	n->enabled = enabled;
	n->asleep = asleep;
	n->clock = S->clock;
	n->must = must;
	n->usual = cur >= 0 && enabled & 1u << cur ? (uint8_t)cur : (uint8_t)__builtin_ctz(enabled);
	n->chosen = asleep & 1u << n->usual ? (uint8_t)__builtin_ctz(enabled & ~asleep) : n->usual;
	for (uint32_t m = enabled; m; m &= m - 1) {
		int t = __builtin_ctz(m);
		n->next[t] = footprint_of(t);
	}
	return n->chosen;
}

static unsigned on_choose(void *x, enum sim_choice kind, unsigned ways)
{
	struct search *s = x;
	bool fails = kind != SIM_VALUE;
	enum entry_kind entry = fails ? ENTRY_FAIL : ENTRY_VALUE;

	if (fails && s->failures[S->cur] >= s->limits->F)
		return 0;
	struct node *n = old_node(s, entry, S->cur, ways);
	if (!n) {
		n = push(s, entry, S->cur);
		n->ways = (uint8_t)ways;
		n->chosen = 0;
	}
	if (fails)
		s->failures[S->cur] += n->chosen;
	return n->chosen;
}

/* --- the search ------------------------------------------------------------------------------- */

static bool out_of_limits(const struct search *s)
{
	const struct limits *l = s->limits;
	struct timespec ts;

	if ((l->runs && s->r->runs >= l->runs) || s->states.used >= STATES_MAX)
		return true;
	if (!l->until_ns || s->r->runs % 64)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec >= l->until_ns;
}

static enum verdict found(const struct search *s)
{
	struct result *r = s->r;

	memcpy(r->invariant, E.invariant, sizeof(r->invariant));
	memcpy(r->story, E.story, sizeof(r->story));
	schedule_clear(&r->found);
	for (size_t i = 0; i < s->nodes; i++) {
		const struct node *n = &s->node[i];
		if (n->chosen != n->usual)
			schedule_add(&r->found, (struct entry){ .op = n->op,
								.thread = n->thread,
								.kind = n->kind,
								.choice = n->chosen,
								.preempts = !n->must });
	}
	return VERDICT_FOUND;
}

static enum sim_status one_run(struct search *s, const struct program *p)
{
	struct result *r = s->r;

	s->at = 0;
	memset(s->failures, 0, sizeof(s->failures));
	enum sim_status status = program_run(p);
	r->runs++;
	r->steps += S->steps;
	if (S->steps > r->longest)
		r->longest = S->steps;
	if (status == SIM_OK) {
		r->complete++;
		set_add(&s->outcomes, sim_seen_hash());
	}
	return status;
}

static enum verdict search(struct search *s, const struct program *p)
{
	do {
		if (out_of_limits(s))
			return VERDICT_LIMIT;
		if (one_run(s, p) == SIM_BROKEN)
			return found(s);
		if (s->reduced && E.grew) { /* what slept may have had to be awake */
			E.grew = false;
			s->nodes = 0;
			set_clear(&s->outcomes);
			continue;
		}
	} while (s->nodes == 0 || next_path(s));
	return VERDICT_DONE;
}

static enum verdict exhaust(const struct program *p, const struct limits *l, struct result *r,
			    bool reduced)
{
	struct search s = { .limits = l, .r = r, .reduced = reduced };

	E.pick = on_pick;
	E.choose = on_choose;
	E.explorer = &s;
	E.all_picks = reduced;
	E.all_visible = !reduced;
	E.max_steps = l->max_steps ? l->max_steps : MAX_STEPS;
	sim_forget();
	enum verdict v = search(&s, p);
	r->outcomes = s.outcomes.used;
	r->outcomes_hash = set_sum(&s.outcomes);
	r->states = s.states.used;
	E.all_picks = E.all_visible = false;
	E.pick = NULL;
	E.choose = NULL;
	E.explorer = NULL;
	set_clear(&s.outcomes);
	set_clear(&s.states);
	free(s.node);
	return v;
}

enum verdict explore_sleep(const struct program *p, const struct limits *l, struct result *r)
{
	return exhaust(p, l, r, true);
}

enum verdict explore_states(const struct program *p, const struct limits *l, struct result *r)
{
	return exhaust(p, l, r, false);
}
