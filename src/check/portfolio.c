/* SPDX-License-Identifier: MIT */
/* portfolio.c - see portfolio.h. */
#include "check/portfolio.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH       512     /* random runs with one seed */
#define RANDOM_F    2       /* failures that a random run may make */
#define SLICE_LEAST 0.05    /* seconds */
#define SLICE_MOST  2.0     /* ... of a first try */
#define SMALLER_FOR 1.0     /* seconds that the search for fewer preemptions may take */
#define KNOBS_FEW   5       /* settings for what is costly: the retry policies */
#define JOBS        200     /* of one scenario */
#define JUDGE_MOST  2000000 /* runs of the search that judges a bounded one, when asked */
#define JUDGE_RUNS  20000   /* ... of a piece */

/* A job that comes to an end by itself. */
struct work {
	enum strategy strategy;
	unsigned K, F, knob;
	double slice;
	uint64_t runs, steps; /* of the tries so far */
	double seconds;
};

/* What walk, and pct of each depth, did so far. */
enum { WALK, PCT_2, PCT_3, PCT_4, RANDOMS };

/* Where a scenario is. */
struct turn {
	struct work work[JOBS];
	unsigned works, next;
	int only;        /* setting of knobs; -1: all */
	bool random;     /* has random runs at all */
	bool random_now; /* ... and they are next */
	uint64_t batches;
	struct portfolio_job done[RANDOMS];
	double used;
	uint64_t runs;
	bool over;
};

/* --- small things ---------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static double seconds_since(uint64_t start)
{
	return (double)(now_ns() - start) / 1e9;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t name_hash(const char *name)
{
	uint64_t h = 1;

	for (; *name; name++)
		h = mix(h, (uint64_t)*name);
	return h;
}

void portfolio_stop(struct portfolio *p)
{
	p->stopped = true;
	/* The search that is under way looks at its limits now and then. */
	*(volatile uint64_t *)&p->limits.until_ns = 1;
}

/* --- the list of jobs ------------------------------------------------------------ */

static void add(struct turn *t, enum strategy s, unsigned K, unsigned F, unsigned knob)
{
	if (t->works < JOBS && (t->only < 0 || knob == (unsigned)t->only))
		t->work[t->works++] = (struct work){ .strategy = s, .K = K, .F = F, .knob = knob };
}

static void plan_bounded(const struct portfolio *p, struct turn *t, unsigned knob, bool all)
{
	if (p->one_bound) {
		add(t, STRATEGY_BOUNDED, p->K, p->F, knob);
		return;
	}
	add(t, STRATEGY_BOUNDED, 0, 1, knob);
	add(t, STRATEGY_BOUNDED, 1, 0, knob);
	if (!all)
		return;
	add(t, STRATEGY_BOUNDED, 1, 1, knob);
	add(t, STRATEGY_BOUNDED, 2, 0, knob);
	add(t, STRATEGY_BOUNDED, 2, 1, knob);
}

static void plan(const struct portfolio *p, const struct program *program, struct turn *t)
{
	unsigned all = knobs_count(program), few = all < KNOBS_FEW ? all : KNOBS_FEW;
	enum strategy s = p->strategy;

	t->only = !p->one_policy ? -1 : p->policy < few ? (int)p->policy : 0;
	for (unsigned k = 0; k < all && (!p->one_strategy || s == STRATEGY_SWEEP); k++)
		add(t, STRATEGY_SWEEP, 0, 0, k);
	/* One policy after the other, each scenario from another one on: all of them are
	 * seen when the time is short. */
	for (unsigned i = 0; i < all; i++) {
		unsigned k = i < few ? (i + (unsigned)(name_hash(program->name) >> 32)) % few : i;
		if (i < few && (p->one_strategy ? s == STRATEGY_SLEEP : program->tiny)) {
			add(t, STRATEGY_SLEEP, 0, 0, k);
			add(t, STRATEGY_SLEEP, 0, 1, k);
		}
		if (i < few && p->one_strategy && s == STRATEGY_STATES)
			add(t, STRATEGY_STATES, 0, 0, k);
		if (!p->one_strategy || s == STRATEGY_BOUNDED)
			plan_bounded(p, t, k, i < few);
	}
	t->random = !p->one_strategy || s == STRATEGY_WALK || s == STRATEGY_PCT;
	for (unsigned i = 0; i < RANDOMS; i++)
		t->done[i] = (struct portfolio_job){ .program = program,
						     .knobs = knobs_nth(program, 0),
						     .strategy = i == WALK ? STRATEGY_WALK
									   : STRATEGY_PCT,
						     .F = RANDOM_F,
						     .depth = i == WALK ? 0 : i + 1,
						     .verdict = VERDICT_LIMIT };
}

/* --- what was found -------------------------------------------------------------- */

/* A bounded search below what shrinking came to: fewer preemptions, or the proof that
 * there are none with as many failures. */
static void find_smaller(struct portfolio *p, struct schedule *s, const char *invariant)
{
	size_t most = schedule_preemptions(s), failures = 0;
	uint64_t until = now_ns() + (uint64_t)(SMALLER_FOR * 1e9);

	for (size_t i = 0; i < s->entries; i++)
		failures += s->entry[i].kind == ENTRY_FAIL;
	for (unsigned K = 0; K < most && K < 3 && !p->stopped; K++) {
		struct result r;
		p->limits = (struct limits){ .until_ns = until, .K = K, .F = (unsigned)failures };
		enum verdict v = explore(s->program, &s->knobs, STRATEGY_BOUNDED, &p->limits, &r);
		bool same = v == VERDICT_FOUND && !strcmp(r.invariant, invariant);
		if (same && replay(&r.found, NULL, NULL) == SIM_BROKEN &&
		    !strcmp(E.invariant, invariant)) {
			schedule_copy(s, &r.found);
			shrink(s);
		}
		result_free(&r);
		if (same || v != VERDICT_DONE)
			return;
	}
}

static void tell_found(struct portfolio *p, struct turn *t, const struct portfolio_job *job,
		       struct result *r)
{
	struct portfolio_finding f = { .job = job,
				       .schedule = &r->found,
				       .invariant = r->invariant,
				       .story = r->story,
				       .runs = t->runs,
				       .preemptions = schedule_preemptions(&r->found) };

	p->findings++;
	if (job->verdict == VERDICT_BUILD) {
		memcpy(r->invariant, E.invariant, sizeof(r->invariant));
		memcpy(r->story, E.story, sizeof(r->story));
		r->found.program = job->program;
		r->found.knobs = job->knobs;
		f.replayed = true;
	} else {
		f.replayed = replay(&r->found, NULL, NULL) == SIM_BROKEN &&
			     !strcmp(E.invariant, r->invariant);
		if (f.replayed) {
			f.replays = shrink(&r->found);
			find_smaller(p, &r->found, r->invariant);
			/* Told as it is now: addresses and names of the shorter run. */
			if (replay(&r->found, NULL, NULL) == SIM_BROKEN)
				memcpy(r->story, E.story, sizeof(r->story));
		}
	}
	p->elapsed = seconds_since(p->start_ns);
	if (p->found)
		p->found(p, &f);
}

/* --- one slice ------------------------------------------------------------------- */

static uint64_t runs_left(const struct portfolio *p, const struct turn *t)
{
	return p->runs ? p->runs - t->runs : 0;
}

/* Explore; job gets what was done. True: go on with this scenario. */
static bool slice(struct portfolio *p, struct turn *t, struct portfolio_job *job,
		  const struct limits *l)
{
	uint64_t start = now_ns();
	struct result r;

	p->limits = *l;
	if (p->stopped)
		return false;
	job->verdict = explore(job->program, &job->knobs, job->strategy, &p->limits, &r);
	double took = seconds_since(start);
	t->used += took;
	t->runs += r.runs;
	p->all_runs += r.runs;
	p->all_steps += r.steps;
	job->runs += r.runs;
	job->steps += r.steps;
	job->outcomes = r.outcomes;
	job->judged = r.judged;
	job->seconds += took;
	bool bad = job->verdict == VERDICT_FOUND || job->verdict == VERDICT_BUILD;
	if (bad) {
		start = now_ns();
		tell_found(p, t, job, &r);
		t->over = true;
		/* Shrinking is not the search's time. */
		if (p->keep_going)
			p->end_ns += now_ns() - start;
	}
	result_free(&r);
	if (p->runs && t->runs >= p->runs)
		t->over = true;
	return !bad;
}

static void finished(struct portfolio *p, const struct portfolio_job *job)
{
	p->elapsed = seconds_since(p->start_ns);
	if (p->finished)
		p->finished(p, job);
}

static void tell_next(struct portfolio *p, const struct portfolio_job *job)
{
	p->elapsed = seconds_since(p->start_ns);
	if (p->progress)
		p->progress(p, job);
}

/* What is left of the time for each scenario that is not over. */
static double share_left(const struct portfolio *p)
{
	uint64_t now = now_ns();
	unsigned active = 0;

	for (unsigned i = 0; i < p->programs; i++)
		active += !p->turn[i].over;
	return now < p->end_ns ? (double)(p->end_ns - now) / 1e9 / (active ? active : 1) : 0;
}

static double first_slice(const struct work *w, const struct turn *t, double share)
{
	double s = share / 8;

	if (t->works == 1 && !t->random)
		return share; /* there is nothing else */
	if (w->strategy == STRATEGY_SWEEP)
		return share > 1 ? share : 1; /* it is short, and matters most */
	s = s < SLICE_MOST ? s : SLICE_MOST;
	return s > SLICE_LEAST ? s : SLICE_LEAST;
}

/* How long it should try again that did not come to its end; 0: not worth it. */
static double next_slice(const struct work *w, const struct turn *t, double share)
{
	/* Random runs want their half. */
	double most = t->random ? share / 2 : share, s = 4 * w->slice;

	if (s <= most)
		return s;
	return !t->random && most > 1.5 * w->slice ? most : 0;
}

static struct portfolio_job job_of(const struct program *program, const struct work *w)
{
	return (struct portfolio_job){ .program = program,
				       .knobs = knobs_nth(program, w->knob),
				       .strategy = w->strategy,
				       .K = w->K,
				       .F = w->F,
				       .runs = w->runs,
				       .steps = w->steps,
				       .seconds = w->seconds,
				       .verdict = VERDICT_LIMIT };
}

static void do_work(struct portfolio *p, const struct program *program, struct turn *t)
{
	struct work *w = &t->work[t->next];
	struct portfolio_job job = job_of(program, w);
	if (w->slice == 0)
		w->slice = first_slice(w, t, share_left(p));
	uint64_t until = now_ns() + (uint64_t)(w->slice * 1e9);
	struct limits l = { .runs = runs_left(p, t),
			    .until_ns = until < p->end_ns ? until : p->end_ns,
			    .K = w->K,
			    .F = w->F,
			    .judge = p->one_bound     ? JUDGE_MOST
				     : program->piece ? JUDGE_RUNS
						      : 0,
			    .seed = p->seed };
	tell_next(p, &job);
	if (!slice(p, t, &job, &l)) {
		t->next++;
		if (job.runs || job.verdict == VERDICT_BUILD)
			finished(p, &job);
		return;
	}
	/* Longer, if there is time for it: behind all that was not tried yet. */
	double longer = next_slice(w, t, share_left(p));
	bool again = job.verdict == VERDICT_LIMIT && !t->over && !p->stopped && t->works < JOBS;
	if (again && longer > 0) {
		t->work[t->works] = *w;
		t->work[t->works].slice = longer;
		t->work[t->works].runs = job.runs;
		t->work[t->works].steps = job.steps;
		t->work[t->works].seconds = job.seconds;
		t->works++;
	} else {
		finished(p, &job);
	}
	t->next++;
}

static void do_random(struct portfolio *p, const struct program *program, struct turn *t)
{
	static const unsigned walks[] = { WALK, PCT_2, WALK, PCT_3, WALK, PCT_4 };
	static const unsigned pcts[] = { PCT_2, PCT_3, PCT_4 };
	uint64_t n = t->batches++, left = runs_left(p, t);
	unsigned which = walks[n % 6];
	uint64_t round = n / 6;

	if (p->one_strategy && p->strategy == STRATEGY_WALK) {
		which = WALK;
		round = n;
	} else if (p->one_strategy) {
		which = pcts[n % 3];
		round = n / 3;
	}
	/* The settings in turn, the usual ones twice as often. */
	unsigned all = knobs_count(program), few = all < KNOBS_FEW ? all : KNOBS_FEW;
	unsigned knob = t->only >= 0 ? (unsigned)t->only : (unsigned)(round % (all + few));
	struct portfolio_job job = t->done[which];
	job.knobs = knobs_nth(program, knob < all ? knob : knob - all);
	struct limits l = { .runs = left && left < BATCH ? left : BATCH,
			    .until_ns = p->end_ns,
			    .F = RANDOM_F,
			    .depth = job.depth,
			    .seed = mix(mix(p->seed, name_hash(program->name)), n) };
	tell_next(p, &job);
	if (slice(p, t, &job, &l))
		job.knobs = t->done[which].knobs;
	t->done[which] = job;
}

/* Sweeps come first; then what is systematic and what is random take turns. */
static void take_turn(struct portfolio *p, unsigned i)
{
	struct turn *t = &p->turn[i];
	bool work = t->next < t->works;
	bool sweep = work && t->work[t->next].strategy == STRATEGY_SWEEP;

	if (work && (sweep || !t->random || !t->random_now)) {
		do_work(p, p->program[i], t);
		t->random_now = true;
	} else {
		do_random(p, p->program[i], t);
		t->random_now = false;
	}
	if (t->next == t->works && !t->random)
		t->over = true;
}

/* Whose turn it is: who has used least. -1: all are over. */
static int least_used(const struct portfolio *p)
{
	int best = -1;

	for (unsigned i = 0; i < p->programs; i++) {
		if (p->turn[i].over)
			continue;
		if (best < 0 || p->turn[i].used < p->turn[best].used)
			best = (int)i;
	}
	return best;
}

/* What was begun, and had no end. */
static void tell_rest(struct portfolio *p, const struct program *program, const struct turn *t)
{
	for (unsigned i = t->next; i < t->works; i++) {
		struct portfolio_job job = job_of(program, &t->work[i]);
		if (job.runs)
			finished(p, &job);
	}
	for (unsigned r = 0; r < RANDOMS; r++)
		if (t->done[r].runs)
			finished(p, &t->done[r]);
}

unsigned portfolio_run(struct portfolio *p)
{
	int i;

	p->all_runs = p->all_steps = 0;
	p->findings = 0;
	p->elapsed = 0;
	p->start_ns = now_ns();
	p->end_ns = p->start_ns + (uint64_t)(p->seconds * 1e9);
	p->turn = calloc(p->programs ? p->programs : 1, sizeof(*p->turn));
	if (!p->turn)
		abort();
	for (unsigned k = 0; k < p->programs; k++)
		plan(p, p->program[k], &p->turn[k]);
	while (!p->stopped && now_ns() < p->end_ns && (i = least_used(p)) >= 0) {
		take_turn(p, (unsigned)i);
		if (p->findings && !p->keep_going)
			break;
	}
	for (unsigned k = 0; k < p->programs; k++)
		tell_rest(p, p->program[k], &p->turn[k]);
	p->elapsed = seconds_since(p->start_ns);
	free(p->turn);
	p->turn = NULL;
	return p->findings;
}

/* --- marked branches ------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct portfolio_cover *)a)->name,
		      ((const struct portfolio_cover *)b)->name);
}

unsigned portfolio_covers(struct portfolio_cover *list, unsigned max)
{
	unsigned n = 0;

	for (struct sim_cover *c = __start_sim_covers; c < __stop_sim_covers; c++) {
		unsigned i = 0;
		while (i < n && strcmp(list[i].name, c->name) != 0)
			i++;
		if (i == n && n == max)
			continue;
		if (i == n)
			list[n++] = (struct portfolio_cover){ .name = c->name };
		/* One run may take several of a name: more than it counts once. */
		list[i].runs += c->runs;
	}
	qsort(list, n, sizeof(*list), by_name);
	return n;
}
