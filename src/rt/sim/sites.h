/* SPDX-License-Identifier: MIT */
/*
 * sites.h (sim) - the places that call what can fail, each by its file and line.
 *
 * Included by rt.h at its end: from there on a fallible call says first where it is, so
 * that the fault sweep can tell which places have seen their failure, and which never
 * did.
 */
#ifndef RT_SIM_SITES_H
#define RT_SIM_SITES_H

struct sim_site {
	const char *what, *file;
	int line;
	uint32_t calls;  /* in all runs */
	uint32_t failed; /* one failure among successes */
	uint32_t stuck;  /* failed from there on */
};

void rt_sim_site(struct sim_site *s);

#ifndef SIM_NO_SITES
#define SIM_SITE(w)                                                                                \
	({                                                                                         \
		static struct sim_site site_                                                       \
			__attribute__((section("sim_sites"),                                       \
				       used)) = { .what = w, .file = __FILE__, .line = __LINE__ }; \
		rt_sim_site(&site_);                                                               \
	})

#define rt_pages_alloc(n)                 (SIM_SITE("pages_alloc"), rt_pages_alloc(n))
#define rt_thread_start(t, f, a, n)       (SIM_SITE("thread_start"), rt_thread_start(t, f, a, n))
#define rt_object_open(o, n)              (SIM_SITE("object_open"), rt_object_open(o, n))
#define rt_object_grow(o, n)              (SIM_SITE("object_grow"), rt_object_grow(o, n))
#define rt_object_fill(o, i, b, n)        (SIM_SITE("object_fill"), rt_object_fill(o, i, b, n))
#define rt_object_fetch(o, i, b, n)       (SIM_SITE("object_fetch"), rt_object_fetch(o, i, b, n))
#define rt_mmu_open(m)                    (SIM_SITE("mmu_open"), rt_mmu_open(m))
#define rt_view_open(m, o, i, l, r, f, a) (SIM_SITE("view_open"), rt_view_open(m, o, i, l, r, f, a))
#define rt_view_reserve(m, a, l)          (SIM_SITE("view_reserve"), rt_view_reserve(m, a, l))
#define rt_view_protect(m, a, l, r)       (SIM_SITE("view_protect"), rt_view_protect(m, a, l, r))
#define rt_view_part(m, a, l)             (SIM_SITE("view_part"), rt_view_part(m, a, l))
#define rt_view_move(m, o, l, t, r)       (SIM_SITE("view_move"), rt_view_move(m, o, l, t, r))
#define rt_mmu_map(m, a, n, w)            (SIM_SITE("mmu_map"), rt_mmu_map(m, a, n, w))
#define rt_mmu_copy(m, a, b, w)           (SIM_SITE("mmu_copy"), rt_mmu_copy(m, a, b, w))
#define rt_mmu_unprotect(m, a, n)         (SIM_SITE("mmu_unprotect"), rt_mmu_unprotect(m, a, n))
#define rt_mmu_own(m, a, b)               (SIM_SITE("mmu_own"), rt_mmu_own(m, a, b))
#define rt_pool_open(m, p, n)             (SIM_SITE("pool_open"), rt_pool_open(m, p, n))
#define rt_mmu_fill(m, a, b, n, w)        (SIM_SITE("mmu_fill"), rt_mmu_fill(m, a, b, n, w))
#define rt_mmu_take(m, p, a, f, n, t)      (SIM_SITE("mmu_take"), rt_mmu_take(m, p, a, f, n, t))
#define rt_mmu_put(m, p, a, f, n)         (SIM_SITE("mmu_put"), rt_mmu_put(m, p, a, f, n))
#define rt_mmu_move(m, d, s, n)           (SIM_SITE("mmu_move"), rt_mmu_move(m, d, s, n))
#define rt_file_open(f, h, w, d)          (SIM_SITE("file_open"), rt_file_open(f, h, w, d))
#define rt_file_size(f)                   (SIM_SITE("file_size"), rt_file_size(f))
#define rt_file_read(f, b, l, o)          (SIM_SITE("file_read"), rt_file_read(f, b, l, o))
#define rt_file_write(f, b, l, o)         (SIM_SITE("file_write"), rt_file_write(f, b, l, o))
#define rt_file_sync(f)                   (SIM_SITE("file_sync"), rt_file_sync(f))
#define rt_ioq_open(q)                    (SIM_SITE("ioq_open"), rt_ioq_open(q))
#define rt_ioq_submit(q, io, more)        (SIM_SITE("ioq_submit"), rt_ioq_submit(q, io, more))
#define rt_wait(w, e, t)                  (SIM_SITE("wait"), rt_wait(w, e, t))
#endif

#endif
