/* SPDX-License-Identifier: MIT */
/*
 * size.c - see size.h.
 *
 * A number is kept as whole + milli/1000, so that "1.5G" is exact and nothing
 * here needs floating point.
 */
#include "base/size.h"

#include <stdbool.h>
#include <string.h>

struct number {
	uint64_t whole;
	uint32_t milli; /* thousandths; further digits are cut off */
};

static const char units[] = "KMGTP";

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Reads a number; returns what follows it, NULL when there is none. */
static const char *parse_number(const char *s, struct number *n, bool *overflow)
{
	uint32_t weight = 100;

	*n = (struct number){ 0 };
	*overflow = false;
	if (!is_digit(*s))
		return NULL;
	for (; is_digit(*s); s++) {
		if (__builtin_mul_overflow(n->whole, 10, &n->whole) ||
		    __builtin_add_overflow(n->whole, (uint64_t)(*s - '0'), &n->whole))
			*overflow = true;
	}
	if (*s != '.')
		return s;
	if (!is_digit(*++s))
		return NULL;
	for (; is_digit(*s); s++) {
		n->milli += weight * (uint32_t)(*s - '0');
		weight /= 10;
	}
	return s;
}

/* Reads "", "B", "K", "KB" or "KiB"; returns the shift, -1 when it is neither. */
static int parse_unit(const char *s)
{
	const char *u = upper(*s) ? strchr(units, upper(*s)) : NULL;
	int shift = 0;

	if (u) {
		shift = 10 * (int)(u - units + 1);
		s++;
		if (s[0] == 'i' && upper(s[1]) == 'B')
			s++;
	}
	if (upper(*s) == 'B')
		s++;
	return *s ? -1 : shift;
}

/* whole * 2^shift + milli * 2^shift / 1000 */
static enum size_error scale(struct number n, int shift, uint64_t *out)
{
	uint64_t part, sum;

	if (shift && n.whole > UINT64_MAX >> shift)
		return SIZE_RANGE;
	/* 999 << 50 fits in 60 bits. */
	part = ((uint64_t)n.milli << shift) / 1000;
	if (__builtin_add_overflow(n.whole << shift, part, &sum))
		return SIZE_RANGE;
	*out = sum;
	return SIZE_OK;
}

static enum size_error percent(struct number n, uint64_t total, uint64_t *out)
{
	uint64_t parts = n.whole * 1000 + n.milli; /* of 100000 */

	if (n.whole > 100 || parts > 100000)
		return SIZE_RANGE;
	if (!total)
		return SIZE_NO_TOTAL;
	*out = total / 100000 * parts + total % 100000 * parts / 100000;
	return SIZE_OK;
}

enum size_error size_parse(const char *text, uint64_t total, uint64_t *out)
{
	struct number n;
	const char *rest;
	bool overflow;
	int shift;

	if (!text || !*text)
		return SIZE_EMPTY;
	if (!strcmp(text, "max")) {
		if (!total)
			return SIZE_NO_TOTAL;
		*out = total;
		return SIZE_OK;
	}
	rest = parse_number(text, &n, &overflow);
	if (!rest)
		return SIZE_NUMBER;
	if (!strcmp(rest, "%"))
		return overflow ? SIZE_RANGE : percent(n, total, out);
	shift = parse_unit(rest);
	if (shift < 0)
		return SIZE_UNIT;
	return overflow ? SIZE_RANGE : scale(n, shift, out);
}

const char *size_error_text(enum size_error e)
{
	switch (e) {
	case SIZE_OK:
		return "is a size";
	case SIZE_EMPTY:
		return "is empty";
	case SIZE_NUMBER:
		return "is not a number (write 512M, 1G or 50%)";
	case SIZE_UNIT:
		return "has an unknown unit (known: K, M, G, T, P, %)";
	case SIZE_RANGE:
		return "is out of range";
	case SIZE_NO_TOTAL:
		return "needs a size in bytes here";
	}
	return "is not a size";
}

static char *put_number(char *p, uint64_t v)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n)
		*p++ = digits[--n];
	return p;
}

char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes)
{
	uint64_t whole = bytes;
	uint64_t tenth;
	char *p = buf;
	int unit = 0;

	while (whole >= 1024 && units[unit]) {
		whole >>= 10;
		unit++;
	}
	p = put_number(p, whole);
	/* A fraction only where it says something: "1.5G", not "512.3M". */
	tenth = unit ? ((bytes >> (10 * (unit - 1))) & 1023) * 10 / 1024 : 0;
	if (tenth && whole < 100) {
		*p++ = '.';
		*p++ = (char)('0' + tenth);
	}
	if (unit)
		*p++ = units[unit - 1];
	*p = '\0';
	return buf;
}
