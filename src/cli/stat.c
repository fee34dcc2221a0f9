/* SPDX-License-Identifier: MIT */
/*
 * stat.c - `quire stat PID`: the live counters of another process.
 *
 * It keeps a page of them in a memfd of a known name (api/statpage.h), which
 * /proc/PID/fd leads to. Opening it needs what ptrace(2) needs to look at a
 * process: the same user, or root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "api/statpage.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/counters.h"

#define LINK_NAME "/memfd:" STATPAGE_NAME

/* More than a process that links libquire will ever open, most have one. */
#define PAGES_MAX 16

/* A writer that was killed in the middle leaves seq odd for ever. */
#define READ_TRIES 100000

enum { JSON = OPTION_OWN, WATCH };

static const struct option options[] = {
	{ "json", JSON, false },
	{ "watch", WATCH, true },
	{ NULL, 0, false },
};

struct target {
	int pid;
	char name[64];
	const volatile struct statpage *pages[PAGES_MAX];
	int count;
};

/* ---- finding it ---- */

static const volatile struct statpage *map_page(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const struct statpage *page;

	if (fd < 0)
		return NULL;
	page = mmap(NULL, STATPAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return NULL;
	if (page->magic == STATPAGE_MAGIC)
		return page;
	munmap((void *)(uintptr_t)page, STATPAGE_BYTES);
	return NULL;
}

static void read_name(struct target *t)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", t->pid);
	f = fopen(path, "re");
	if (!f || !fgets(t->name, sizeof(t->name), f))
		strcpy(t->name, "?");
	t->name[strcspn(t->name, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* Was it started to use quire? Then it just has not mapped a file yet. */
static bool asked_for_quire(int pid)
{
	char path[64];
	char *entry = NULL;
	size_t room = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	f = fopen(path, "re");
	while (f && !found && getdelim(&entry, &room, '\0', f) > 0)
		found = !strncmp(entry, "QUIRE_MEMORY=", 13);
	free(entry);
	if (f)
		fclose(f);
	return found;
}

static int explain_none(const struct target *t, bool denied)
{
	if (denied)
		return fail(&stat_command, EXIT_NO,
			    "process %d (%s): permission denied; be the same "
			    "user, or root",
			    t->pid, t->name);
	if (asked_for_quire(t->pid))
		return fail(&stat_command, EXIT_NO,
			    "process %d (%s) has not mapped a file through "
			    "quire yet",
			    t->pid, t->name);
	return fail(&stat_command, EXIT_NO, "process %d (%s) does not use quire", t->pid, t->name);
}

/* All stat pages of t->pid. Returns 0 or an exit code. */
static int find_pages(struct target *t)
{
	char path[320], link[64];
	struct dirent *entry;
	bool denied = false;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d", t->pid);
	if (access(path, F_OK))
		return fail(&stat_command, EXIT_NO, "no process %d", t->pid);
	read_name(t);
	snprintf(path, sizeof(path), "/proc/%d/fd", t->pid);
	dir = opendir(path);
	if (!dir)
		return explain_none(t, errno == EACCES || errno == EPERM);
	while ((entry = readdir(dir)) && t->count < PAGES_MAX) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", t->pid, entry->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		if (strncmp(link, LINK_NAME, strlen(LINK_NAME)))
			continue;
		t->pages[t->count] = map_page(path);
		if (t->pages[t->count])
			t->count++;
		else
			denied |= errno == EACCES || errno == EPERM;
	}
	closedir(dir);
	return t->count ? 0 : explain_none(t, denied);
}

/* ---- reading it ---- */

/* The protocol is in statpage.h. Returns false when the page never settles. */
static bool read_stats(const volatile struct statpage *page, struct quire_stats *out)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t seq = page->seq;

		atomic_thread_fence(memory_order_acquire);
		memcpy(out, (const void *)(uintptr_t)&page->stats, sizeof(*out));
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && page->seq == seq)
			return true;
	}
	return false;
}

static void print_json(const struct target *t, int index, const struct quire_stats *s)
{
	printf("{\"pid\": %d, \"name\": ", t->pid);
	json_string(t->name);
	printf(", \"quire\": %d", index);
	for (const struct counter *c = counters; c->name; c++)
		printf(", \"%s\": %lu", c->name, counter_value(c, s));
	puts("}");
}

static int print_once(const struct target *t, bool json)
{
	struct quire_stats s;

	for (int i = 0; i < t->count; i++) {
		if (!read_stats(t->pages[i], &s))
			return fail(&stat_command, EXIT_NO, "process %d: its counters never settle",
				    t->pid);
		if (json) {
			print_json(t, i, &s);
			continue;
		}
		if (t->count > 1)
			printf("%d (%s), quire %d of %d\n", t->pid, t->name, i + 1, t->count);
		else
			printf("%d (%s)\n", t->pid, t->name);
		counters_print(&s);
	}
	return 0;
}

/* ---- watching it ---- */

static double rate(uint64_t now, uint64_t before, double seconds)
{
	return (double)(now - before) / seconds;
}

static void print_line(const struct quire_stats *now, const struct quire_stats *before,
		       double seconds)
{
	char charged[SIZE_TEXT_MAX], dirty[SIZE_TEXT_MAX];

	printf("%8s %8s %10.0f %10.0f %10.0f %9.1f %9.1f %9.0f %9.0f\n",
	       size_format(charged, now->charged), size_format(dirty, now->dirty),
	       rate(now->faults_minor, before->faults_minor, seconds),
	       rate(now->faults_major, before->faults_major, seconds),
	       rate(now->faults_write, before->faults_write, seconds),
	       rate(now->read_bytes, before->read_bytes, seconds) / (1 << 20),
	       rate(now->write_bytes, before->write_bytes, seconds) / (1 << 20),
	       rate(now->evicted_pages, before->evicted_pages, seconds),
	       rate(now->stalls, before->stalls, seconds));
}

static void nap(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds,
			      .tv_nsec = (long)((seconds - floor(seconds)) * 1e9) };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Until the process is gone. The first quire of it is the one that is watched. */
static int watch(const struct target *t, double seconds, bool json)
{
	struct quire_stats before, now;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", t->pid);
	if (!read_stats(t->pages[0], &before))
		return fail(&stat_command, EXIT_NO, "process %d: its counters never settle",
			    t->pid);
	for (int line = 0;; line++) {
		nap(seconds);
		if (access(path, X_OK) || !read_stats(t->pages[0], &now))
			return 0;
		if (json) {
			print_json(t, 0, &now);
		} else {
			if (line % 20 == 0)
				printf("%8s %8s %10s %10s %10s %9s %9s %9s %9s\n", "charged",
				       "dirty", "minor/s", "major/s", "write/s", "in MiB/s",
				       "out MiB/s", "evict/s", "stall/s");
			print_line(&now, &before, seconds);
		}
		fflush(stdout);
		before = now;
	}
}

/* ---- the command ---- */

static bool parse_seconds(const char *text, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	return !errno && end != text && !*end && *out >= 0.1 && *out <= 86400;
}

static bool parse_pid(const char *text, int *out)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 1 || v > 1 << 30)
		return false;
	*out = (int)v;
	return true;
}

static int stat_main(int argc, char **argv)
{
	struct option_walk o = { .command = &stat_command, .argc = argc, .argv = argv, .at = 1 };
	struct target t = { 0 };
	double seconds = 0;
	bool json = false;
	int id, code;

	/* The process may come before the options. */
	for (;;) {
		id = option_next(&o);
		if (id == OPTION_ERROR)
			return EXIT_USAGE;
		if (id == OPTION_HELP) {
			fputs(stat_command.help, stdout);
			return 0;
		}
		if (id == JSON) {
			json = true;
		} else if (id == WATCH) {
			if (!parse_seconds(o.value, &seconds))
				return complain(&stat_command,
						"--watch: '%s' is not a number of "
						"seconds (0.1 or more)",
						o.value);
		} else if (o.at < argc && !t.pid) {
			if (!parse_pid(argv[o.at++], &t.pid))
				return complain(&stat_command, "'%s' is not a process id",
						argv[o.at - 1]);
		} else {
			break;
		}
	}
	if (o.at < argc)
		return complain(&stat_command, "one process at a time, not '%s' too", argv[o.at]);
	if (!t.pid)
		return complain(&stat_command, "no process given");
	code = find_pages(&t);
	if (code)
		return code;
	return seconds > 0 ? watch(&t, seconds, json) : print_once(&t, json);
}

static const char help[] =
	"usage: quire stat PID [--json] [--watch SECONDS]\n"
	"\n"
	"Shows the live counters of a process that uses quire.\n"
	"\n"
	"  --json           one JSON object per line; bytes and nanoseconds\n"
	"  --watch SECONDS  rates, a line every so often, until the process ends\n"
	"\n"
	"Exit code: 0; 1 no such process, or not allowed, or it does not use quire;\n"
	"2 wrong arguments.\n";

const struct command stat_command = {
	.name = "stat",
	.main = stat_main,
	.summary = "show the live counters of a running process",
	.help = help,
	.options = options,
	.usage = EXIT_USAGE,
};
