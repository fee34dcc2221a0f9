/* SPDX-License-Identifier: MIT */
/*
 * harness.c - see harness.h. The parent here does nothing that a test could
 * break: it forks, waits with a limit, prints and removes.
 */
#include "harness.h"

#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* A test that takes longer hangs: the slowest takes a few seconds under ASan. */
static int test_seconds_max = 120;

/* ---- one test, one process ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void dir_remove(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void dir_make(char *path, size_t size)
{
	const char *base = getenv("QUIRE_TEST_DIR");

	if (!base)
		base = getenv("TMPDIR");
	if (!base)
		base = "/tmp";
	snprintf(path, size, "%s/quire-test-XXXXXX", base);
	if (!mkdtemp(path)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
}

/* cmocka's group of one: its asserts, its setup, its messages. */
static int test_run_here(const struct CMUnitTest *test)
{
	return _cmocka_run_group_tests(test->name, test, 1, NULL, NULL);
}

/* What a hanging process waits for; best effort, the test has failed already. */
static void hang_dump(pid_t pid)
{
	char cmd[512];

	fprintf(stderr, "no end after %d s; threads of %d:\n", test_seconds_max, (int)pid);
	snprintf(cmd, sizeof(cmd),
		 "for t in /proc/%d/task/*; do echo \"${t##*/} $(cat $t/comm) "
		 "$(cat $t/wchan) $(cat $t/syscall)\"; done >&2 2>/dev/null; "
		 "command -v gdb >/dev/null && timeout 60 gdb -p %d -batch "
		 "-ex 'thread apply all bt 12' 2>/dev/null | grep -E '^(Thread|#)' >&2",
		 (int)pid, (int)pid);
	if (system(cmd) != 0)
		fprintf(stderr, "(no more to see: gdb is not there or may not attach)\n");
}

static void print_comment(FILE *f)
{
	char line[4096];

	rewind(f);
	while (fgets(line, sizeof(line), f))
		printf("# %s%s", line, strchr(line, '\n') ? "" : "\n");
}

/* The reason a skipped test gave, or "". */
static void skip_reason(FILE *f, char *reason, size_t size)
{
	char line[4096];

	reason[0] = '\0';
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "SKIP ", 5) == 0) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(reason, size, "%s", line + 5);
		}
	}
}

static bool wait_limited(pid_t pid, int *status)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool ended = fd < 0 || poll(&p, 1, test_seconds_max * 1000) == 1;

	if (!ended)
		hang_dump(pid);
	kill(-pid, SIGKILL);
	waitpid(pid, status, 0);
	if (fd >= 0)
		close(fd);
	return ended;
}

/* Returns true when it did not fail. */
static bool test_run(const struct CMUnitTest *test, int number)
{
	char dir[4096], reason[4096];
	FILE *out = tmpfile();
	bool ended, failed, skipped;
	int status = 0;
	pid_t pid;

	if (!out) {
		perror("tmpfile");
		exit(2);
	}
	dir_make(dir, sizeof(dir));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* A group of its own, so that all it starts ends with it. */
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fileno(out), 1);
		dup2(fileno(out), 2);
		if (chdir(dir) != 0)
			_exit(2);
		status = test_run_here(test);
		fflush(NULL);
#ifdef HARNESS_COUNTS /* a build that counts branches writes what it counted at exit(3) */
		if (status == 0)
			exit(0);
#endif
		/* Not exit(): a quire left open by a failed assert is not closed. */
		_exit(status == 0 ? 0 : 1);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	setpgid(pid, pid);
	ended = wait_limited(pid, &status);
	dir_remove(dir);

	skip_reason(out, reason, sizeof(reason));
	failed = !ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	skipped = !failed && reason[0];
	if (skipped)
		printf("ok %d - %s # SKIP %s\n", number, test->name, reason);
	else
		printf("%sok %d - %s\n", failed ? "not " : "", number, test->name);
	if (failed) {
		print_comment(out);
		if (!ended)
			printf("# hang: killed after %d s\n", test_seconds_max);
		else if (WIFSIGNALED(status))
			printf("# killed by signal %d (%s)\n", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	}
	fflush(stdout);
	fclose(out);
	return !failed;
}

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc <= 1;
}

int h_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv)
{
	const char *alone = getenv("QUIRE_TEST_FORK");
	const char *seconds = getenv("QUIRE_TEST_SECONDS");
	bool here = alone && strcmp(alone, "0") == 0;
	int number = 0, failed = 0;
	size_t i;

	if (seconds)
		test_seconds_max = atoi(seconds);
	for (i = 0; i < n; i++)
		number += wanted(tests[i].name, argc, argv);
	if (here) {
		char dir[4096];

		dir_make(dir, sizeof(dir));
		if (chdir(dir) != 0)
			return 2;
		for (i = 0; i < n; i++)
			if (wanted(tests[i].name, argc, argv))
				failed += test_run_here(&tests[i]) != 0;
		dir_remove(dir);
		return failed != 0;
	}
	printf("1..%d\n", number);
	number = 0;
	for (i = 0; i < n; i++)
		if (wanted(tests[i].name, argc, argv))
			failed += !test_run(&tests[i], ++number);
	return failed != 0;
}

void h_die(const char *file, int line, const char *what)
{
	int err = errno;

	fprintf(stderr, "%s:%d: %s (errno %d, %s; quire: %s)\n", file, line, what, err,
		strerror(err), quire_error());
	abort();
}

void h_ok(long result, const char *call, const char *file, int line)
{
	if (result != -1)
		return;
	print_error("%s: errno %d, %s; quire: %s\n", call, errno, strerror(errno), quire_error());
	_fail(file, line);
}

/* ---- a quire ---- */

const char *h_retry(void)
{
	const char *retry = getenv("QUIRE_TEST_RETRY");

	return retry && retry[0] ? retry : NULL;
}

struct quire *h_open(uint64_t memory, const char *opts)
{
	char all[256];
	struct quire_options o = { .size = sizeof(o), .memory = memory };
	const char *retry = h_retry(), *more = getenv("QUIRE_TEST_OPTS");
	struct quire *q;

	snprintf(all, sizeof(all), "%s%s%s%s%s%s", retry ? "retry=" : "", retry ? retry : "",
		 retry && (opts || more) ? "," : "", more ? more : "", more && opts ? "," : "",
		 opts ? opts : "");
	o.opts = all[0] ? all : NULL;
	q = quire_open(&o);
	if (!q) {
		print_error("quire_open: errno %d, %s\n", errno, quire_error());
		fail();
	}
	return q;
}

void *h_map(struct quire *q, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p = quire_mmap(q, NULL, len, prot, flags, fd, off);

	if (p == MAP_FAILED) {
		print_error("quire_mmap: errno %d, %s\n", errno, quire_error());
		fail();
	}
	return p;
}

struct quire_stats h_stats(struct quire *q)
{
	struct quire_stats s = { .size = sizeof(s) };

	assert_ok(quire_stats(q, &s));
	return s;
}

void h_msync_healed(struct quire *q, void *p, size_t len, int error)
{
	if (quire_msync(q, p, len, MS_SYNC) == 0)
		return;
	assert_int_equal(errno, error);
	assert_ok(quire_msync(q, p, len, MS_SYNC));
}

/* ---- the pattern ---- */

uint64_t h_word(uint64_t seed, uint64_t offset)
{
	uint64_t x = (offset / 8 + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;

	x ^= x >> 31;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 29;
}

uint8_t h_byte(uint64_t seed, uint64_t offset)
{
	return (uint8_t)(h_word(seed, offset & ~7UL) >> (offset % 8 * 8));
}

void h_fill(void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	uint8_t *p = buf;
	size_t i = 0;

	for (; i < len && (offset + i) % 8; i++)
		p[i] = h_byte(seed, offset + i);
	for (; i + 8 <= len; i += 8) {
		uint64_t w = h_word(seed, offset + i);

		memcpy(p + i, &w, 8);
	}
	for (; i < len; i++)
		p[i] = h_byte(seed, offset + i);
}

ssize_t h_differs(const void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	const uint8_t *p = buf;
	size_t i = 0;

	while (i < len) {
		if ((offset + i) % 8 == 0 && i + 8 <= len) {
			uint64_t w;

			memcpy(&w, p + i, 8);
			if (w == h_word(seed, offset + i)) {
				i += 8;
				continue;
			}
		}
		if (p[i] != h_byte(seed, offset + i))
			return (ssize_t)i;
		i++;
	}
	return -1;
}

ssize_t h_not_all(const void *p, size_t len, int c)
{
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i < len; i++)
		if (b[i] != (uint8_t)c)
			return (ssize_t)i;
	return -1;
}

int h_sparse(const char *name, size_t len)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_ok(fd);
	assert_ok(ftruncate(fd, (off_t)len));
	return fd;
}

int h_file(const char *name, size_t len, uint64_t seed)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static uint8_t buf[64 * KIB];
	size_t off, n;

	assert_ok(fd);
	for (off = 0; off < len; off += n) {
		n = len - off < sizeof(buf) ? len - off : sizeof(buf);
		h_fill(buf, n, seed, off);
		assert_int_equal(pwrite(fd, buf, n, (off_t)off), n);
	}
	return fd;
}

void h_file_read(int fd, void *buf, size_t len, off_t off)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);
		assert_true(n > 0);
	}
}

ssize_t h_file_differs(int fd, size_t len, uint64_t seed, off_t off)
{
	static uint8_t buf[64 * KIB];
	size_t done, n;
	ssize_t at;

	for (done = 0; done < len; done += n) {
		n = len - done < sizeof(buf) ? len - done : sizeof(buf);
		h_file_read(fd, buf, n, off + (off_t)done);
		at = h_differs(buf, n, seed, (uint64_t)off + done);
		if (at >= 0)
			return (ssize_t)done + at;
	}
	return -1;
}

/* ---- accesses that may fail ---- */

__thread void *volatile h_fault_addr;
__thread volatile int h_fault_code;
static __thread sigjmp_buf access_env;
static __thread volatile sig_atomic_t access_armed;

static void access_failed(int sig, siginfo_t *info, void *uc)
{
	if (!access_armed) {
		static const char msg[] = "a signal outside h_read() and h_write()\n";

		if (write(2, msg, sizeof(msg) - 1) < 0)
			_exit(3);
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	access_armed = 0;
	h_fault_addr = info->si_addr;
	h_fault_code = info->si_code;
	siglongjmp(access_env, sig);
}

void h_catch(void)
{
	struct sigaction sa = { .sa_sigaction = access_failed, .sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	assert_ok(quire_sigaction(SIGBUS, &sa, NULL));
	assert_ok(sigaction(SIGSEGV, &sa, NULL));
}

int h_read(const volatile void *p, uint8_t *value)
{
	int sig;

	h_fault_addr = NULL;
	sig = sigsetjmp(access_env, 1);
	if (sig)
		return sig;
	access_armed = 1;
	*value = *(const volatile uint8_t *)p;
	access_armed = 0;
	return 0;
}

int h_write(volatile void *p, uint8_t value)
{
	int sig;

	h_fault_addr = NULL;
	sig = sigsetjmp(access_env, 1);
	if (sig)
		return sig;
	access_armed = 1;
	*(volatile uint8_t *)p = value;
	access_armed = 0;
	return 0;
}

/* ---- a store that fails on command ---- */

static int store_fails(struct h_store *s, int error, uint64_t offset, size_t len)
{
	uint64_t from = s->fail_from, to = s->fail_to;
	int left;

	if (!error || (to && (offset >= to || offset + len <= from)))
		return 0;
	left = s->fail_count;
	if (left > 0 && --s->fail_count == 0) {
		s->read_error = 0;
		s->write_error = 0;
	}
	return error;
}

static ssize_t store_read(void *ctx, void *buf, size_t len, uint64_t offset)
{
	struct h_store *s = ctx;
	int error = store_fails(s, s->read_error, offset, len);

	if (s->delay_us)
		usleep((useconds_t)s->delay_us);
	if (error) {
		s->read_fails++;
		return -error;
	}
	s->reads++;
	if (offset >= s->length)
		return 0;
	if (len > s->length - offset)
		len = s->length - offset;
	memcpy(buf, s->data + offset, len);
	s->read_bytes += len;
	return (ssize_t)len;
}

static ssize_t store_write(void *ctx, const void *buf, size_t len, uint64_t offset)
{
	struct h_store *s = ctx;
	int error = store_fails(s, s->write_error, offset, len);

	if (error) {
		s->write_fails++;
		return -error;
	}
	s->writes++;
	if (offset < s->length)
		memcpy(s->data + offset, buf, len < s->length - offset ? len : s->length - offset);
	return (ssize_t)len;
}

static int store_sync(void *ctx)
{
	struct h_store *s = ctx;

	if (s->sync_error)
		return -s->sync_error;
	s->syncs++;
	return 0;
}

const struct quire_store_ops h_store_ops = {
	.size = sizeof(h_store_ops),
	.read = store_read,
	.write = store_write,
	.sync = store_sync,
};

struct h_store *h_store_new(uint64_t length, uint64_t seed)
{
	struct h_store *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->length = length;
	s->data = malloc(length);
	assert_non_null(s->data);
	h_fill(s->data, length, seed, 0);
	return s;
}

void *h_map_store(struct quire *q, size_t len, int prot, int flags, struct h_store *s)
{
	void *p = quire_mmap_store(q, NULL, len, prot, flags, &h_store_ops, s, s->length, 0);

	if (p == MAP_FAILED) {
		print_error("quire_mmap_store: errno %d, %s\n", errno, quire_error());
		fail();
	}
	return p;
}

/* ---- mounts ---- */

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

bool h_mounts_alone(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (uid == 0) {
		if (unshare(CLONE_NEWNS) != 0)
			return false;
	} else {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
			return false;
		snprintf(map, sizeof(map), "0 %d 1", (int)uid);
		if (!write_text("/proc/self/setgroups", "deny") ||
		    !write_text("/proc/self/uid_map", map))
			return false;
		snprintf(map, sizeof(map), "0 %d 1", (int)gid);
		if (!write_text("/proc/self/gid_map", map))
			return false;
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

bool h_mount_tmpfs(const char *dir, const char *opts)
{
	return mkdir(dir, 0700) == 0 && h_mounts_alone() &&
	       mount("none", dir, "tmpfs", 0, opts) == 0;
}

/* ---- rest ---- */

uint64_t h_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

bool h_sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
	return true;
#else
	return false;
#endif
}

void h_sleep_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L };

	while (nanosleep(&t, &t) != 0)
		;
}
