/* SPDX-License-Identifier: MIT */
/*
 * ram.h - how much memory a process may have: what "50%" of a budget is of.
 *
 * That is the machine's RAM, or the smallest limit of the memory cgroups the
 * process is in (v1 or v2, and all of their parents) when one is smaller.
 *
 * Only open, read and sysinfo: it also runs inside a program that has just
 * started. Every file that cannot be read counts as "no limit".
 */
#ifndef QUIRE_RUN_RAM_H
#define QUIRE_RUN_RAM_H

#include <stdint.h>

struct ram {
	uint64_t physical; /* bytes of RAM */
	uint64_t cgroup;   /* the smallest limit in bytes, 0 if there is none */
	int version;       /* of the cgroup tree that has it: 1, 2 or 0 */
};

void ram_read(struct ram *r);

/* ram_total - the smaller of the two, in bytes. */
uint64_t ram_total(const struct ram *r);

#endif
