/* SPDX-License-Identifier: MIT */
/*
 * swap.c (api) - the file behind an address space's swap store.
 *
 * It has no name: on a directory it is made with O_TMPFILE, else created and unlinked at
 * once, so that nothing is left however the process ends. All its blocks are reserved
 * before anything is stored, so that a full disk is an error of quire_open().
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/quire.h"
#include "rt/native/sys.h"

static long open_nameless(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		long fd = sys(SYS_openat, AT_FDCWD, path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd == -EOPNOTSUPP)
			fail(EOPNOTSUPP,
			     "swap=%s: that file system makes no nameless files; name a file in it",
			     path);
		return fd;
	}
	long fd = sys(SYS_openat, AT_FDCWD, path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		sys(SYS_unlinkat, AT_FDCWD, path, 0);
	return fd;
}

int swap_file_open(const char *path, uint64_t bytes)
{
	long fd = open_nameless(path), err;

	if (fd < 0)
		return fail((int)-fd, "swap=%s: %s%s", path, strerror((int)-fd),
			    fd == -EEXIST ? "; it must not exist, or be a directory" : "");
	fd = sys_fd_away(fd);
	do {
		err = sys(SYS_fallocate, fd, 0, 0L, bytes);
	} while (err == -EINTR);
	if (err == 0)
		return (int)fd;
	sys(SYS_close, fd);
	return fail((int)-err, "swap=%s: reserving %llu bytes: %s", path, (unsigned long long)bytes,
		    strerror((int)-err));
}
