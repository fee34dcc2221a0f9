/* SPDX-License-Identifier: MIT */
/* host.c - see host.h. */
#include "cli/host.h"

#include <errno.h>
#include <stddef.h>

/*
 * We ask for UFFD_USER_MODE_ONLY, which no sysctl forbids. So EPERM is a seccomp
 * filter or a security module; ENOSYS a kernel built without userfaultfd, or a
 * filter that says so; EINVAL a kernel that does not know the flag.
 */
static const char *uffd_refusal(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "userfaultfd is denied by a seccomp filter or a security module";
	case ENOSYS:
		return "userfaultfd is missing: not in this kernel, or hidden by a seccomp filter";
	case EINVAL:
		return "this kernel is too old: userfaultfd without privileges needs Linux 5.11";
	case EMFILE:
	case ENFILE:
		return "no file descriptor is left for userfaultfd";
	case ENOMEM:
		return "no memory is left for userfaultfd";
	}
	return "userfaultfd does not work here";
}

const char *host_refusal(const struct quire_probe *p)
{
	if (p->uffd_errno)
		return uffd_refusal(p->uffd_errno);
	if (!p->sigbus)
		return "this kernel is too old: userfaultfd by SIGBUS needs Linux 4.14";
	if (!p->minor_shmem)
		return "this kernel is too old: minor faults of shared memory need Linux 5.14";
	if (!p->wp_shmem)
		return "this kernel is too old: write-protecting shared memory needs Linux 5.19";
	if (!(p->uffd_features & HOST_WP_UNPOPULATED))
		return "this kernel is too old: mapping a page write-protected needs Linux 6.4";
	return NULL;
}

char *host_least_budget(char buf[SIZE_TEXT_MAX])
{
	uint64_t mib = 1 << 20;

	return size_format(buf, (quire_memory_min() + mib - 1) / mib * mib);
}
