/* SPDX-License-Identifier: MIT */
/* log.c - see log.h. */
#include "run/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run/real.h"

#define LINE_BYTES 512
#define EXIT_QUIRE 125

/* Our descriptors sit high, where no program counts on the number. */
#define FD_FLOOR 500

static int log_fd = -1;
static int stderr_fd = 2;

static int move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);

	return high >= 0 ? high : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int log_open(const char *where)
{
	char *end;
	long fd = strtol(where, &end, 10);
	int file;

	if (!*end && fd >= 0) {
		log_fd = move_up((int)fd);
		return log_fd < 0 ? -1 : 0;
	}
	file = REAL(open)(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (file < 0)
		return -1;
	log_fd = move_up(file);
	close(file);
	return log_fd < 0 ? -1 : 0;
}

void log_keep_stderr(void)
{
	int fd = move_up(2);

	if (fd >= 0)
		stderr_fd = fd;
}

static void emit(int fd, const char *prefix, const char *format, va_list ap)
{
	char line[LINE_BYTES];
	int saved = errno;
	int n = snprintf(line, sizeof(line), "%s", prefix);

	n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, ap);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	line[n++] = '\n';
	/* A log that cannot be written must not change what the program does. */
	if (syscall(SYS_write, fd, line, n) < 0)
		errno = saved;
	errno = saved;
}

void log_line(const char *format, ...)
{
	char prefix[32];
	va_list ap;

	if (log_fd < 0)
		return;
	snprintf(prefix, sizeof(prefix), "quire[%d]: ", (int)getpid());
	va_start(ap, format);
	emit(log_fd, prefix, format, ap);
	va_end(ap);
}

void log_stderr(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	emit(stderr_fd, "quire: ", format, ap);
	va_end(ap);
}

void log_die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	emit(stderr_fd, "quire: ", format, ap);
	va_end(ap);
	for (;;)
		syscall(SYS_exit_group, EXIT_QUIRE);
}
