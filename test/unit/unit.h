/* SPDX-License-Identifier: MIT */
/*
 * unit.h - cmocka and what it wants before it, in the order it wants it.
 *
 * Unit tests run in one process: a crash ends the file, and counts as failed.
 */
#ifndef QUIRE_TEST_UNIT_H
#define QUIRE_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* xorshift: the same numbers every time. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
