/* SPDX-License-Identifier: MIT */
/* error.c - the sentence behind an errno, for each thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/quire.h"

static _Thread_local char sentence[256];

int fail(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	errno = error;
	return -1;
}

const char *quire_error(void)
{
	return sentence;
}

const char *quire_version(void)
{
	return QUIRE_VERSION;
}
