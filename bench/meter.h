/* SPDX-License-Identifier: MIT */
/*
 * meter.h - what this process costs the machine: memory, device bytes, CPU.
 *
 * Memory is what the process's memory cgroup is charged, read every 10 ms by a
 * thread of its own. Without a cgroup it is the process's private and file
 * pages (PSS) plus the blocks of its memfds, whether mapped or not, every
 * 50 ms, because that walk is slow and holds the kernel's mmap_lock.
 */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include <stdint.h>

struct cost {
	uint64_t ns;          /* CLOCK_MONOTONIC */
	uint64_t read_bytes;  /* by this process, from devices */
	uint64_t write_bytes; /* dirtied by this process, for devices */
	uint64_t disk_read;   /* by all, from the one device given */
	uint64_t disk_written;
	uint64_t cpu_ns; /* user and system, all threads */
	uint64_t majflt, minflt;
};

uint64_t now_ns(void);

/*
 * charge: the cgroup's usage file, or NULL. disk: "MAJOR:MINOR", or NULL.
 * Both are opened at once and stay open.
 */
void meter_open(const char *charge, const char *disk);
void meter_read(struct cost *c);
uint64_t meter_memory(void);

/* Sample meter_memory() until meter_stop(), which returns the most there was. */
void meter_start(void);
uint64_t meter_stop(uint64_t *samples);

#endif
