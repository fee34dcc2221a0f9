/* SPDX-License-Identifier: MIT */
/*
 * explore.c - the ways through the schedules that need no knowledge of what depends on
 * what: bounded, walk, pct, sweep. explore.h has what each is for; sleep.c the rest.
 *
 * All share one recorder: each pick and choose() is answered by the strategy, and kept
 * when it is not what a run without entries would do, so that any run is a schedule.
 */
#include "check/explore.h"
#include "check/footprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_STEPS   200000
#define SEEN_LEAST  12 /* of a set of hashes: its least size, as a shift */
#define SEEN_SHIFT  27 /* at most 1 GiB of states */
#define ENDS_SHIFT  20 /* at most so many ends of runs that are known */
#define DOWN_EVERY  4  /* among random runs so many are taken down */
#define JUDGE_RUNS  400000
#define JUDGE_TIMES 4     /* ... and no more than a quarter of what the judge may try */
#define JUDGE_FEW   20000 /* a bounded search that came to no more outcomes is judged */
#define SWEEP_WALKS 8     /* random schedules that a sweep goes along */
#define WARM_RUNS   64    /* of a walk, before a bounded search: to learn what is shared */

const char *const strategy_name[] = {
	"bounded", "sleep", "states", "walk", "pct", "sweep", "replay"
};

/* States that a bounded search has been in, with the budget it had left there: what can
 * come from there was, or will be, seen. A set of hashes; full, it takes no more. */
struct seen_set {
	uint64_t *slot;
	size_t used;
	unsigned shift, most; /* of its size */
};

/* A place with more than one way on (bounded). */
struct node {
	uint32_t todo; /* ways not yet tried */
	uint32_t op;
	uint8_t thread, kind, choice, usual;
	bool free; /* another way costs nothing */
};

struct explorer {
	enum strategy strategy;
	const struct limits *l;
	struct result *r;
	struct schedule now; /* of this run */
	unsigned used_K, used_F;
	uint32_t asleep; /* threads: see wake_who_conflicts() */
	uint64_t random;
	/* bounded */
	struct node *node;
	size_t nodes, room, at;
	bool diverged;
	struct seen_set seen, outcomes;
	bool unreduced;
	bool many; /* outcomes: more than the judge looks at */
	/* walk: of this run */
	unsigned stay; /* one pick in so many may switch; a power of two */
	bool fails;
	/* pct */
	uint64_t priority[SIM_THREADS];
	uint64_t change[8];
	uint64_t step, low;
	/* sweep */
	uint32_t fail_at, calls;
	bool for_good;
	unsigned walk; /* which; 0: the usual schedule */
};

/* --- small things ---------------------------------------------------------------- */

static uint64_t next_random(struct explorer *x)
{
	/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014) */
	uint64_t z = x->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint32_t op_of(int thread)
{
	return thread < 0 ? 0 : S->t[thread].ops;
}

static void record(struct explorer *x, int thread, enum entry_kind kind, unsigned choice,
		   bool preempts)
{
	schedule_add(&x->now, (struct entry){ .op = op_of(thread),
					      .thread = thread < 0 ? SIM_THREADS : (uint8_t)thread,
					      .kind = (uint8_t)kind,
					      .choice = (uint8_t)choice,
					      .preempts = preempts });
}

static int usual_pick(uint32_t enabled, int cur)
{
	return cur >= 0 && enabled & 1u << cur ? cur : __builtin_ctz(enabled);
}

/* --- bounded ------------------------------------------------------------------------ */

static struct node *push(struct explorer *x)
{
	if (x->nodes == x->room) {
		x->room = x->room ? 2 * x->room : 1024;
		x->node = realloc(x->node, x->room * sizeof(*x->node));
		if (!x->node)
			abort();
	}
	return &x->node[x->nodes++];
}

/* The next node of the path: the one that is there, or a new one. NULL: the path does
 * not fit any more, because a word turned out to be shared. */
static struct node *step(struct explorer *x, int thread, enum entry_kind kind, uint32_t todo,
			 unsigned usual, bool is_free)
{
	struct node *n;

	if (x->at < x->nodes) {
		n = &x->node[x->at++];
		if (n->op != op_of(thread) || n->thread != (uint8_t)thread || n->kind != kind) {
			x->diverged = true;
			return NULL;
		}
		return n;
	}
	n = push(x);
	x->at++;
	*n = (struct node){ .todo = todo,
			    .op = op_of(thread),
			    .thread = (uint8_t)thread,
			    .kind = (uint8_t)kind,
			    .choice = (uint8_t)usual,
			    .usual = (uint8_t)usual,
			    .free = is_free };
	return n;
}

/* A slot: a key, and in its low bits with what of the budget used. All of a state lie side
 * by side. */
static size_t seen_index(const struct seen_set *s, uint64_t key)
{
	return key >> (64 - s->shift);
}

static void seen_size(struct seen_set *s, unsigned shift);

static void seen_add(struct seen_set *s, uint64_t slot)
{
	if (s->used >= (1ull << s->shift) / 4 * 3) {
		if (s->shift >= s->most)
			return;
		seen_size(s, s->shift + 1);
	}
	size_t i = seen_index(s, slot);
	while (s->slot[i])
		i = (i + 1) & ((1ull << s->shift) - 1);
	s->slot[i] = slot;
	s->used++;
}

static void seen_size(struct seen_set *s, unsigned shift)
{
	struct seen_set old = *s;

	s->slot = calloc(1ull << shift, sizeof(*s->slot));
	s->shift = shift;
	s->used = 0;
	if (!s->slot)
		abort();
	for (size_t i = 0; old.slot && i < 1ull << old.shift; i++)
		if (old.slot[i])
			seen_add(s, old.slot[i]);
	free(old.slot);
}

#define SEEN_MOST 3 /* of K and F that a slot tells apart */
#define SEEN_BITS 15ull

static uint64_t scramble(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 27) * 0x94d049bb133111ebull;
	return h ^ h >> 31;
}

/* Was this state seen with no more of the budget used? Now it is. */
static bool seen_before(struct seen_set *s, uint64_t key, unsigned K, unsigned F)
{
	if (!s->slot)
		seen_size(s, SEEN_LEAST);
	if (K > SEEN_MOST || F > SEEN_MOST) { /* as another state */
		key ^= (uint64_t)(K + 1) << 32 ^ (uint64_t)(F + 1) << 40;
		K = F = 0;
	}
	key = scramble(key) & ~SEEN_BITS;
	key += key == 0 ? SEEN_BITS + 1 : 0;
	for (size_t i = seen_index(s, key); s->slot[i]; i = (i + 1) & ((1ull << s->shift) - 1)) {
		uint64_t same = s->slot[i] ^ key;
		if (same <= SEEN_BITS && same / 4 <= K && same % 4 <= F)
			return true;
	}
	seen_add(s, key | K * 4 | F);
	return false;
}

static void seen_forget(struct seen_set *s)
{
	uint64_t *slot = s->slot;

	if (s->shift > SEEN_LEAST) {
		free(slot);
		slot = NULL;
	} else if (slot) {
		memset(slot, 0, sizeof(*slot) << SEEN_LEAST);
	}
	*s = (struct seen_set){ .slot = slot, .shift = slot ? SEEN_LEAST : 0, .most = SEEN_SHIFT };
}

/* Has the search stood here before, no worse off? Who came here matters only where it costs
 * to go on with another. */
static bool been_here(struct explorer *x, int cur, bool must, uint32_t enabled)
{
	uint64_t here = must ? 0 : (uint64_t)cur + 1;
	uint64_t key = sim_cause_hash() ^
		       (here << 48 | (uint64_t)enabled << 16 | x->asleep) * 0x9e3779b97f4a7c15ull;

	return seen_before(&x->seen, key, x->used_K, x->used_F);
}

/*
 * A thread that was preempted sleeps until somebody makes a step that conflicts with the one
 * it was about to make. Asleep it need not go on: had it made that step before it was
 * preempted, the same would have come of it, at no higher cost. For the step can be moved
 * there past all that was done since; a preemption after it takes the place of the one
 * before it, or costs nothing, because the thread sleeps or waits there; and each schedule
 * comes to one in which no step can be so moved, because an earlier stretch of a thread
 * grows each time. What a state leads to depends on who sleeps: that is part of its hash.
 *
 * A thread that cannot go on wakes who could let it: it was free to leave it, and would not
 * be if that had been done before. Letting go of a lock is a point only for those who try it,
 * so it may be any step of the holder's.
 */
static void wake_who_conflicts(struct explorer *x, int with)
{
	struct footprint step = footprint_of(with);

	for (uint32_t m = x->asleep; m; m &= m - 1) {
		int t = __builtin_ctz(m);
		if (t == with || footprints_conflict(step, footprint_of(t)))
			x->asleep &= ~(1u << t);
	}
}

static void leave(struct explorer *x, int thread)
{
	const struct sim_thread *t = &S->t[thread];

	if (t->in_lock)
		x->asleep &= ~(1u << sim_lock_holder(t->obj));
	else if (t->relaxes || t->in_sync)
		x->asleep = 0;
}

static int bounded_pick(struct explorer *x, uint32_t enabled, int cur, bool must)
{
	bool more = must || x->used_K < x->l->K;

	if (cur >= 0 && !(enabled & 1u << cur))
		leave(x, cur);
	uint32_t awake = enabled & ~x->asleep;
	struct node *n;

	if (!awake)
		return -1;
	int usual = usual_pick(awake, cur);
	/* With no way but one what comes is known when there are more again. */
	if (!more || !(enabled & (enabled - 1))) {
		wake_who_conflicts(x, usual);
		return usual;
	}
	if (x->at == x->nodes && !x->unreduced && been_here(x, cur, must, enabled))
		return -1;
	n = step(x, cur, ENTRY_SWITCH, awake & ~(1u << usual), (unsigned)usual, must);
	if (!n)
		return -1;
	if (n->choice != n->usual && !n->free) {
		x->used_K++;
		x->asleep |= x->unreduced ? 0 : 1u << cur;
	}
	wake_who_conflicts(x, n->choice);
	return n->choice;
}

static unsigned bounded_choose(struct explorer *x, enum sim_choice kind, unsigned n)
{
	bool allowed = kind != SIM_VALUE ? x->used_F < x->l->F : x->used_K < x->l->K;
	struct node *node = step(x, S->cur, kind == SIM_VALUE ? ENTRY_VALUE : ENTRY_FAIL,
				 allowed ? ((1u << n) - 1) & ~1u : 0, 0, false);

	if (!node)
		return 0;
	if (node->choice && kind != SIM_VALUE)
		x->used_F++;
	else if (node->choice)
		x->used_K++;
	return node->choice;
}

/* Turn to the next path. False: there is none. */
static bool bounded_next(struct explorer *x)
{
	while (x->nodes > 0) {
		struct node *n = &x->node[x->nodes - 1];
		if (n->todo) {
			n->choice = (uint8_t)__builtin_ctz(n->todo);
			n->todo &= n->todo - 1;
			return true;
		}
		x->nodes--;
	}
	return false;
}

/* --- random ---------------------------------------------------------------------------- */

static int random_thread(struct explorer *x, uint32_t enabled)
{
	unsigned n = 0;

	for (uint32_t m = enabled; m; m &= m - 1)
		n++;
	/* A multiplication, not a division: this is done at each switch. */
	for (unsigned skip = (unsigned)((next_random(x) >> 32) * n >> 32); skip > 0; skip--)
		enabled &= enabled - 1;
	return __builtin_ctz(enabled);
}

static int walk_pick(struct explorer *x, uint32_t enabled, int cur, bool must)
{
	if (!must && next_random(x) & (x->stay - 1))
		return cur;
	return random_thread(x, enabled);
}

static int pct_pick(struct explorer *x, uint32_t enabled, int cur, bool must)
{
	int best = -1;

	(void)must;
	for (unsigned i = 0; i + 1 < x->l->depth && i < 8; i++)
		if (x->step == x->change[i] && cur >= 0)
			x->priority[cur] = x->low--;
	x->step++;
	for (uint32_t m = enabled; m; m &= m - 1) {
		int t = __builtin_ctz(m);
		if (best < 0 || x->priority[t] > x->priority[best])
			best = t;
	}
	return best;
}

static unsigned random_choose(struct explorer *x, enum sim_choice kind, unsigned n)
{
	if (kind == SIM_VALUE)
		return (unsigned)(next_random(x) % n);
	if (!x->fails || x->used_F >= x->l->F || next_random(x) % 32)
		return 0;
	x->used_F++;
	return 1;
}

static void random_start(struct explorer *x, uint64_t run)
{
	x->random = x->l->seed * 0x2545f4914f6cdd1dull + run * 0x9e3779b97f4a7c15ull + 1;
	x->stay = 1u << (1 + next_random(x) % 5);
	x->fails = next_random(x) % 2;
	if (x->strategy != STRATEGY_PCT)
		return;
	x->step = 0;
	x->low = 100;
	for (unsigned i = 0; i < SIM_THREADS; i++)
		x->priority[i] = 1000 + next_random(x) % 1000000;
	for (unsigned i = 0; i < 8; i++)
		x->change[i] = next_random(x) % (x->r->longest + 2);
}

/* --- sweep ------------------------------------------------------------------------------- */

static struct explorer *sweeper;

static void mark_site(const struct sim_site *site)
{
	struct sim_site *s = (struct sim_site *)site;

	if (sweeper && sweeper->strategy == STRATEGY_SWEEP && sweeper->for_good)
		s->stuck++;
	else
		s->failed++;
}

static bool has_failed(const struct sim_site *site, enum sim_choice kind)
{
	return !site || (site->failed && (site->stuck || kind != SIM_FAIL));
}

static unsigned sweep_choose(struct explorer *x, enum sim_choice kind, unsigned n)
{
	if (kind == SIM_VALUE)
		return x->walk ? (unsigned)(next_random(x) % n) : 0;
	x->calls++;
	if (x->walk && x->calls == x->fail_at && has_failed(E.asking, kind))
		x->fail_at++;
	return x->calls == x->fail_at || (x->for_good && kind == SIM_FAIL && x->calls > x->fail_at);
}

/* --- the hooks ---------------------------------------------------------------------------- */

static int on_pick(void *p, uint32_t enabled, int cur, bool must)
{
	struct explorer *x = p;
	int usual = usual_pick(enabled, cur), to;

	switch (x->strategy) {
	case STRATEGY_BOUNDED:
		to = bounded_pick(x, enabled, cur, must);
		break;
	case STRATEGY_WALK:
		to = walk_pick(x, enabled, cur, must);
		break;
	case STRATEGY_PCT:
		to = pct_pick(x, enabled, cur, must);
		break;
	case STRATEGY_SWEEP:
		to = x->walk ? walk_pick(x, enabled, cur, must) : usual;
		break;
	default:
		to = usual;
		break;
	}
	if (to >= 0 && to != usual)
		record(x, cur, ENTRY_SWITCH, (unsigned)to, !must);
	return to;
}

static unsigned on_choose(void *p, enum sim_choice kind, unsigned n)
{
	struct explorer *x = p;
	unsigned got = 0;

	switch (x->strategy) {
	case STRATEGY_BOUNDED:
		got = bounded_choose(x, kind, n);
		break;
	case STRATEGY_WALK:
	case STRATEGY_PCT:
		got = random_choose(x, kind, n);
		break;
	case STRATEGY_SWEEP:
		got = sweep_choose(x, kind, n);
		break;
	default:
		break;
	}
	if (got)
		record(x, S->cur, kind == SIM_VALUE ? ENTRY_VALUE : ENTRY_FAIL, got, false);
	return got;
}

/* --- runs --------------------------------------------------------------------------------------
 */

/*
 * Ends that were looked at and taken down, in this search: another run that came to the
 * same one by another order of what is independent need not be. What the end is worth may
 * cost as much as the run.
 */
static struct seen_set ends;

static bool end_is_known(void)
{
	if (!E.causes)
		return false;
	if (E.grew) { /* what came before what was not all noted */
		seen_forget(&ends);
		return false;
	}
	ends.most = ENDS_SHIFT;
	return seen_before(&ends, sim_cause_hash(), E.sparing ? 1 : 0, 0);
}

/* Of the runs, before they are taken down; NULL: nobody asks. */
static struct seen_set *outcomes;

static bool finish(const void *p)
{
	return ((const struct program *)p)->finish(p);
}

enum sim_status program_run(const struct program *p)
{
	enum sim_status status = sim_run();

	if (status == SIM_OK && outcomes)
		seen_before(outcomes, sim_seen_hash(), 0, 0);
	if (status == SIM_OK && p->finish && !end_is_known() && !sim_guarded(finish, p))
		status = SIM_BROKEN;
	return E.status == SIM_BROKEN ? SIM_BROKEN : status;
}

static bool out_of_limits(const struct explorer *x)
{
	if (x->l->runs && x->r->runs >= x->l->runs)
		return true;
	return x->l->until_ns && x->r->runs % 64 == 0 && now_ns() >= x->l->until_ns;
}

static enum sim_status one_run(struct explorer *x, const struct program *p)
{
	schedule_clear(&x->now);
	x->used_K = x->used_F = 0;
	x->asleep = 0;
	x->at = 0;
	x->calls = 0;
	x->diverged = false;
	enum sim_status status = program_run(p);
	x->r->runs++;
	x->r->steps += S->steps;
	if (S->steps > x->r->longest)
		x->r->longest = S->steps;
	if (status == SIM_OK)
		x->r->complete++;
	return status;
}

static enum verdict found(struct explorer *x)
{
	schedule_copy(&x->r->found, &x->now);
	memcpy(x->r->invariant, E.invariant, sizeof(x->r->invariant));
	memcpy(x->r->story, E.story, sizeof(x->r->story));
	return VERDICT_FOUND;
}

static enum verdict run_random(struct explorer *x, const struct program *p)
{
	for (uint64_t run = 0; !out_of_limits(x); run++) {
		random_start(x, run);
		E.sparing = run % DOWN_EVERY;
		enum sim_status status = one_run(x, p);
		E.sparing = E.grew = false;
		if (status == SIM_BROKEN)
			return found(x);
	}
	return VERDICT_LIMIT;
}

static void bounded_from_start(struct explorer *x)
{
	x->nodes = 0;
	E.grew = false;
	seen_forget(&x->seen);
	seen_forget(&x->outcomes);
}

static enum verdict search_bounded(struct explorer *x, const struct program *p)
{
	outcomes = x->l->judge ? &x->outcomes : NULL;
	bounded_from_start(x);
	do {
		if (out_of_limits(x))
			return VERDICT_LIMIT;
		enum sim_status status = one_run(x, p);
		if (status == SIM_BROKEN)
			return found(x);
		if (E.grew || x->diverged) {
			/* A word is shared that was not known to be: from the start. */
			bounded_from_start(x);
			continue;
		}
		if (x->outcomes.used > JUDGE_FEW) {
			x->many = true;
			outcomes = NULL;
		}
	} while (x->nodes == 0 || bounded_next(x));
	return VERDICT_DONE;
}

static enum verdict run_bounded(struct explorer *x, const struct program *p)
{
	E.all_picks = true; /* whoever goes on may wake others */
	enum verdict v = search_bounded(x, p);
	E.all_picks = false;
	outcomes = NULL;
	return v;
}

/* Learn what is shared, so that a bounded search seldom starts again. */
static void warm_up(struct explorer *x, const struct program *p)
{
	struct limits l = { .runs = WARM_RUNS, .seed = 1, .F = x->l->F }, *keep = (void *)x->l;
	struct result r = { 0 }, *result = x->r;

	x->l = &l;
	x->r = &r;
	x->strategy = STRATEGY_WALK;
	run_random(x, p); /* what it finds, the search finds again */
	result_free(&r);
	x->l = keep;
	x->r = result;
	x->strategy = STRATEGY_BOUNDED;
}

static enum verdict sweep_along(struct explorer *x, const struct program *p)
{
	for (x->fail_at = 1;; x->fail_at++) {
		for (int good = 0; good < 2; good++) {
			x->for_good = good;
			if (x->walk)
				random_start(x, x->walk);
			if (out_of_limits(x))
				return VERDICT_LIMIT;
			if (one_run(x, p) == SIM_BROKEN)
				return found(x);
			if (x->calls < x->fail_at)
				return VERDICT_DONE; /* past the last call */
		}
	}
}

static enum verdict gate(struct result *r, uint64_t all)
{
	snprintf(r->invariant, sizeof(r->invariant), "GATE");
	snprintf(r->story, sizeof(r->story),
		 "the reduced search saw %llu outcomes, all schedules have %llu",
		 (unsigned long long)r->outcomes, (unsigned long long)all);
	return VERDICT_FOUND;
}

/* What the usual schedule does not come to, a random one may: a buffer that is wanted while
 * others have them all. There only calls fail that never did. */
static enum verdict run_sweep(struct explorer *x, const struct program *p)
{
	enum verdict v = VERDICT_DONE;

	for (x->walk = 0; v == VERDICT_DONE && x->walk <= SWEEP_WALKS; x->walk++)
		v = sweep_along(x, p);
	return v;
}

/* The gate (checking.md 2.2): a reduction that leaves out an outcome is a defect of ours,
 * and worse than a missed bug. The judge has as much time again. */
static enum verdict judge(const struct program *p, const struct limits *l, struct result *r)
{
	struct limits more = *l;
	struct result all = { 0 };
	enum verdict v = VERDICT_DONE;

	if (more.runs == 0 || more.runs > JUDGE_RUNS)
		more.runs = JUDGE_RUNS;
	if (explore_states(p, &more, &all) == VERDICT_DONE) {
		r->judged = all.outcomes == r->outcomes && all.outcomes_hash == r->outcomes_hash;
		if (!r->judged)
			v = gate(r, all.outcomes);
	}
	r->runs += all.runs;
	r->steps += all.steps;
	result_free(&all);
	return v;
}

static uint64_t outcomes_sum(const struct seen_set *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; s->slot && i < 1ull << s->shift; i++)
		sum += s->slot[i];
	return sum;
}

/* The same for a bounded search that was short: with nothing left out. */
static enum verdict judge_bounded(struct explorer *x, const struct program *p)
{
	struct limits more = *x->l;
	const struct limits *keep = x->l;
	struct result *r = x->r, all = { 0 };
	enum verdict v = VERDICT_DONE;

	r->outcomes = x->outcomes.used;
	r->outcomes_hash = outcomes_sum(&x->outcomes);
	if (x->many)
		return v;
	more.runs = x->l->judge;
	if (r->runs > more.runs / JUDGE_TIMES)
		return v; /* it would not come to its end */
	x->l = &more;
	x->r = &all;
	x->unreduced = true;
	if (search_bounded(x, p) == VERDICT_DONE) {
		r->judged = !x->many && x->outcomes.used == r->outcomes &&
			    outcomes_sum(&x->outcomes) == r->outcomes_hash;
		if (!r->judged)
			v = gate(r, x->outcomes.used);
	}
	outcomes = NULL;
	r->runs += all.runs;
	r->steps += all.steps;
	result_free(&all);
	x->l = keep;
	x->r = r;
	return v;
}

enum verdict explore(const struct program *p, const struct knobs *k, enum strategy s,
		     const struct limits *l, struct result *r)
{
	struct explorer x = { .strategy = s, .l = l, .r = r };
	enum verdict v;

	memset(r, 0, sizeof(*r));
	x.now.program = p;
	x.now.knobs = *k;
	E.knobs = k->sim;
	E.pick = on_pick;
	E.choose = on_choose;
	E.explorer = &x;
	E.max_steps = l->max_steps ? l->max_steps : MAX_STEPS;
	E.all_visible = false;
	E.trace = false;
	E.sparing = false;
	E.causes = s == STRATEGY_BOUNDED || s == STRATEGY_WALK || s == STRATEGY_PCT;
	E.on_op = NULL;
	E.on_switch = NULL;
	E.on_failure = mark_site;
	sweeper = &x;
	sim_forget();
	seen_forget(&ends);
	if (!p->build(p, k))
		return VERDICT_BUILD;
	switch (s) {
	case STRATEGY_BOUNDED:
		warm_up(&x, p);
		v = run_bounded(&x, p);
		if (v == VERDICT_DONE && l->judge)
			v = judge_bounded(&x, p);
		break;
	case STRATEGY_SLEEP:
		v = explore_sleep(p, l, r);
		if (v == VERDICT_DONE)
			v = judge(p, l, r);
		break;
	case STRATEGY_STATES:
		v = explore_states(p, l, r);
		break;
	case STRATEGY_SWEEP:
		v = run_sweep(&x, p);
		break;
	default:
		v = run_random(&x, p);
		break;
	}
	r->found.program = p;
	r->found.knobs = *k;
	sweeper = NULL;
	schedule_free(&x.now);
	free(x.node);
	free(x.seen.slot);
	free(x.outcomes.slot);
	return v;
}

void result_free(struct result *r)
{
	schedule_free(&r->found);
}
