/* SPDX-License-Identifier: MIT */
/*
 * statpage.h - the page through which another process reads live counters.
 *
 * Every quire keeps one memfd named "quire-stats" open (so /proc/PID/fd has a
 * link to "/memfd:quire-stats (deleted)"), whose first bytes are this. The pager
 * writes it every 100 ms while counters change; a reader maps it read-only.
 *
 * Writer: seq odd, fields, seq even. Reader: retry while seq is odd or changed.
 */
#ifndef QUIRE_API_STATPAGE_H
#define QUIRE_API_STATPAGE_H

#include <stdint.h>

#include "quire/quire.h"

#define STATPAGE_NAME  "quire-stats"
#define STATPAGE_MAGIC 0x3154415445495551ull /* "QUIETAT1" */
#define STATPAGE_BYTES 4096

struct statpage {
	uint64_t magic;
	uint32_t pid;
	uint32_t version; /* 1 */
	uint64_t seq;
	uint64_t updated_ns; /* CLOCK_MONOTONIC */
	struct quire_stats stats;
};

#endif
