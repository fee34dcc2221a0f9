/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - `quire doctor`: what this kernel and this user may do, what is
 * missing, what that costs, and how to get it.
 *
 * Each check fills in one finding. The order is that of importance: what quire
 * cannot do without, what it is slower without, what bounds it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/cli.h"
#include "cli/host.h"
#include "quire/quire.h"
#include "run/ram.h"

/* Below this many mappings a program with many files runs out of them. */
#define MAP_COUNT_USUAL 65530

enum { JSON = OPTION_OWN };

static const struct option options[] = {
	{ "json", JSON, false },
	{ NULL, 0, false },
};

enum state { OK, SLOWER, BROKEN, NOTE };

struct finding {
	const char *name;
	enum state state;
	char detail[160];
	const char *cost; /* what is lost, NULL if nothing */
	const char *cure; /* how to get it */
};

#define FINDINGS_MAX 20

struct report {
	struct quire_probe probe;
	struct finding list[FINDINGS_MAX];
	int count;
	bool usable;
};

static struct finding *add(struct report *r, const char *name, enum state state, const char *format,
			   ...) __attribute__((format(printf, 4, 5)));

static struct finding *add(struct report *r, const char *name, enum state state, const char *format,
			   ...)
{
	struct finding *f = &r->list[r->count++];
	va_list ap;

	f->name = name;
	f->state = state;
	va_start(ap, format);
	vsnprintf(f->detail, sizeof(f->detail), format, ap);
	va_end(ap);
	return f;
}

/* A capability that is there, or is not and then costs something. */
static void need(struct report *r, const char *name, bool there, enum state otherwise,
		 const char *since, const char *cost)
{
	struct finding *f;

	if (there) {
		add(r, name, OK, "yes");
		return;
	}
	/* Without userfaultfd nothing is known about its features. */
	if (r->probe.uffd_errno) {
		add(r, name, NOTE, "not known: userfaultfd is refused");
		return;
	}
	f = add(r, name, otherwise, "missing in %s", r->probe.kernel);
	f->cost = cost;
	f->cure = since;
}

static bool read_line(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(text, (int)size, f);

	if (f)
		fclose(f);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

/* "Seccomp:\t2" in our own status: is a filter on us? */
static bool is_filtered(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");
	bool filtered = false;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Seccomp:", 8))
			filtered = atoi(line + 8) == 2;
	}
	if (f)
		fclose(f);
	return filtered;
}

static const char *uffd_cure(int error)
{
	if (error == EINVAL)
		return "a kernel of 6.4 or newer";
	if (error == ENOSYS && !is_filtered())
		return "a kernel built with CONFIG_USERFAULTFD";
	if (error == EPERM || error == EACCES || error == ENOSYS)
		return "allow the system call userfaultfd in the container's seccomp profile "
		       "(docker: --security-opt seccomp=FILE; Kubernetes: a Localhost profile). "
		       "vm.unprivileged_userfaultfd and /dev/userfaultfd are not needed";
	return "more file descriptors or memory: ulimit -n, ulimit -v";
}

static void check_uffd(struct report *r)
{
	const struct quire_probe *p = &r->probe;
	struct finding *f;

	if (p->uffd_errno) {
		f = add(r, "userfaultfd", BROKEN, "%s: %s", host_refusal(p),
			strerrorname_np(p->uffd_errno));
		f->cost = "quire cannot work";
		f->cure = uffd_cure(p->uffd_errno);
	} else if (p->user_mode_only) {
		add(r, "userfaultfd", OK, "yes, for user-mode faults; needs no privilege");
	} else {
		add(r, "userfaultfd", OK, "yes");
	}
	need(r, "signal delivery", p->sigbus, BROKEN, "Linux 4.14", "quire cannot work");
	need(r, "minor faults", p->minor_shmem, BROKEN, "Linux 5.14", "quire cannot work");
	need(r, "write-protection", p->wp_shmem, BROKEN, "Linux 5.19", "quire cannot work");
	need(r, "map read-only", p->uffd_features & HOST_WP_UNPOPULATED, BROKEN, "Linux 6.4",
	     "a clean page cannot be mapped without counting as written");
	need(r, "page moves", p->move, SLOWER, "Linux 6.8",
	     "private pages are copied instead of moved");
}

static void check_uring(struct report *r)
{
	int error = r->probe.io_uring_errno;
	char text[16] = "0";
	struct finding *f;

	if (!error) {
		add(r, "io_uring", OK, "yes");
		return;
	}
	read_line("/proc/sys/kernel/io_uring_disabled", text, sizeof(text));
	f = add(r, "io_uring", SLOWER, "refused: %s (kernel.io_uring_disabled = %s)",
		strerrorname_np(error), text);
	f->cost = "readahead and write-back go one at a time, through a thread";
	if (strcmp(text, "0"))
		f->cure = "sysctl kernel.io_uring_disabled=0";
	else if (error == ENOSYS && !is_filtered())
		f->cure = "a kernel built with CONFIG_IO_URING";
	else if (error == ENOMEM)
		f->cure = "a larger ulimit -l (kernels before 5.12 lock the rings)";
	else
		f->cure = "allow io_uring_setup and io_uring_enter in the seccomp profile";
}

static void check_membarrier(struct report *r)
{
	struct finding *f;

	if (r->probe.membarrier) {
		add(r, "membarrier", OK, "yes");
		return;
	}
	f = add(r, "membarrier", SLOWER, "refused");
	f->cost = "each fault pays two memory barriers";
	f->cure = "Linux 4.14, and membarrier allowed in the seccomp profile";
}

static void check_memory(struct report *r)
{
	char physical[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX], least[SIZE_TEXT_MAX];
	struct ram ram;

	ram_read(&ram);
	size_format(physical, ram.physical);
	if (ram.cgroup)
		add(r, "memory", NOTE, "%s RAM, cgroup v%d limit %s: a percentage is of %s",
		    physical, ram.version, size_format(limit, ram.cgroup),
		    ram.cgroup < ram.physical ? limit : physical);
	else
		add(r, "memory", NOTE, "%s RAM, no cgroup limit", physical);
	add(r, "least budget", NOTE, "%s", host_least_budget(least));
}

static void check_limits(struct report *r)
{
	char text[128], size[SIZE_TEXT_MAX];
	struct rlimit limit;
	struct finding *f;

	if (read_line("/proc/sys/vm/max_map_count", text, sizeof(text))) {
		f = add(r, "mappings", NOTE, "vm.max_map_count = %s", text);
		if (strtoul(text, NULL, 10) < MAP_COUNT_USUAL) {
			f->state = SLOWER;
			f->cost = "a program with many mappings may get ENOMEM";
			f->cure = "sysctl vm.max_map_count=65530";
		}
	}
	if (!getrlimit(RLIMIT_MEMLOCK, &limit))
		add(r, "locked memory", NOTE, "RLIMIT_MEMLOCK = %s (quire locks none)",
		    limit.rlim_cur == RLIM_INFINITY ? "unlimited"
						    : size_format(size, limit.rlim_cur));
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		add(r, "descriptors", NOTE, "RLIMIT_NOFILE = %lu (one per mapped file, and a few)",
		    (unsigned long)limit.rlim_cur);
	if (read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text)))
		add(r, "huge pages", NOTE, "shmem_enabled: %s (not used yet)", text);
}

/* The proof: open one. */
static void check_open(struct report *r)
{
	struct quire_options o = { .size = sizeof(o), .memory = quire_memory_min() };
	struct quire *q = quire_open(&o);
	struct finding *f;

	if (q) {
		quire_close(q);
		add(r, "open a quire", OK, "yes");
		return;
	}
	f = add(r, "open a quire", BROKEN, "%s", *quire_error() ? quire_error() : strerror(errno));
	f->cost = "quire cannot work";
	f->cure = "see above";
}

static void examine(struct report *r)
{
	r->probe.size = sizeof(r->probe);
	quire_probe(&r->probe);
	check_uffd(r);
	check_uring(r);
	check_membarrier(r);
	check_open(r);
	check_memory(r);
	check_limits(r);
	r->usable = true;
	for (int i = 0; i < r->count; i++)
		r->usable &= r->list[i].state != BROKEN;
}

static const char *word(enum state s)
{
	static const char *const words[] = { "ok", "slower", "BROKEN", "" };

	return words[s];
}

static void print_text(const struct report *r)
{
	printf("quire %s on Linux %s, user %d\n\n", quire_version(), r->probe.kernel,
	       (int)geteuid());
	for (int i = 0; i < r->count; i++) {
		const struct finding *f = &r->list[i];

		printf("%-7s %-17s %s\n", word(f->state), f->name, f->detail);
		if (f->cost)
			printf("%-7s %-17s cost: %s\n", "", "", f->cost);
		if (f->cure)
			printf("%-7s %-17s cure: %s\n", "", "", f->cure);
	}
	printf("\n%s\n", r->usable ? "quire works here." : "quire does not work here.");
}

static void json_member(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	json_string(value);
}

static void print_json(const struct report *r)
{
	static const char *const words[] = { "ok", "slower", "broken", "note" };

	printf("{\"version\": \"%s\", \"usable\": %s", quire_version(),
	       r->usable ? "true" : "false");
	json_member("kernel", r->probe.kernel);
	printf(", \"uffd_features\": %lu, \"memory_min\": %lu, \"findings\": [",
	       r->probe.uffd_features, quire_memory_min());
	for (int i = 0; i < r->count; i++) {
		const struct finding *f = &r->list[i];

		printf("%s{\"name\": ", i ? ", " : "");
		json_string(f->name);
		json_member("state", words[f->state]);
		json_member("detail", f->detail);
		if (f->cost)
			json_member("cost", f->cost);
		if (f->cure)
			json_member("cure", f->cure);
		putchar('}');
	}
	puts("]}");
}

static int doctor_main(int argc, char **argv)
{
	struct option_walk o = { .command = &doctor_command, .argc = argc, .argv = argv, .at = 1 };
	struct report r = { 0 };
	bool json = false;
	int id;

	while ((id = option_next(&o)) > 0) {
		if (id == OPTION_HELP) {
			fputs(doctor_command.help, stdout);
			return 0;
		}
		json = true;
	}
	if (id == OPTION_ERROR)
		return EXIT_USAGE;
	if (o.at < argc)
		return complain(&doctor_command, "takes no argument, not '%s'", argv[o.at]);
	examine(&r);
	if (json)
		print_json(&r);
	else
		print_text(&r);
	return r.usable ? 0 : EXIT_NO;
}

static const char help[] =
	"usage: quire doctor [--json]\n"
	"\n"
	"Says what this kernel and this user may do, what is missing, what that costs\n"
	"and how to get it.\n"
	"\n"
	"  --json  one JSON object\n"
	"\n"
	"Exit code: 0 quire works here, 1 it does not, 2 wrong arguments.\n";

const struct command doctor_command = {
	.name = "doctor",
	.main = doctor_main,
	.summary = "say what this machine allows, and what is missing",
	.help = help,
	.options = options,
	.usage = EXIT_USAGE,
};
