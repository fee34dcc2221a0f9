/* SPDX-License-Identifier: MIT */
/*
 * run.c - `quire run`: start a program with its mappings under a budget.
 *
 * Everything that can be known to be wrong is found here, before the program
 * starts: sizes, options, a kernel that refuses, a program that the preload
 * library cannot enter. Then the environment is set and the program replaces
 * us, so that its exit code, its signals and its process id are its own.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size.h"
#include "cli/cli.h"
#include "cli/host.h"
#include "quire/quire.h"
#include "run/config.h"

#ifndef QUIRE_LIBDIR
#define QUIRE_LIBDIR "/usr/local/lib"
#endif

#define LIBRARY      "libquire-run.so"
#define HEAP_LIBRARY "libquire-heap.so"
#define ALLOCATOR    "libjemalloc.so.2"

enum {
	MEMORY = OPTION_OWN,
	POLICY,
	MIN_SIZE,
	MATCH,
	OPTS,
	STATS,
	LOG,
	ANON,
	HEAP,
	SWAP,
	SWAP_SIZE
};

static const struct option options[] = {
	{ "memory", MEMORY, true },
	{ "policy", POLICY, true },
	{ "min-size", MIN_SIZE, true },
	{ "match", MATCH, true },
	{ "opts", OPTS, true },
	{ "stats", STATS, false },
	{ "log", LOG, true },
	{ "anon", ANON, false },
	{ "heap", HEAP, false },
	{ "swap", SWAP, true },
	{ "swap-size", SWAP_SIZE, true },
	{ NULL, 0, false },
};

struct request {
	const char *memory;
	const char *policy; /* "P1" */
	const char *min_size;
	const char *log;
	const char *swap;
	const char *swap_size;
	char *match; /* joined by ':' */
	char *opts;  /* joined by ',' */
	bool stats;
	bool anon;
	bool heap; /* and anon */
};

static const struct policy {
	const char *name;
	const char *value;
} policies[] = {
	{ "P0", "P0" },       { "P1", "P1" },    { "P2", "P2" },  { "P3", "P3" },
	{ "P4", "P4" },       { "mmap", "P0" },  { "vma", "P1" }, { "hold", "P2" },
	{ "uptodate", "P3" }, { "folio", "P4" },
};

/* list + separator + item, or just item. Frees list. */
static char *join(char *list, char separator, const char *item)
{
	char *joined = NULL;

	if (!list)
		return strdup(item);
	if (asprintf(&joined, "%s%c%s", list, separator, item) < 0)
		joined = NULL;
	free(list);
	return joined;
}

static const char *policy_value(const char *name)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (!strcmp(policies[i].name, name))
			return policies[i].value;
	}
	return NULL;
}

/* One option into r; an exit code, 0 to go on. */
static int take(struct request *r, int id, const char *value)
{
	switch (id) {
	case MEMORY:
		r->memory = value;
		return 0;
	case POLICY:
		r->policy = policy_value(value);
		if (r->policy)
			return 0;
		return complain(&run_command,
				"unknown policy '%s' (known: P0 to P4, or mmap, vma, "
				"hold, uptodate, folio)",
				value);
	case MIN_SIZE:
		r->min_size = value;
		return 0;
	case MATCH:
		r->match = join(r->match, ':', value);
		return r->match ? 0 : fail(&run_command, EXIT_QUIRE, "out of memory");
	case OPTS:
		r->opts = join(r->opts, ',', value);
		return r->opts ? 0 : fail(&run_command, EXIT_QUIRE, "out of memory");
	case STATS:
		r->stats = true;
		return 0;
	case LOG:
		r->log = value;
		return 0;
	case HEAP:
		r->heap = true;
		r->anon = true;
		return 0;
	case ANON:
		r->anon = true;
		return 0;
	case SWAP:
		r->swap = value;
		return 0;
	case SWAP_SIZE:
		r->swap_size = value;
		return 0;
	}
	return EXIT_QUIRE;
}

/* The budget must be a size, and one that can work. */
static int check_memory(const char *text)
{
	char why[256], least[SIZE_TEXT_MAX];
	uint64_t bytes;

	if (config_size("--memory", text, &bytes, why, sizeof(why)))
		return complain(&run_command, "%s", why);
	if (bytes >= quire_memory_min())
		return 0;
	return fail(&run_command, EXIT_QUIRE, "--memory %s is too little, the least is %s", text,
		    host_least_budget(least));
}

static int check_request(struct request *r)
{
	char why[256];
	uint64_t bytes;
	int code;

	if (!r->memory)
		r->memory = getenv("QUIRE_MEMORY");
	if (!r->memory)
		return complain(&run_command, "--memory is needed: how much RAM may it use?");
	if (r->swap && !r->anon && !getenv("QUIRE_ANON"))
		return complain(&run_command, "--swap is for anonymous memory: add --anon or "
					      "--heap");
	code = check_memory(r->memory);
	if (code)
		return code;
	if (r->min_size && config_size("--min-size", r->min_size, &bytes, why, sizeof(why)))
		return complain(&run_command, "%s", why);
	if (r->swap_size && config_size("--swap-size", r->swap_size, &bytes, why, sizeof(why)))
		return complain(&run_command, "%s", why);
	return 0;
}

/*
 * Opening takes SIGBUS over and unblocks it, both of which the program would
 * inherit in place of what our caller has set.
 */
static int try_open(const struct quire_options *o)
{
	struct sigaction action;
	sigset_t mask;
	struct quire *q;
	int code = 0;

	sigaction(SIGBUS, NULL, &action);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	q = quire_open(o);
	if (!q && errno == EINVAL)
		code = complain(&run_command, "%s", quire_error());
	else if (!q)
		code = fail(&run_command, EXIT_QUIRE, "%s", quire_error());
	quire_close(q);
	sigaction(SIGBUS, &action, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return code;
}

/*
 * What the kernel refuses, in one line. Then the proof: a quire like the one the
 * program will have, which also finds what is wrong in the options.
 */
static int check_host(void)
{
	struct quire_options o = { .size = sizeof(o) };
	struct config c;
	char error[256];
	struct quire_probe probe = { .size = sizeof(probe) };
	const char *why;

	if (quire_probe(&probe))
		return fail(&run_command, EXIT_QUIRE, "cannot probe this kernel: %s",
			    strerror(errno));
	why = host_refusal(&probe);
	if (why)
		return fail(&run_command, EXIT_QUIRE, "%s (see `quire doctor`)", why);
	if (config_read(&c, error, sizeof(error)))
		return complain(&run_command, "%s", error);
	o.memory = c.memory;
	o.opts = c.opts;
	o.swap = c.swap;
	o.swap_size = c.swap_size;
	return try_open(&o);
}

/* ---- the program ---- */

/*
 * Finds what execvp() would run, so that a mistake is told before anything is
 * set up. Returns 0 with the path, or the exit code (nothing printed).
 */
static int find_program(const char *name, char path[PATH_MAX])
{
	const char *search = getenv("PATH");
	int code = EXIT_NOT_FOUND;
	struct stat st;

	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		if (access(path, F_OK))
			return errno == EACCES ? EXIT_NOT_EXECUTABLE : EXIT_NOT_FOUND;
		if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, X_OK))
			return EXIT_NOT_EXECUTABLE;
		return 0;
	}
	for (const char *dir = search ? search : "/bin:/usr/bin"; dir;) {
		const char *end = strchrnul(dir, ':');

		snprintf(path, PATH_MAX, "%.*s%s%s", (int)(end - dir), dir, end > dir ? "/" : "",
			 name);
		if (!stat(path, &st)) {
			if (S_ISREG(st.st_mode) && !access(path, X_OK))
				return 0;
			code = EXIT_NOT_EXECUTABLE;
		}
		dir = *end ? end + 1 : NULL;
	}
	return code;
}

/* Does the ELF file behind fd name a dynamic loader? True when it is no ELF. */
static bool is_dynamic(int fd)
{
	Elf64_Ehdr head;
	Elf64_Phdr segment;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64)
		return true;
	for (int i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)head.e_phoff + (off_t)i * head.e_phentsize;

		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return true;
		if (segment.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/*
 * Where LD_PRELOAD has no effect the budget would silently not hold, which is
 * the one thing the user asked for.
 */
static int check_program(const char *path)
{
	struct stat st;
	bool dynamic;
	int fd;

	if (!stat(path, &st) && ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
				 (st.st_mode & S_ISGID && st.st_gid != getegid())))
		return fail(&run_command, EXIT_QUIRE,
			    "'%s' is set-user-ID or set-group-ID: the "
			    "loader ignores LD_PRELOAD there",
			    path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	dynamic = is_dynamic(fd);
	close(fd);
	if (!dynamic)
		return fail(&run_command, EXIT_QUIRE,
			    "'%s' is statically linked: its mappings "
			    "cannot be taken over",
			    path);
	return 0;
}

/* ---- the environment ---- */

/* Next to us, as in a build directory, or where it was installed. */
static int find_library(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(LIBRARY));
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash + 1, LIBRARY);
		if (!access(path, R_OK))
			return 0;
	}
	snprintf(path, PATH_MAX, "%s/%s", QUIRE_LIBDIR, LIBRARY);
	return access(path, R_OK);
}

/* Does the loader find the allocator? To load it now it may say no, for want of room for
 * its thread-locals. */
static bool has_allocator(void)
{
	void *handle = dlopen(ALLOCATOR, RTLD_LAZY | RTLD_LOCAL);
	const char *why = handle ? NULL : dlerror();

	if (handle)
		dlclose(handle);
	return handle || (why && !strstr(why, "cannot open shared object file"));
}

/* Why jemalloc: it maps 2 MiB and more at a time, mimalloc 2.0 32 MiB for each thread. The
 * break is libc's (heap.c): the allocator shall not fall back to it. */
static int set_allocator(void)
{
	const char *before = getenv("MALLOC_CONF");
	char *conf = strdup("dss:disabled");
	int r;

	if (conf && before && *before)
		conf = join(conf, ',', before);
	r = conf ? setenv("MALLOC_CONF", conf, 1) : -1;
	free(conf);
	return r;
}

/* What goes before the library in LD_PRELOAD: the allocator of --heap, and before it what
 * tells libc's own allocations from the program's. */
static char *heap_list(const char *library, char *list)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s%s", (int)(strrchr(library, '/') + 1 - library), library,
		 HEAP_LIBRARY);
	list = join(list, ':', path);
	return list ? join(list, ':', ALLOCATOR) : NULL;
}

static int set_preload(bool heap)
{
	const char *before = getenv("LD_PRELOAD");
	char path[PATH_MAX];
	char *list;
	int r;

	if (heap && !has_allocator())
		return fail(&run_command, EXIT_QUIRE,
			    "--heap needs %s, which is not here: apt-get install libjemalloc2",
			    ALLOCATOR);

	if (find_library(path))
		return fail(&run_command, EXIT_QUIRE,
			    "cannot find %s: neither next to this "
			    "program nor in %s",
			    LIBRARY, QUIRE_LIBDIR);
	if (before && strstr(before, path))
		return 0;
	if (strpbrk(path, " :"))
		return fail(&run_command, EXIT_QUIRE,
			    "'%s' cannot be preloaded: its path has a "
			    "space or a colon",
			    path);
	list = before && *before ? strdup(before) : NULL;
	/* Last: of these the loader starts the last one first, and what an allocator maps
	 * before that is not managed. */
	if (heap)
		list = set_allocator() ? NULL : heap_list(path, list);
	list = join(list, ':', path);
	r = list ? setenv("LD_PRELOAD", list, 1) : -1;
	free(list);
	return r ? fail(&run_command, EXIT_QUIRE, "out of memory") : 0;
}

/* A variable that is there already stands where no option says otherwise. */
static int set_one(const char *name, const char *value)
{
	return value ? setenv(name, value, 1) : 0;
}

static int set_environment(const struct request *r)
{
	char *opts = r->opts ? strdup(r->opts) : NULL;
	char swap_path[PATH_MAX + 256];
	const char *swap = r->swap;
	char retry[16];
	int failed;

	/* The program may change its directory before it is opened. */
	if (swap && *swap != '/' && getcwd(swap_path, PATH_MAX)) {
		snprintf(swap_path + strlen(swap_path), 256, "/%s", swap);
		swap = swap_path;
	}

	if (r->policy) {
		snprintf(retry, sizeof(retry), "retry=%s", r->policy);
		opts = join(opts, ',', retry);
	}
	failed = set_one("QUIRE_MEMORY", r->memory) || set_one("QUIRE_MIN_SIZE", r->min_size) ||
		 set_one("QUIRE_MATCH", r->match) || set_one("QUIRE_OPTS", opts) ||
		 set_one("QUIRE_SWAP", swap) || set_one("QUIRE_SWAP_SIZE", r->swap_size) ||
		 set_one("QUIRE_ANON", r->anon ? "1" : NULL) || set_one("QUIRE_LOG", r->log) ||
		 set_one("QUIRE_STATS", r->stats ? "1" : NULL);
	free(opts);
	if (failed)
		return fail(&run_command, EXIT_QUIRE, "out of memory");
	return set_preload(r->heap);
}

static int start(char **argv, const char *path)
{
	int error;

	execvp(argv[0], argv);
	error = errno;
	return fail(&run_command, error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE,
		    "cannot run '%s': %s", path, strerror(error));
}

static int run_main(int argc, char **argv)
{
	struct option_walk o = { .command = &run_command, .argc = argc, .argv = argv, .at = 1 };
	struct request r = { 0 };
	char path[PATH_MAX];
	int id, code;

	while ((id = option_next(&o)) > 0) {
		if (id == OPTION_HELP) {
			fputs(run_command.help, stdout);
			return 0;
		}
		code = take(&r, id, o.value);
		if (code)
			return code;
	}
	if (id == OPTION_ERROR)
		return EXIT_QUIRE;
	code = check_request(&r);
	if (code)
		return code;
	if (o.at == argc)
		return complain(&run_command, "no program given");
	code = find_program(argv[o.at], path);
	if (code)
		return fail(&run_command, code, "'%s': %s", argv[o.at],
			    code == EXIT_NOT_FOUND ? "not found" : "cannot be executed");
	code = check_program(path);
	if (!code)
		code = set_environment(&r);
	if (!code)
		code = check_host();
	return code ? code : start(argv + o.at, path);
}

static const char help[] =
	"usage: quire run --memory SIZE [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
	"\n"
	"Runs PROGRAM with its memory-mapped files, or all its memory, paged by quire, under\n"
	"a budget.\n"
	"\n"
	"  --memory SIZE     RAM that what is taken over may use: 512M, 1G, 50%\n"
	"  --anon            take over large anonymous mappings, too\n"
	"  --heap            and what malloc() gives out, by way of jemalloc\n"
	"  --swap PATH       where anonymous memory goes that has no room: a directory, or\n"
	"                    a file that does not exist\n"
	"  --swap-size SIZE  how much of it (default 4 times --memory)\n"
	"  --min-size SIZE   leave smaller mappings to the kernel (default 1M)\n"
	"  --match GLOB      only files whose path matches; may be given several times\n"
	"  --policy NAME     what a fault holds while it waits: P0 to P4, or mmap, vma,\n"
	"                    hold, uptodate, folio\n"
	"  --opts K=V,...    options of quire_open(), see quire(3)\n"
	"  --stats           a summary on stderr when the program ends\n"
	"  --log FILE        say what is taken over; FILE may be a descriptor's number\n"
	"\n"
	"Exit code: the program's own; 125 quire failed, 126 PROGRAM cannot be executed,\n"
	"127 PROGRAM was not found. See quire-run(1).\n";

const struct command run_command = {
	.name = "run",
	.main = run_main,
	.summary = "run a program with its mapped memory under a budget",
	.help = help,
	.options = options,
	.usage = EXIT_QUIRE,
};
