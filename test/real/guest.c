/* SPDX-License-Identifier: MIT */
/*
 * guest.c - a program that knows nothing of quire, for `quire run` to run.
 *
 *     guest TEST FILE
 *
 * FILE has 64 MiB; the 8 bytes at offset o hold o * 3 + 1. Ends with 0 and prints
 * "ok", or says what was wrong and ends with 1. Each test is what some real program
 * does: block all signals, have a SIGBUS handler, hand mapped memory to system
 * calls, fork.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN  (64UL << 20)
#define PAGE 4096UL

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #cond, errno,     \
			       strerror(errno));                                                   \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static const char *file;

static uint64_t word(uint64_t off)
{
	return off * 3 + 1;
}

static bool right(const void *p, size_t len, uint64_t off)
{
	const uint64_t *w = p;
	size_t i;

	for (i = 0; i < len / 8; i++)
		if (w[i] != word(off + i * 8))
			return false;
	return true;
}

static uint8_t *map(int prot, int flags)
{
	int fd = open(file, prot & PROT_WRITE && flags & MAP_SHARED ? O_RDWR : O_RDONLY);
	uint8_t *p;

	CHECK(fd >= 0);
	p = mmap(NULL, LEN, prot, flags, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(close(fd) == 0);
	return p;
}

static void test_read(void)
{
	uint8_t *p = map(PROT_READ, MAP_SHARED);
	uint8_t *c = map(PROT_READ, MAP_PRIVATE);

	CHECK(right(p, LEN, 0));
	CHECK(right(c, LEN, 0));
	CHECK(munmap(p, LEN) == 0);
}

/* The most that this process holds while it reads, in KiB, each page once. */
static void test_peak(void)
{
	uint8_t *p = map(PROT_READ, MAP_SHARED);
	long kib, most = 0;
	char line[256];
	size_t at;
	FILE *f;

	for (at = 0; at < 2 * LEN; at += 1UL << 20) {
		CHECK(right(p + at % LEN, 1UL << 20, at % LEN));
		f = fopen("/proc/self/smaps_rollup", "r");
		CHECK(f);
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "Pss: %ld", &kib) == 1 && kib > most)
				most = kib;
		fclose(f);
	}
	printf("peak %ld\n", most);
}

static void *blocked_thread(void *arg)
{
	uint8_t *p = arg;
	sigset_t all;
	struct sigaction sa = { .sa_handler = SIG_DFL };

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &all) == 0);
	/* The program sees what it set. */
	CHECK(sigismember(&all, SIGTERM) == 1);
	CHECK(sigismember(&all, SIGBUS) == 1);
	sa.sa_mask = all;
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(right(p, LEN, 0));
	return NULL;
}

static void test_blocked(void)
{
	uint8_t *p = map(PROT_READ, MAP_SHARED);
	pthread_t t[4];
	sigset_t all;
	int i, fd;

	sigfillset(&all);
	CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
	fd = signalfd(-1, &all, SFD_CLOEXEC);
	CHECK(fd >= 0);
	for (i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, blocked_thread, p) == 0);
	CHECK(right(p, LEN, 0));
	for (i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static volatile int bus_count;
static void *volatile bus_addr;
static sigjmp_buf bus_env;

static void bus(int sig, siginfo_t *info, void *uc)
{
	bus_count++;
	bus_addr = info->si_addr;
	siglongjmp(bus_env, 1);
}

static void test_sigbus(void)
{
	struct sigaction sa = { .sa_sigaction = bus, .sa_flags = SA_SIGINFO }, old;
	char name[] = "short-XXXXXX";
	int fd = mkstemp(name);
	uint8_t *p, *s;

	CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 2L << 20) == 0);
	CHECK(sigaction(SIGBUS, &sa, NULL) == 0);
	CHECK(sigaction(SIGBUS, NULL, &old) == 0);
	CHECK(old.sa_sigaction == bus);
	p = map(PROT_READ, MAP_SHARED);
	CHECK(right(p, LEN, 0));
	CHECK(bus_count == 0);
	/* Past the end of a file, managed or not, it is the program's. */
	s = mmap(NULL, 4UL << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(s != MAP_FAILED);
	s[0] = 1;
	if (sigsetjmp(bus_env, 1) == 0) {
		s[(3UL << 20) + 5] = 1;
		CHECK(!"no SIGBUS past the end");
	}
	CHECK(bus_count == 1);
	CHECK(bus_addr == s + (3UL << 20) + 5);
	CHECK(ftruncate(fd, 8192) == 0);
	if (sigsetjmp(bus_env, 1) == 0) {
		s[1UL << 20] = 1;
		CHECK(!"no SIGBUS after ftruncate");
	}
	CHECK(bus_count == 2);
	CHECK(right(p, LEN, 0));
	CHECK(bus_count == 2);
	CHECK(signal(SIGBUS, SIG_DFL) != SIG_ERR);
	CHECK(right(p, LEN, 0));
}

static void test_buffers(void)
{
	uint8_t *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE), *r = map(PROT_READ, MAP_SHARED);
	char name[] = "out-XXXXXX", *text;
	int out = mkstemp(name), in = open(file, O_RDONLY), s[2], i;
	uint8_t *buf = malloc(1 << 20);
	struct iovec v[2] = { { r + 5 * PAGE, PAGE }, { r + 9 * PAGE, PAGE } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	FILE *f;

	CHECK(out >= 0 && in >= 0 && buf && unlink(name) == 0);
	CHECK(write(out, r, 1 << 20) == 1 << 20);
	CHECK(pread(out, buf, 1 << 20, 0) == 1 << 20);
	CHECK(right(buf, 1 << 20, 0));
	CHECK(pwrite(out, r + 20 * PAGE, PAGE, 100 * PAGE) == (ssize_t)PAGE);
	CHECK(pread(out, buf, PAGE, 100 * PAGE) == (ssize_t)PAGE);
	CHECK(right(buf, PAGE, 20 * PAGE));
	/* Into managed memory: first writes, to pages that were not there. */
	CHECK(pread(in, p + 40 * PAGE, 10 * PAGE, 50 * PAGE) == (ssize_t)(10 * PAGE));
	CHECK(right(p + 40 * PAGE, 10 * PAGE, 50 * PAGE));
	CHECK(lseek(in, 3 * PAGE, SEEK_SET) == (off_t)(3 * PAGE));
	CHECK(read(in, p + 200 * PAGE, PAGE) == (ssize_t)PAGE);
	CHECK(right(p + 200 * PAGE, PAGE, 3 * PAGE));
	v[0].iov_base = p + 300 * PAGE;
	v[1].iov_base = p + 400 * PAGE;
	CHECK(preadv(in, v, 2, 0) == (ssize_t)(2 * PAGE));
	CHECK(right(p + 300 * PAGE, PAGE, 0) && right(p + 400 * PAGE, PAGE, PAGE));
	v[0].iov_base = r + 5 * PAGE;
	v[1].iov_base = r + 9 * PAGE;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(sendmsg(s[0], &m, 0) == (ssize_t)(2 * PAGE));
	CHECK(recv(s[1], p + 500 * PAGE, 2 * PAGE, MSG_WAITALL) == (ssize_t)(2 * PAGE));
	CHECK(right(p + 500 * PAGE, PAGE, 5 * PAGE) && right(p + 501 * PAGE, PAGE, 9 * PAGE));
	for (i = 0; i < 20; i++) {
		CHECK(send(s[0], r + (600 + (size_t)i) * PAGE, PAGE, 0) == (ssize_t)PAGE);
		CHECK(read(s[1], buf, PAGE) == (ssize_t)PAGE);
		CHECK(right(buf, PAGE, (600 + (uint64_t)i) * PAGE));
	}
	f = tmpfile();
	CHECK(f);
	CHECK(fwrite(r + 1000 * PAGE, PAGE, 100, f) == 100);
	rewind(f);
	CHECK(fread(p + 2000 * PAGE, PAGE, 100, f) == 100);
	CHECK(right(p + 2000 * PAGE, 100 * PAGE, 1000 * PAGE));
	fclose(f);
	/* A path in managed memory: many programs keep their names in a mapped file. */
	text = (char *)p + 3000 * PAGE;
	strcpy(text, file);
	i = open(text, O_RDONLY);
	CHECK(i >= 0);
	CHECK(right(p, 40 * PAGE, 0));
}

/* write() to a file that is mapped: one content. */
static void test_coherent(void)
{
	char name[] = "co-XXXXXX";
	int fd = mkstemp(name), i;
	size_t len = 24UL << 20;
	uint8_t *p, buf[100];
	struct stat st;

	CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, (off_t)len) == 0);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	for (i = 0; i < 200; i++) {
		size_t at = (size_t)i * 104729 % (len - 200);

		p[at] = (uint8_t)i;
		CHECK(pread(fd, buf, 1, (off_t)at) == 1 && buf[0] == (uint8_t)i);
		memset(buf, i + 1, sizeof(buf));
		CHECK(pwrite(fd, buf, sizeof(buf), (off_t)at) == sizeof(buf));
		CHECK(p[at] == (uint8_t)(i + 1) && p[at + 99] == (uint8_t)(i + 1));
		CHECK(lseek(fd, (off_t)at, SEEK_SET) == (off_t)at);
		CHECK(write(fd, "hello", 5) == 5);
		CHECK(memcmp(p + at, "hello", 5) == 0);
	}
	CHECK(ftruncate(fd, (off_t)len / 2) == 0);
	CHECK(ftruncate(fd, (off_t)len) == 0);
	for (i = 0; i < 100; i++)
		CHECK(p[len / 2 + (size_t)i * 50000] == 0);
	p[len - 1] = 9;
	CHECK(msync(p, len, MS_SYNC) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)len);
	CHECK(mprotect(p, len / 2, PROT_READ) == 0);
	CHECK(munmap(p + len / 4, len / 4) == 0);
	p = mremap(p, len / 4, len, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	CHECK(p[len - 1] == 9);
	CHECK(madvise(p, len, MADV_DONTNEED) == 0);
	CHECK(p[len - 1] == 9);
	CHECK(mincore(p, len, malloc(len / PAGE)) == 0);
}

static void test_fork(void)
{
	uint8_t *p = map(PROT_READ, MAP_SHARED);
	int i, status;

	for (i = 0; i < 10; i++) {
		pid_t pid;

		CHECK(right(p + (size_t)i * (4UL << 20), 4UL << 20, (uint64_t)i * (4UL << 20)));
		pid = fork();
		if (pid == 0) {
			if (i % 2)
				_exit(3);
			execlp("true", "true", (char *)NULL);
			_exit(9);
		}
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (i % 2 ? 3 : 0));
	}
	CHECK(system("test 1 = 1") == 0);
	CHECK(right(p, LEN, 0));
}

/* ---- anonymous memory, which has no file ---- */

static void fill(void *p, size_t len, uint64_t off)
{
	uint64_t *w = p;

	for (size_t i = 0; i < len / 8; i++)
		w[i] = word(off + i * 8);
}

static uint8_t *anonymous(size_t len)
{
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* What an allocator does with what it has mapped. */
static void test_anon(void)
{
	uint8_t *p = anonymous(LEN), *n, *parts;
	unsigned char vec[16];
	size_t at;

	fill(p, LEN, 0);
	CHECK(right(p, LEN, 0));
	CHECK(madvise(p + LEN / 2, LEN / 4, MADV_DONTNEED) == 0);
	for (at = LEN / 2; at < LEN / 4 * 3; at += PAGE)
		CHECK(p[at] == 0);
	fill(p + LEN / 2, LEN / 4, LEN / 2);
	CHECK(mprotect(p, LEN / 2, PROT_READ) == 0);
	CHECK(right(p, LEN, 0));
	CHECK(mprotect(p, LEN / 2, PROT_READ | PROT_WRITE) == 0);
	n = mremap(p, LEN, LEN + LEN / 2, MREMAP_MAYMOVE);
	CHECK(n != MAP_FAILED);
	CHECK(right(n, LEN, 0));
	fill(n + LEN, LEN / 2, LEN);
	CHECK(mremap(n, LEN + LEN / 2, LEN, 0) == n);
	CHECK(right(n, LEN, 0));
	CHECK(mincore(n, sizeof(vec) * PAGE, vec) == 0);
	/* A small part is given back and taken again, by mmap() over it. */
	CHECK(mmap(n + 16 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == n + 16 * PAGE);
	CHECK(n[16 * PAGE] == 0 && n[32 * PAGE - 1] == 0);
	CHECK(right(n, 16 * PAGE, 0) && right(n + 32 * PAGE, LEN - 32 * PAGE, 32 * PAGE));
	/* The middle and both ends go. */
	CHECK(munmap(n + LEN / 4, LEN / 4) == 0);
	CHECK(right(n + LEN / 2, LEN / 2, LEN / 2));
	CHECK(munmap(n, LEN) == 0);
	/* Executable, shared and small memory is not quire's, and works all the same. */
	parts = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(parts != MAP_FAILED);
	pid_t pid = fork();
	if (pid == 0) {
		parts[0] = 42;
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(parts[0] == 42);
	p = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(mprotect(p, 4 << 20, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	p[0] = 0xc3;
}

/* All kinds of calls on it, when most of it is in the swap store. */
static void test_anon_buffers(void)
{
	uint8_t *p = anonymous(LEN);
	struct stat *st = (struct stat *)(p + 5 * PAGE);
	char *path = (char *)(p + 9 * PAGE);
	struct pollfd *fds = (struct pollfd *)(p + 13 * PAGE);
	int fd = open("scratch", O_RDWR | O_CREAT | O_TRUNC, 0600), s[2];

	CHECK(fd >= 0);
	fill(p, LEN, 0);
	strcpy(path, "scratch");
	fill(p + LEN / 2, LEN / 2, LEN / 2); /* and path is far away */
	CHECK(stat(path, st) == 0);
	CHECK(S_ISREG(st->st_mode));
	fill(p + LEN / 2, LEN / 2, LEN / 2);
	CHECK(access(path, R_OK) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(write(s[0], p + LEN / 2, 100) == 100);
	fds->fd = s[1];
	fds->events = POLLIN;
	fill(p + LEN / 2, LEN / 2, LEN / 2);
	CHECK(poll(fds, 1, 1000) == 1);
	CHECK(fds->revents == POLLIN);
	CHECK(write(fd, p + LEN / 2, LEN / 2) == (ssize_t)(LEN / 2));
	memset(p + LEN / 2, 0, LEN / 2);
	CHECK(pread(fd, p + LEN / 2, LEN / 2, 0) == (ssize_t)(LEN / 2));
	CHECK(right(p + LEN / 2, LEN / 2, LEN / 2));
	CHECK(unlink(path) == 0);
}

/* A child of fork() runs without it; one of vfork(), and all programs, as ever. */
static void test_anon_fork(void)
{
	uint8_t *p = anonymous(LEN);
	int status;

	fill(p, LEN, 0);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			execlp("true", "true", (char *)NULL);
			_exit(9);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(system("exit 3") == 3 << 8);
		pid = vfork();
		if (pid == 0) {
			execlp("true", "true", (char *)NULL);
			_exit(9);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(right(p, LEN, 0));
	}
}

/* ---- the heap ---- */

#define BLOCKS 60000

static void *heap_thread(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1;
	uint8_t **blocks = calloc(BLOCKS, sizeof(*blocks));
	size_t *size = calloc(BLOCKS, sizeof(*size));

	CHECK(blocks && size);
	for (int round = 0; round < 3; round++) {
		for (size_t i = (size_t)round; i < BLOCKS; i += 1 + (size_t)round) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			if (blocks[i]) {
				CHECK(right(blocks[i], size[i], i * 8192));
				CHECK(malloc_usable_size(blocks[i]) >= size[i]);
			}
			size[i] = (seed >> 40) % 128 * 8;
			blocks[i] = realloc(blocks[i], size[i] + 1);
			CHECK(blocks[i]);
			fill(blocks[i], size[i], i * 8192);
		}
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		CHECK(right(blocks[i], size[i], i * 8192));
		free(blocks[i]);
	}
	free(blocks);
	free(size);
	return NULL;
}

/* Of the heap: stdio, directories, threads, programs; what libc allocates for itself. */
static void test_heap(void)
{
	pthread_t t[2];
	char line[256], *copy = NULL;
	size_t n = 0;
	void *aligned;

	for (uintptr_t i = 0; i < 2; i++)
		CHECK(pthread_create(&t[i], NULL, heap_thread, (void *)i) == 0);
	for (int i = 0; i < 20; i++) {
		FILE *f = fopen("/etc/passwd", "r");
		DIR *d = opendir("/etc");

		CHECK(f && d);
		CHECK(fgets(line, sizeof(line), f));
		CHECK(getline(&copy, &n, f) > 0);
		CHECK(readdir(d));
		fclose(f);
		closedir(d);
		f = popen("echo heap", "r");
		CHECK(f && fgets(line, sizeof(line), f) && !strcmp(line, "heap\n"));
		CHECK(pclose(f) == 0);
		CHECK(system("exit 3") == 3 << 8);
	}
	free(copy);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(posix_memalign(&aligned, 65536, 100000) == 0);
	CHECK((uintptr_t)aligned % 65536 == 0);
	memset(aligned, 1, 100000);
	free(aligned);
	copy = strdup("libc's own");
	copy = realloc(copy, 100000);
	CHECK(copy && !strcmp(copy, "libc's own"));
	free(copy);
	free(NULL);
}

/* A child would have no heap: it is not made. */
static void test_heap_fork(void)
{
	CHECK(fork() == -1 && errno == ENOMEM);
	CHECK(system("true") == 0);
}

static void test_exit7(void)
{
	exit(7);
}

static void test_term(void)
{
	raise(SIGTERM);
}

/* Ready, and alive until told otherwise: for `quire stat`. */
static void test_wait(void)
{
	uint8_t *p = map(PROT_READ, MAP_SHARED);
	char c;

	CHECK(right(p, LEN, 0));
	printf("ready\n");
	fflush(stdout);
	CHECK(read(0, &c, 1) >= 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{ "read", test_read },           { "peak", test_peak },
		{ "blocked", test_blocked },     { "sigbus", test_sigbus },
		{ "buffers", test_buffers },     { "coherent", test_coherent },
		{ "fork", test_fork },           { "exit7", test_exit7 },
		{ "term", test_term },           { "wait", test_wait },
		{ "anon", test_anon },           { "anon-buffers", test_anon_buffers },
		{ "anon-fork", test_anon_fork }, { "heap", test_heap },
		{ "heap-fork", test_heap_fork },
	};
	size_t i;

	if (argc < 2)
		return 2;
	file = argc > 2 ? argv[2] : "";
	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (strcmp(tests[i].name, argv[1]) == 0) {
			tests[i].run();
			printf("ok\n");
			return 0;
		}
	}
	return 2;
}
