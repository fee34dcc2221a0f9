/* SPDX-License-Identifier: MIT */
/*
 * size.h - sizes as people write them: 65536, 64K, 512M, 1.5G, 1T, 50%, max.
 *
 * Units are K M G T P, base 1024, either case; "B" and "iB" may follow them. A
 * percentage and "max" are of a total that the caller passes in.
 *
 *     uint64_t bytes;
 *     enum size_error e = size_parse("50%", total, &bytes);
 *     if (e)
 *             complain(size_error_text(e));
 *
 * Pure: no OS headers, no allocation, no locale. Every string either parses
 * completely or leaves *out alone.
 */
#ifndef QUIRE_BASE_SIZE_H
#define QUIRE_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

enum size_error {
	SIZE_OK = 0,
	SIZE_EMPTY,    /* no text */
	SIZE_NUMBER,   /* does not start with a number */
	SIZE_UNIT,     /* the number is followed by something that is no unit */
	SIZE_RANGE,    /* does not fit 64 bits, or more than 100 % */
	SIZE_NO_TOTAL, /* "50%" or "max" where there is nothing to take it of */
};

/* Long enough for any size_format(). */
#define SIZE_TEXT_MAX 24

/*
 * size_parse - bytes of text. total: what "100%" and "max" are, 0 if they make
 * no sense here. *out is set only when SIZE_OK is returned.
 */
enum size_error size_parse(const char *text, uint64_t total, uint64_t *out);

/* size_error_text - e as a clause: "has no unit that is known". */
const char *size_error_text(enum size_error e);

/*
 * size_format - bytes for people: "512M", "1.5G", "40K", "17". Three digits at
 * most, rounded down (a budget is never shown larger than it is). Returns buf.
 */
char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes);

#endif
