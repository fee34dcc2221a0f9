/* SPDX-License-Identifier: MIT */
/*
 * exit.c - the ways in which a program ends or becomes another.
 *
 * With the kernel's mappings nothing is lost then: dirty pages are the page
 * cache's. Quire's end with the process, so they are written back first. What
 * exit(3) does is in gate.c's destructor; here are those that skip it. A signal
 * that kills the process is not among them (libquire(7)).
 *
 * exec: the next program inherits the environment, and with it a budget of its
 * own. libc's execl() and execvp() call execve() inside, past a wrapper, so each
 * of the seven has one. In a vfork() child gate_flush() does nothing.
 */
#include <alloca.h>
#include <errno.h>
#include <stdarg.h>

#include "run/gate.h"
#include "run/mask.h"
#include "run/real.h"

extern char **environ;

static void leave(void)
{
	gate_flush();
	gate_summary();
}

WRAP void _exit(int status)
{
	leave();
	REAL(_exit)(status);
	__builtin_unreachable();
}
WRAP void _Exit(int status) __attribute__((alias("_exit"), noreturn));

/* Registered first, so it runs last, after the program's own. */
static void __attribute__((constructor)) watch_quick_exit(void)
{
	at_quick_exit(leave);
}

static void become(void)
{
	gate_flush();
	mask_hand_on();
}

static int stayed(void)
{
	mask_take_back();
	return -1;
}

WRAP int execve(const char *path, char *const argv[], char *const env[])
{
	become();
	REAL(execve)(path, argv, env);
	return stayed();
}

WRAP int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

WRAP int execvpe(const char *file, char *const argv[], char *const env[])
{
	become();
	REAL(execvpe)(file, argv, env);
	return stayed();
}

WRAP int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

WRAP int fexecve(int fd, char *const argv[], char *const env[])
{
	become();
	REAL(fexecve)(fd, argv, env);
	return stayed();
}

WRAP int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	become();
	REAL(execveat)(dir, path, argv, env, flags);
	return stayed();
}

/* Number of arguments up to the NULL, which is counted too. */
static size_t count_args(va_list ap)
{
	size_t n = 1;

	while (va_arg(ap, char *))
		n++;
	return n;
}

/*
 * The list calls. In a vfork() child the stack is all that may be used, so the
 * vector is there, as in libc. A macro, because alloca() is the caller's.
 */
#define LIST_TO_VECTOR(argv, first)                                                                \
	do {                                                                                       \
		va_list count_ap_;                                                                 \
		size_t n_;                                                                         \
		va_start(ap, first);                                                               \
		va_copy(count_ap_, ap);                                                            \
		n_ = count_args(count_ap_);                                                        \
		va_end(count_ap_);                                                                 \
		argv = alloca((n_ + 1) * sizeof(*argv));                                           \
		argv[0] = (char *)(uintptr_t)(first);                                              \
		for (size_t i_ = 1; i_ <= n_; i_++)                                                \
			argv[i_] = va_arg(ap, char *);                                             \
	} while (0)

WRAP int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	LIST_TO_VECTOR(argv, arg);
	va_end(ap);
	return execve(path, argv, environ);
}

WRAP int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	LIST_TO_VECTOR(argv, arg);
	va_end(ap);
	return execvpe(file, argv, environ);
}

WRAP int execle(const char *path, const char *arg, ...)
{
	char **argv, **env;
	va_list ap;

	LIST_TO_VECTOR(argv, arg);
	/* The environment follows the NULL. */
	env = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, env);
}
