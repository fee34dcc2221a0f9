/* SPDX-License-Identifier: MIT */
#include "meter.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "side.h"

static int io_fd = -1, charge_fd = -1, disk_fd = -1;
static pthread_t sampler;
static bool sampling;
static uint64_t peak, samples;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Read a small file of /proc, /sys or a cgroup, from its start, as a string. */
static char *reread(int fd, char *buf, size_t len)
{
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, len - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

void meter_open(const char *charge, const char *disk)
{
	char path[128];

	io_fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	if (charge) {
		charge_fd = open(charge, O_RDONLY | O_CLOEXEC);
		if (charge_fd < 0)
			die("cannot open %s", charge);
	}
	if (disk) {
		snprintf(path, sizeof(path), "/sys/dev/block/%s/stat", disk);
		disk_fd = open(path, O_RDONLY | O_CLOEXEC);
	}
}

static uint64_t field(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

void meter_read(struct cost *c)
{
	unsigned long long r[8] = { 0 };
	struct rusage ru;
	char buf[512];

	memset(c, 0, sizeof(*c));
	c->ns = now_ns();
	reread(io_fd, buf, sizeof(buf));
	c->read_bytes = field(buf, "\nread_bytes: ");
	c->write_bytes = field(buf, "\nwrite_bytes: ");
	reread(disk_fd, buf, sizeof(buf));
	/* reads, merged, sectors, ms, writes, merged, sectors */
	if (sscanf(buf, "%llu %llu %llu %llu %llu %llu %llu", &r[0], &r[1], &r[2], &r[3], &r[4],
		   &r[5], &r[6]) == 7) {
		c->disk_read = r[2] * 512;
		c->disk_written = r[6] * 512;
	}
	getrusage(RUSAGE_SELF, &ru);
	c->cpu_ns = (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000u +
		    (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000u;
	c->majflt = (uint64_t)ru.ru_majflt;
	c->minflt = (uint64_t)ru.ru_minflt;
}

/* Blocks of memfds: page cache that belongs to us, mapped or not. */
static uint64_t memfd_bytes(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t bytes = 0;
	struct dirent *e;
	char to[64];

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);
		struct stat st;

		if (n <= 0)
			continue;
		to[n] = '\0';
		if (!strncmp(to, "/memfd:", 7) && !fstat(atoi(e->d_name), &st))
			bytes += (uint64_t)st.st_blocks * 512;
	}
	if (d)
		closedir(d);
	return bytes;
}

uint64_t meter_memory(void)
{
	char buf[4096];
	int fd;

	if (charge_fd >= 0)
		return strtoull(reread(charge_fd, buf, sizeof(buf)), NULL, 10);
	fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	reread(fd, buf, sizeof(buf));
	if (fd >= 0)
		close(fd);
	return (field(buf, "Pss_Anon:") + field(buf, "Pss_File:")) * 1024 + memfd_bytes();
}

static void *sample(void *arg)
{
	struct timespec gap = { 0, charge_fd >= 0 ? 10000000 : 50000000 };

	while (__atomic_load_n(&sampling, __ATOMIC_ACQUIRE)) {
		uint64_t m = meter_memory();

		peak = m > peak ? m : peak;
		samples++;
		nanosleep(&gap, NULL);
	}
	return NULL;
}

void meter_start(void)
{
	sampling = true;
	if (pthread_create(&sampler, NULL, sample, NULL))
		die("pthread_create");
}

uint64_t meter_stop(uint64_t *n)
{
	__atomic_store_n(&sampling, false, __ATOMIC_RELEASE);
	pthread_join(sampler, NULL);
	*n = samples;
	return peak;
}
