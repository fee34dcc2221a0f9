/* SPDX-License-Identifier: MIT */
/*
 * log.h - the few lines that `quire run` ever writes.
 *
 * Silent until log_open(). Lines are formatted on the stack and leave in one
 * bare write(2): no stdio, no malloc, safe inside any wrapper.
 */
#ifndef QUIRE_RUN_LOG_H
#define QUIRE_RUN_LOG_H

/*
 * log_open - where: a descriptor's number or a path (made when missing, written
 * at its end). Returns 0, or -1 with errno.
 */
int log_open(const char *where);

/* log_line - "quire[PID]: ..." to the log, nothing when there is none. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* log_keep_stderr - remember fd 2, because programs close it before they exit. */
void log_keep_stderr(void);

/* log_stderr - "quire: ..." on stderr. */
void log_stderr(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* log_die - log_stderr(), then end the process at once with exit code 125. */
void log_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
