/* SPDX-License-Identifier: MIT */
/* probe.c - what this kernel and this user may do: tried, not guessed. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "api/quire.h"
#include "rt/native/sys.h"
#include "rt/native/uffd.h"

static void probe_uffd(struct quire_probe *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	long fd = sys(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	p->user_mode_only = fd >= 0;
	if (fd < 0) {
		p->uffd_errno = (int)-fd;
		return;
	}
	if (sys(SYS_ioctl, fd, UFFDIO_API, &api) == 0)
		p->uffd_features = api.features;
	sys(SYS_close, fd);
	p->sigbus = !!(p->uffd_features & UFFD_FEATURE_SIGBUS);
	p->minor_shmem = !!(p->uffd_features & UFFD_FEATURE_MINOR_SHMEM);
	p->wp_shmem = !!(p->uffd_features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	p->move = !!(p->uffd_features & UFFD_FEATURE_MOVE);
	p->poison = !!(p->uffd_features & UFFD_FEATURE_POISON);
}

static void probe_uring(struct quire_probe *p)
{
	struct io_uring ring;
	int err = io_uring_queue_init(4, &ring, 0);

	p->io_uring_errno = -err;
	if (err == 0)
		io_uring_queue_exit(&ring);
}

int quire_probe(struct quire_probe *out)
{
	struct quire_probe p = { 0 };
	struct utsname name;

	if (!out || out->size < sizeof(size_t))
		return fail(EINVAL, "quire_probe: set the size member");
	size_t size = out->size;
	probe_uffd(&p);
	probe_uring(&p);
	long commands = sys(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0);
	p.membarrier = commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED;
	if (uname(&name) == 0)
		snprintf(p.kernel, sizeof(p.kernel), "%.63s", name.release);
	memset(out, 0, size);
	memcpy(out, &p, size < sizeof(p) ? size : sizeof(p));
	out->size = size;
	return 0;
}
