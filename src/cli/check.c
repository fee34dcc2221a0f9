/* SPDX-License-Identifier: MIT */
/*
 * check.c - `quire check`: search the schedules of scenarios, on the simulated machine,
 * for one that breaks an invariant; replay and shrink those that do.
 *
 * What is searched, and in which order, is portfolio.h's; this is what is asked for and
 * what is told of it. The answer goes to stdout, as text or as JSON lines; progress to
 * stderr.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check/portfolio.h"
#include "cli/cli.h"

#define SECONDS_USUAL    60
#define SECONDS_MOST     (30 * 86400.0)
#define SEED_USUAL       1
#define SCENARIOS_MAX    512
#define COVERS_MAX       256
#define TALLIES          64
#define DETAIL_FOR       8   /* scenarios: with more, a line for each job is too much */
#define QUIET_FOR        2.0 /* seconds before progress is told */
#define EXIT_INTERRUPTED 130

enum {
	SECONDS = OPTION_OWN,
	SCENARIO,
	SEED,
	BOUND,
	STRATEGY,
	POLICY,
	RUNS,
	REPLAY,
	SHRINK,
	LIST,
	OUT,
	KEEP_GOING,
	JSON,
};

static const struct option options[] = {
	{ "seconds", SECONDS, true }, { "scenario", SCENARIO, true },      { "seed", SEED, true },
	{ "bound", BOUND, true },     { "strategy", STRATEGY, true },      { "runs", RUNS, true },
	{ "replay", REPLAY, true },   { "shrink", SHRINK, true },          { "list", LIST, false },
	{ "policy", POLICY, true },   { "out", OUT, true },         { "keep-going", KEEP_GOING, false }, { "json", JSON, false },
	{ NULL, 0, false },
};

/* What the jobs of one kind came to. */
struct tally {
	enum strategy strategy;
	unsigned K, F, depth;
	unsigned jobs, done;
	uint64_t runs;
	double seconds;
};

struct check {
	struct portfolio p;
	const struct program *program[SCENARIOS_MAX];
	bool chosen; /* --scenario was given */
	const char *replay, *shrink, *out;
	bool list, json;
	struct tally tally[TALLIES];
	unsigned tallies;
	double told; /* when progress was told last */
	bool line;   /* a line of progress stands on the terminal */
};

/* For the signal handler. */
static struct check *running;

/* --- words ----------------------------------------------------------------------- */

/* 1234567 as 1,234,567. */
static const char *grouped(uint64_t n, char buf[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%lu", n), at = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}

static const char *strategy_text(enum strategy s, unsigned K, unsigned F, unsigned depth, char *buf,
				 size_t n)
{
	switch (s) {
	case STRATEGY_BOUNDED:
		snprintf(buf, n, "bounded K=%u F=%u", K, F);
		break;
	case STRATEGY_SLEEP:
	case STRATEGY_STATES:
		snprintf(buf, n, "%s F=%u", strategy_name[s], F);
		break;
	case STRATEGY_PCT:
		snprintf(buf, n, "pct d=%u", depth);
		break;
	default:
		snprintf(buf, n, "%s", strategy_name[s]);
		break;
	}
	return buf;
}

static const char *job_text(const struct portfolio_job *j, char *buf, size_t n)
{
	return strategy_text(j->strategy, j->K, j->F, j->depth, buf, n);
}

static const char *const verdict_text[] = {
	[VERDICT_DONE] = "done",
	[VERDICT_LIMIT] = "limit",
	[VERDICT_FOUND] = "found",
	[VERDICT_BUILD] = "build",
};

/* --- JSON ------------------------------------------------------------------------ */

static void json_begin(const char *event)
{
	printf("{\"event\": \"%s\"", event);
}

static void json_text(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	json_string(value);
}

static void json_number(const char *name, uint64_t value)
{
	printf(", \"%s\": %lu", name, value);
}

static void json_seconds(const char *name, double value)
{
	printf(", \"%s\": %.3f", name, value);
}

static void json_end(void)
{
	puts("}");
	fflush(stdout);
}

static void json_job(const struct portfolio_job *j)
{
	char knobs[200];

	json_text("scenario", j->program->name);
	json_text("strategy", strategy_name[j->strategy]);
	if (j->strategy == STRATEGY_BOUNDED)
		json_number("K", j->K);
	if (j->strategy != STRATEGY_SWEEP)
		json_number("F", j->F);
	if (j->strategy == STRATEGY_PCT)
		json_number("depth", j->depth);
	if (j->strategy != STRATEGY_WALK && j->strategy != STRATEGY_PCT)
		json_text("knobs", schedule_knobs(&j->knobs, knobs, sizeof(knobs)));
}

/* --- while it runs --------------------------------------------------------------- */

static void clear_line(struct check *c)
{
	if (c->line)
		fputs("\r\033[K", stderr);
	c->line = false;
}

static void on_progress(struct portfolio *p, const struct portfolio_job *next)
{
	struct check *c = p->arg;
	bool tty = isatty(STDERR_FILENO);
	char what[40], runs[32];

	if (p->elapsed < QUIET_FOR || p->elapsed - c->told < (tty ? 0.2 : 5))
		return;
	c->told = p->elapsed;
	/* What was found and shrunk has moved the end. */
	fprintf(stderr, "%s%3.0f s of %.0f: %s schedules, %u found; now %s, %s%s", tty ? "\r" : "",
		p->elapsed, (double)(p->end_ns - p->start_ns) / 1e9, grouped(p->all_runs, runs),
		p->findings, next->program->name, job_text(next, what, sizeof(what)),
		tty ? "\033[K" : "\n");
	fflush(stderr);
	c->line = tty;
}

static struct tally *tally_of(struct check *c, const struct portfolio_job *j)
{
	struct tally *t;

	for (unsigned i = 0; i < c->tallies; i++) {
		t = &c->tally[i];
		if (t->strategy == j->strategy && t->K == j->K && t->F == j->F &&
		    t->depth == j->depth)
			return t;
	}
	t = &c->tally[c->tallies < TALLIES ? c->tallies++ : TALLIES - 1];
	*t = (struct tally){ .strategy = j->strategy, .K = j->K, .F = j->F, .depth = j->depth };
	return t;
}

static void print_job(const struct portfolio_job *j)
{
	char what[40], runs[32], policy[8] = "";
	bool all = j->strategy == STRATEGY_WALK || j->strategy == STRATEGY_PCT;

	if (!all && !j->program->piece)
		snprintf(policy, sizeof(policy), "P%u", j->knobs.policy);
	printf("%-24s %-16s %-3s %12s schedules %8.2f s  %s\n", j->program->name,
	       job_text(j, what, sizeof(what)), policy, grouped(j->runs, runs), j->seconds,
	       j->verdict == VERDICT_DONE    ? "all of them"
	       : j->verdict == VERDICT_FOUND ? "FOUND"
	       : j->verdict == VERDICT_BUILD ? "cannot be set up"
	       : all                         ? ""
					     : "not all");
}

static void on_finished(struct portfolio *p, const struct portfolio_job *j)
{
	struct check *c = p->arg;
	struct tally *t = tally_of(c, j);

	t->jobs++;
	t->done += j->verdict == VERDICT_DONE;
	t->runs += j->runs;
	t->seconds += j->seconds;
	clear_line(c);
	if (c->json) {
		json_begin("scenario");
		json_job(j);
		json_number("runs", j->runs);
		json_number("steps", j->steps);
		json_seconds("seconds", j->seconds);
		if (j->strategy <= STRATEGY_STATES) {
			json_number("outcomes", j->outcomes);
			json_number("judged", j->judged);
		}
		json_text("verdict", verdict_text[j->verdict]);
		json_end();
	} else if (p->programs <= DETAIL_FOR) {
		print_job(j);
	}
}

/* --- what was found -------------------------------------------------------------- */

static void plain(char *text)
{
	for (; *text; text++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
			    *text))
			*text = '_';
}

static void name_file(const struct check *c, const struct portfolio_finding *f, char *path,
		      size_t n)
{
	char scenario[64], invariant[24];

	snprintf(scenario, sizeof(scenario), "%s", f->job->program->name);
	snprintf(invariant, sizeof(invariant), "%s", f->invariant);
	plain(scenario);
	plain(invariant);
	snprintf(path, n, "%s/quire-%s-%s-%lu.sched", c->out, scenario, invariant, c->p.seed);
}

static void json_found(const struct portfolio_finding *f, const char *file)
{
	json_begin("found");
	json_job(f->job);
	json_text("invariant", f->invariant);
	json_text("story", f->story);
	json_number("runs", f->runs);
	json_number("preemptions", schedule_preemptions(f->schedule));
	json_number("preemptions_found", f->preemptions);
	json_number("replays", f->replays);
	printf(", \"replayed\": %s", f->replayed ? "true" : "false");
	json_text("file", file);
	json_end();
}

static void print_found(const struct portfolio_finding *f, const char *file, const char *why)
{
	char what[40], runs[32];

	printf("FOUND %s: %s, by %s after %s schedules\n\n", f->job->program->name, f->invariant,
	       job_text(f->job, what, sizeof(what)), grouped(f->runs, runs));
	if (f->replayed) {
		columns_print(f->schedule, stdout);
	} else {
		printf("%s\n\nRun again, this schedule did not break the same: something that is "
		       "no part of a\nschedule differs from run to run, which is a defect of "
		       "quire check.\n",
		       f->story);
	}
	if (*file)
		printf("\nThe schedule: %s\nAgain:        quire check --replay %s\n\n", file, file);
	else
		printf("\nThe schedule is not kept: %s\n\n", why);
	fflush(stdout);
}

static void on_found(struct portfolio *p, const struct portfolio_finding *f)
{
	struct check *c = p->arg;
	char path[PATH_MAX], why[PATH_MAX + 64] = "";

	clear_line(c);
	name_file(c, f, path, sizeof(path));
	if (!schedule_save(f->schedule, path, schedule_scenario_file(f->job->program), f->invariant,
			   f->story, why, sizeof(why)))
		path[0] = '\0';
	if (c->json)
		json_found(f, path);
	else
		print_found(f, path, why);
}

/* --- at the end ------------------------------------------------------------------ */

static int report_reach(struct check *c, bool must)
{
	struct portfolio_cover cover[COVERS_MAX];
	unsigned n = portfolio_covers(cover, COVERS_MAX), missing = 0;

	for (unsigned i = 0; i < n; i++) {
		missing += cover[i].runs == 0;
		if (!c->json)
			continue;
		json_begin("reach");
		json_text("name", cover[i].name);
		json_number("runs", cover[i].runs);
		json_end();
		if (must && !cover[i].runs) {
			json_begin("unreached");
			json_text("name", cover[i].name);
			json_end();
		}
	}
	if (!c->json && n) {
		printf("%u of %u marked branches were taken", n - missing, n);
		/* What one scenario takes; what all of them never do. */
		for (unsigned i = 0, k = 0; i < n; i++)
			if ((cover[i].runs > 0) == c->chosen)
				printf("%s%s",
				       k++         ? ", "
				       : c->chosen ? ": "
						   : "; never: ",
				       cover[i].name);
		printf("\n%s", must && missing ? "FOUND a branch that no scenario reaches.\n" : "");
	}
	return must && missing ? EXIT_NO : 0;
}

static void report_sites(const struct check *c)
{
	unsigned calls = 0, failed = 0, stuck = 0;

	for (const struct sim_site *s = __start_sim_sites; s < __stop_sim_sites; s++) {
		calls += s->calls > 0;
		failed += s->failed > 0;
		stuck += s->stuck > 0;
		if (!c->json)
			continue;
		json_begin("site");
		json_text("what", s->what);
		json_text("file", s->file);
		json_number("line", (uint64_t)s->line);
		json_number("calls", s->calls);
		json_number("failed", s->failed);
		json_number("stuck", s->stuck);
		json_end();
	}
	if (c->json || !calls)
		return;
	printf("%u call sites that may fail were reached: %u failed once, %u from there on", calls,
	       failed, stuck);
	unsigned k = 0;
	for (const struct sim_site *s = __start_sim_sites; s < __stop_sim_sites; s++) {
		if (!s->calls || s->failed)
			continue;
		const char *base = strrchr(s->file, '/');
		printf("%s%s (%s:%d)", k++ ? ", " : "; never: ", s->what, base ? base + 1 : s->file,
		       s->line);
	}
	putchar('\n');
}

static void report_tallies(const struct check *c)
{
	for (unsigned i = 0; i < c->tallies; i++) {
		const struct tally *t = &c->tally[i];
		bool random = t->strategy == STRATEGY_WALK || t->strategy == STRATEGY_PCT;
		char what[40], runs[32];
		printf("%-16s %14s schedules %9.2f s",
		       strategy_text(t->strategy, t->K, t->F, t->depth, what, sizeof(what)),
		       grouped(t->runs, runs), t->seconds);
		if (random)
			printf("  %u scenario%s\n", t->jobs, t->jobs == 1 ? "" : "s");
		else
			printf("  %u of %u searched to the end\n", t->done, t->jobs);
	}
}

static void report_done(const struct check *c)
{
	char runs[32];

	if (c->json) {
		json_begin("done");
		json_number("scenarios", c->p.programs);
		json_number("runs", c->p.all_runs);
		json_number("steps", c->p.all_steps);
		json_seconds("seconds", c->p.elapsed);
		json_number("seed", c->p.seed);
		json_number("found", c->p.findings);
		printf(", \"interrupted\": %s", c->p.stopped ? "true" : "false");
		json_end();
		return;
	}
	printf("%s schedules of %u scenario%s in %.1f s%s: ", grouped(c->p.all_runs, runs),
	       c->p.programs, c->p.programs == 1 ? "" : "s", c->p.elapsed,
	       c->p.stopped ? ", interrupted" : "");
	if (c->p.findings)
		printf("%u FOUND\n", c->p.findings);
	else
		puts("nothing found");
}

static void on_interrupt(int sig)
{
	(void)sig;
	if (running)
		portfolio_stop(&running->p);
}

/* Simulated threads have small stacks: the handler has its own. A second Ctrl-C ends us
 * as usual. */
static void catch_interrupt(struct check *c)
{
	static char stack[64 << 10];
	struct sigaction action = { .sa_handler = on_interrupt,
				    .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };
	stack_t now, own = { .ss_sp = stack, .ss_size = sizeof(stack) };

	sim_catch_crashes();
	running = c;
	if (!sigaltstack(NULL, &now) && now.ss_flags & SS_DISABLE)
		sigaltstack(&own, NULL);
	sigaction(SIGINT, &action, NULL);
}

static int search(struct check *c)
{
	struct portfolio *p = &c->p;
	bool everything = !c->chosen && !p->one_strategy && !p->runs;
	int code = 0;

	if (!c->chosen)
		for (const struct program *const *all = programs();
		     all[p->programs] && p->programs < SCENARIOS_MAX; p->programs++)
			c->program[p->programs] = all[p->programs];
	p->program = c->program;
	p->arg = c;
	p->progress = on_progress;
	p->finished = on_finished;
	p->found = on_found;
	catch_interrupt(c);
	portfolio_run(p);
	clear_line(c);
	if (!c->json && p->programs > DETAIL_FOR)
		report_tallies(c);
	report_sites(c);
	code = report_reach(c, everything && p->seconds >= SECONDS_USUAL && !p->findings &&
				       !p->stopped);
	report_done(c);
	if (p->findings)
		return EXIT_NO;
	return p->stopped ? EXIT_INTERRUPTED : code;
}

/* --- one schedule ---------------------------------------------------------------- */

static int replay_file(const struct check *c)
{
	struct schedule s = { 0 };
	char why[PATH_MAX + 300], said[32] = "";
	uint64_t hash;

	if (!schedule_load(&s, c->replay, why, sizeof(why)))
		return fail(&check_command, EXIT_USAGE, "%s", why);
	schedule_invariant(c->replay, said, sizeof(said));
	if (!c->json)
		columns_print(&s, stdout);
	bool broken = replay(&s, NULL, &hash) == SIM_BROKEN;
	if (c->json) {
		json_begin("replay");
		json_text("scenario", s.program->name);
		json_text("status", broken ? "broken" : "ok");
		json_text("invariant", broken ? E.invariant : "");
		json_text("story", broken ? E.story : "");
		json_text("expected", said);
		printf(", \"hash\": \"%016lx\"", hash);
		json_end();
	} else if (*said && !broken) {
		printf("The file says that it breaks %s.\n", said);
	} else if (*said && strcmp(said, E.invariant) != 0) {
		printf("The file says that it breaks %s, not %s.\n", said, E.invariant);
	}
	schedule_free(&s);
	return broken ? EXIT_NO : 0;
}

static int shrink_file(const struct check *c)
{
	struct schedule s = { 0 };
	char why[PATH_MAX + 300], path[PATH_MAX];

	if (!schedule_load(&s, c->shrink, why, sizeof(why)))
		return fail(&check_command, EXIT_USAGE, "%s", why);
	size_t entries = s.entries, preemptions = schedule_preemptions(&s);
	if (replay(&s, NULL, NULL) != SIM_BROKEN) {
		if (c->json) {
			json_begin("shrink");
			json_text("scenario", s.program->name);
			json_text("status", "ok");
			json_end();
		} else {
			printf("%s: nothing breaks, so there is nothing to shrink.\n", c->shrink);
		}
		schedule_free(&s);
		return 0;
	}
	unsigned replays = shrink(&s);
	replay(&s, NULL, NULL);
	snprintf(path, sizeof(path), "%s.min", c->shrink);
	if (!schedule_save(&s, path, schedule_scenario_file(s.program), E.invariant, E.story, why,
			   sizeof(why))) {
		schedule_free(&s);
		return fail(&check_command, EXIT_USAGE, "%s", why);
	}
	if (c->json) {
		json_begin("shrink");
		json_text("scenario", s.program->name);
		json_text("status", "broken");
		json_text("invariant", E.invariant);
		json_text("story", E.story);
		json_number("replays", replays);
		json_number("preemptions_before", preemptions);
		json_number("preemptions", schedule_preemptions(&s));
		json_number("entries_before", entries);
		json_number("entries", s.entries);
		json_text("file", path);
		json_end();
	} else {
		columns_print(&s, stdout);
		printf("\n%zu preemptions are %zu now, %zu entries %zu; %u replays.\n"
		       "Written to %s\n",
		       preemptions, schedule_preemptions(&s), entries, s.entries, replays, path);
	}
	schedule_free(&s);
	return EXIT_NO;
}

static int list(const struct check *c)
{
	for (const struct program *const *p = programs(); *p; p++) {
		if (!c->json) {
			printf("%-24s %u  %s\n", (*p)->name, (*p)->threads, (*p)->title);
			continue;
		}
		printf("{\"name\": ");
		json_string((*p)->name);
		json_number("threads", (*p)->threads);
		printf(", \"tiny\": %s, \"piece\": %s", (*p)->tiny ? "true" : "false",
		       (*p)->piece ? "true" : "false");
		json_text("title", (*p)->title);
		puts("}");
	}
	return 0;
}

/* --- the command ----------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !errno && !*end;
}

static bool parse_seconds(const char *text, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	return !errno && end != text && !*end && *out >= 0.1 && *out <= SECONDS_MOST;
}

/* "2,1" */
static bool parse_bound(const char *text, unsigned *K, unsigned *F)
{
	int n = 0;

	return sscanf(text, "%2u,%2u%n", K, F, &n) == 2 && text[0] >= '0' && text[0] <= '9' &&
	       !text[n];
}

static bool parse_strategy(const char *text, enum strategy *out)
{
	for (int s = STRATEGY_BOUNDED; s <= STRATEGY_SWEEP; s++) {
		if (strcmp(text, strategy_name[s]) != 0)
			continue;
		*out = (enum strategy)s;
		return true;
	}
	return false;
}

static bool parse_policy(const char *text, unsigned *out)
{
	if (*text != 'P' || text[1] < '0' || text[1] > '4' || text[2])
		return false;
	*out = (unsigned)(text[1] - '0');
	return true;
}

static int unknown_scenario(const char *name)
{
	const char *names[SCENARIOS_MAX], *near;
	int n = 0;

	for (const struct program *const *p = programs(); *p && n < SCENARIOS_MAX; p++)
		names[n++] = (*p)->name;
	near = nearest(name, names, n);
	if (near)
		return complain(&check_command,
				"no scenario is called '%s', did you mean '%s'? `quire check "
				"--list` has all %d",
				name, near, n);
	return complain(&check_command,
			"no scenario is called '%s'; `quire check --list` has all %d", name, n);
}

/* A name, or the path of a file: it has a slash in it, or ends in ".scn". */
static int add_scenario(struct check *c, const char *text)
{
	size_t len = strlen(text);
	const struct program *p;
	char why[PATH_MAX + 300];

	if (strchr(text, '/') || (len > 4 && !strcmp(text + len - 4, ".scn"))) {
		p = schedule_scenario(text, why, sizeof(why));
		if (!p)
			return fail(&check_command, EXIT_USAGE, "%s", why);
	} else {
		p = program_find(text);
		if (!p)
			return unknown_scenario(text);
	}
	for (unsigned i = 0; i < c->p.programs; i++)
		if (c->program[i] == p)
			return 0;
	if (c->p.programs == SCENARIOS_MAX)
		return complain(&check_command, "more than %d scenarios", SCENARIOS_MAX);
	c->program[c->p.programs++] = p;
	c->chosen = true;
	return 0;
}

/* One option into c; an exit code, 0 to go on. */
static int take(struct check *c, int id, const char *value)
{
	switch (id) {
	case SECONDS:
		if (parse_seconds(value, &c->p.seconds))
			return 0;
		return complain(&check_command,
				"--seconds: '%s' is not a number of seconds (0.1 or more)", value);
	case SCENARIO:
		return add_scenario(c, value);
	case SEED:
		if (parse_number(value, &c->p.seed))
			return 0;
		return complain(&check_command, "--seed: '%s' is not a number", value);
	case BOUND:
		c->p.one_bound = parse_bound(value, &c->p.K, &c->p.F);
		if (c->p.one_bound)
			return 0;
		return complain(&check_command,
				"--bound: '%s' is not K,F: preemptions and failures, as 2,1",
				value);
	case POLICY:
		c->p.one_policy = parse_policy(value, &c->p.policy);
		if (c->p.one_policy)
			return 0;
		return complain(&check_command, "--policy: '%s' is not P0 to P4", value);
	case STRATEGY:
		c->p.one_strategy = parse_strategy(value, &c->p.strategy);
		if (c->p.one_strategy)
			return 0;
		return complain(&check_command,
				"unknown strategy '%s' (known: bounded, sleep, states, walk, pct, "
				"sweep)",
				value);
	case RUNS:
		if (parse_number(value, &c->p.runs) && c->p.runs > 0)
			return 0;
		return complain(&check_command, "--runs: '%s' is not a number of schedules", value);
	case REPLAY:
		c->replay = value;
		return 0;
	case SHRINK:
		c->shrink = value;
		return 0;
	case LIST:
		c->list = true;
		return 0;
	case OUT:
		c->out = value;
		return 0;
	case KEEP_GOING:
		c->p.keep_going = true;
		return 0;
	case JSON:
		c->json = true;
		return 0;
	}
	return EXIT_USAGE;
}

static int check_request(struct check *c)
{
	struct stat st;

	if ((c->replay != NULL) + (c->shrink != NULL) + c->list > 1)
		return complain(&check_command, "one of --replay, --shrink and --list at a time");
	if (c->p.one_bound && c->p.one_strategy && c->p.strategy != STRATEGY_BOUNDED)
		return complain(&check_command, "--bound is for --strategy bounded, not %s",
				strategy_name[c->p.strategy]);
	if (c->p.one_bound) {
		c->p.one_strategy = true;
		c->p.strategy = STRATEGY_BOUNDED;
	}
	if (!c->out)
		c->out = getenv("TMPDIR");
	if (!c->out || !*c->out)
		c->out = "/tmp";
	if (c->replay || c->shrink || c->list)
		return 0;
	if (stat(c->out, &st) || !S_ISDIR(st.st_mode) || access(c->out, W_OK | X_OK))
		return fail(&check_command, EXIT_USAGE, "cannot write to directory '%s': %s",
			    c->out, strerror(errno ? errno : ENOTDIR));
	return 0;
}

static int check_main(int argc, char **argv)
{
	struct option_walk o = { .command = &check_command, .argc = argc, .argv = argv, .at = 1 };
	static struct check c = { .p = { .seconds = SECONDS_USUAL, .seed = SEED_USUAL } };
	int id, code;

	while ((id = option_next(&o)) > 0) {
		if (id == OPTION_HELP) {
			fputs(check_command.help, stdout);
			return 0;
		}
		code = take(&c, id, o.value);
		if (code)
			return code;
	}
	if (id == OPTION_ERROR)
		return EXIT_USAGE;
	if (o.at < argc)
		return complain(&check_command, "takes no argument, not '%s'", argv[o.at]);
	code = check_request(&c);
	if (code)
		return code;
	if (c.list)
		return list(&c);
	if (c.replay)
		return replay_file(&c);
	if (c.shrink)
		return shrink_file(&c);
	return search(&c);
}

static const char help[] =
	"usage: quire check [OPTION...]\n"
	"\n"
	"Runs quire's own code on a simulated machine, under schedule after schedule, until\n"
	"one breaks an invariant or the time is over.\n"
	"\n"
	"  --seconds N        how long (default 60)\n"
	"  --scenario NAME    only this one; may be given several times. NAME may be the path\n"
	"                     of a scenario of your own: FILE.scn\n"
	"  --strategy NAME    only this one: sweep, bounded, sleep, states, walk, pct\n"
	"  --bound K,F        every schedule of at most K preemptions and F failures\n"
	"  --policy P0..P4    with this retry policy alone\n"
	"  --runs N           at most N schedules of each scenario\n"
	"  --seed N           other random schedules (default 1)\n"
	"  --keep-going       with the other scenarios, once something is found\n"
	"  --out DIR          where a schedule that breaks is written (default $TMPDIR, /tmp)\n"
	"  --replay FILE      run one schedule again, and print it as columns\n"
	"  --shrink FILE      find a shorter one that breaks the same: FILE.min\n"
	"  --list             the scenarios, a line each: name, threads, what it is\n"
	"  --json             JSON lines\n"
	"\n"
	"Exit code: 0 nothing found, 1 a bug, 2 wrong arguments, 130 interrupted.\n"
	"See quire-check(1).\n";

const struct command check_command = {
	.name = "check",
	.main = check_main,
	.summary = "search the schedules of quire's own code for a bug",
	.help = help,
	.options = options,
	.usage = EXIT_USAGE,
};
