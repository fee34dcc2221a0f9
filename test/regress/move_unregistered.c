/* SPDX-License-Identifier: MIT */
/* Seen: an mremap that failed left its private view moved, and no fault there came to us.
 * Why: what could not be registered at the new address was not taken back. */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define RW  (PROT_READ | PROT_WRITE)
#define LEN (8 * PAGE)

/* Another thread, which answers for the kernel when a range is to be registered. */
struct judge {
	_Atomic int listener; /* 0: not yet */
	_Atomic int refuse;   /* the so-many-eth from now on; 0: none */
	_Atomic int asked;
	_Atomic bool stop;
};

static void *judge_main(void *arg)
{
	struct judge *j = arg;
	struct seccomp_notif n;

	while (!j->stop) {
		struct pollfd p = { .fd = j->listener, .events = POLLIN };
		if (!j->listener || poll(&p, 1, 10) <= 0)
			continue;
		memset(&n, 0, sizeof(n));
		if (ioctl(j->listener, SECCOMP_IOCTL_NOTIF_RECV, &n) != 0)
			continue;
		struct seccomp_notif_resp r = { .id = n.id };
		if (++j->asked == j->refuse)
			r.error = -ENOMEM;
		else
			r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		CHECK(ioctl(j->listener, SECCOMP_IOCTL_NOTIF_SEND, &r) == 0);
	}
	return NULL;
}

static int listen_to_registering(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)UFFDIO_REGISTER, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	assert_ok(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &prog);
}

static void a_failing_mremap_changes_nothing(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1), listener;
	uint8_t *p = h_map(q, LEN, RW, MAP_PRIVATE, fd, 0), *n;
	struct judge j = { .listener = 0 };
	pthread_t t;

	p[0] = 0x11;
	p[3 * PAGE] = 0x33;
	assert_int_equal(p[5 * PAGE], h_byte(1, 5 * PAGE));
	assert_int_equal(pthread_create(&t, NULL, judge_main, &j), 0);
	listener = listen_to_registering();
	if (listener < 0) {
		j.stop = true;
		pthread_join(t, NULL);
		h_skip("seccomp's user notification: %s", strerror(errno));
	}
	j.listener = listener;
	/* The first is for the new view, the second for what was moved there. */
	j.refuse = 2;
	assert_map_errno(quire_mremap(q, p, LEN, 64 * LEN, MREMAP_MAYMOVE, NULL), ENOMEM);
	assert_int_equal(j.asked, 3); /* and once more where it came from */
	j.refuse = 0;
	assert_int_equal(p[0], 0x11);
	assert_int_equal(p[3 * PAGE], 0x33);
	assert_int_equal(h_stats(q).owned, 2 * PAGE);
	assert_int_equal(p[PAGE], h_byte(1, PAGE)); /* the others come from us, as ever */
	p[PAGE] = 0x22;
	assert_int_equal(h_stats(q).owned, 3 * PAGE);
	assert_ok(quire_madvise(q, p, LEN, MADV_PAGEOUT));
	assert_int_equal(p[PAGE], 0x22);
	n = quire_mremap(q, p, LEN, 64 * LEN, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_int_equal(n[0], 0x11);
	assert_int_equal(n[PAGE], 0x22);
	assert_int_equal(n[3 * PAGE], 0x33);
	assert_int_equal(n[7 * PAGE], h_byte(1, 7 * PAGE));
	assert_ok(quire_close(q));
	j.stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_file_pattern(fd, LEN, 1, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_failing_mremap_changes_nothing) };

	return h_main(tests, 1, argc, argv);
}
