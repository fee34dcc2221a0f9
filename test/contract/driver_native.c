/* SPDX-License-Identifier: MIT */
/*
 * driver_native.c - contract tests on the real machine: a test is called, a touch is a
 * load or store, and its fault comes back through the SIGBUS handler of rt/native.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver.h"
#include "rt/native/anon.h"
#include "rt/native/sigbus.h"

#define TEST_SECONDS 120

static char *reason;
static size_t reason_bytes;
static sigjmp_buf leave;
static long main_thread;
static bool without_move;

/* The touch that this thread is about to make. */
static _Thread_local struct {
	sigjmp_buf out;
	volatile uint64_t addr;
	volatile bool write, is_on;
} trial;

long driver_self(void)
{
	return syscall(SYS_gettid);
}

unsigned driver_rounds(unsigned native)
{
	return native;
}

void driver_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (driver_self() != main_thread) {
		/* No way out of another thread: the whole file has failed. */
		fprintf(stderr, "%s:%d: %s\n", base ? base + 1 : file, line, text);
		abort();
	}
	snprintf(reason, reason_bytes, "%s:%d: %s", base ? base + 1 : file, line, text);
	siglongjmp(leave, CONTRACT_FAILED);
}

void driver_skip(const char *why)
{
	snprintf(reason, reason_bytes, "%s", why);
	siglongjmp(leave, CONTRACT_SKIPPED);
}

/* --- touches ----------------------------------------------------------------------- */

static enum rt_fault_verdict on_fault(uintptr_t addr, bool write)
{
	if (!trial.is_on || addr != trial.addr || write != trial.write)
		return RT_FAULT_FOREIGN;
	trial.is_on = false;
	siglongjmp(trial.out, TOUCH_FAULT);
}

static void on_segv(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (trial.is_on && (uintptr_t)info->si_addr == trial.addr) {
		trial.is_on = false;
		siglongjmp(trial.out, TOUCH_SEGV);
	}
	signal(sig, SIG_DFL);
}

enum touch driver_touch(uint64_t addr, unsigned word, bool write, uint64_t *value)
{
	volatile uint64_t *p = (void *)(uintptr_t)(addr + word * (RT_PAGE / WORDS));
	sigset_t faults;
	int how;

	/* A thread of rt_thread_start() has every signal blocked: it is no program's. */
	sigemptyset(&faults);
	sigaddset(&faults, SIGBUS);
	sigaddset(&faults, SIGSEGV);
	pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
	trial.addr = (uintptr_t)p;
	trial.write = write;
	how = sigsetjmp(trial.out, 1);
	if (how == 0) {
		trial.is_on = true;
		if (write)
			*p = *value;
		else
			*value = *p;
		trial.is_on = false;
	}
	return (enum touch)how;
}

/* --- files -------------------------------------------------------------------------- */

static int files[8];
static unsigned files_open;

uint64_t driver_file_word(uint64_t page, unsigned word)
{
	return 0xf00d000000ull | page << 4 | word;
}

int driver_file(uint64_t bytes)
{
	const char *dir = getenv("TMPDIR");
	char path[256];

	snprintf(path, sizeof(path), "%s/quire-contract-XXXXXX", dir ? dir : "/tmp");
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CHECK(files_open < sizeof(files) / sizeof(files[0]));
	files[files_open++] = fd;
	unlink(path);
	CHECK_IS(ftruncate(fd, (off_t)bytes), 0);
	for (uint64_t p = 0; PAGES(p) < bytes; p++)
		for (unsigned k = 0; k < WORDS; k++) {
			uint64_t v = driver_file_word(p, k), at = PAGES(p) + k * (RT_PAGE / WORDS);
			if (at < bytes)
				CHECK_IS(pwrite(fd, &v, sizeof(v), (off_t)at), sizeof(v));
		}
	return fd;
}

/* --- running --------------------------------------------------------------------------- */

/* cmocka puts handlers of its own there around each test: ours are in its place meanwhile. */
static void swap_handlers(struct sigaction old[2])
{
	static struct sigaction bus, segv;

	if (!main_thread) {
		main_thread = driver_self();
		rt_signal_open(on_fault);
		sigaction(SIGBUS, NULL, &bus);
		segv.sa_sigaction = on_segv;
		segv.sa_flags = SA_SIGINFO | SA_NODEFER;
	}
	sigaction(SIGBUS, &bus, &old[0]);
	sigaction(SIGSEGV, &segv, &old[1]);
}

void driver_mmu(struct rt_mmu *mmu)
{
	if (without_move)
		rt_mmu_without_move(mmu);
}

enum contract_result driver_run(const struct contract_test *t, const char *noun, char *why,
				size_t n)
{
	struct sigaction old[2];

	swap_handlers(old);
	without_move = strncmp(noun, WITHOUT_MOVE, strlen(WITHOUT_MOVE)) == 0;
	reason = why;
	reason_bytes = n;
	alarm(TEST_SECONDS); /* a test that hangs ends the file */
	int how = sigsetjmp(leave, 1);
	if (how == 0)
		t->run();
	alarm(0);
	sigaction(SIGBUS, &old[0], NULL);
	sigaction(SIGSEGV, &old[1], NULL);
	while (files_open > 0)
		close(files[--files_open]);
	return (enum contract_result)how;
}
