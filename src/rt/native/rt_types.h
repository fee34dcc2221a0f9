/* SPDX-License-Identifier: MIT */
/*
 * rt_types.h (native) - the types of the contract and its inline fast paths on a
 * real machine. Included by rt.h alone; rt.h has the promises.
 */
#ifndef RT_NATIVE_TYPES_H
#define RT_NATIVE_TYPES_H

#define RT_PAGE_SHIFT 12

typedef struct {
	uint32_t v;
} rt_u32;
typedef struct {
	uint64_t v;
} rt_u64;
typedef struct {
	void *v;
} rt_ptr;

/* Tables, not conditions: nothing is left of either, but a debug build that counts branches
 * would count these where they are called. */
static const int rt_load_order[] = { [RT_RELAXED] = __ATOMIC_RELAXED,
				     [RT_ACQUIRE] = __ATOMIC_ACQUIRE,
				     [RT_RELEASE] = __ATOMIC_ACQUIRE,
				     [RT_ACQ_REL] = __ATOMIC_ACQUIRE,
				     [RT_SEQ_CST] = __ATOMIC_SEQ_CST };
static const int rt_store_order[] = { [RT_RELAXED] = __ATOMIC_RELAXED,
				      [RT_ACQUIRE] = __ATOMIC_RELEASE,
				      [RT_RELEASE] = __ATOMIC_RELEASE,
				      [RT_ACQ_REL] = __ATOMIC_RELEASE,
				      [RT_SEQ_CST] = __ATOMIC_SEQ_CST };

#define RT_ATOMIC(name, type, value)                                                               \
	static inline __attribute__((always_inline))                                               \
	value rt_load_##name(const type *p, enum rt_order o)                                       \
	{                                                                                          \
		return __atomic_load_n(&p->v, rt_load_order[o]);                                   \
	}                                                                                          \
	static inline __attribute__((always_inline)) void rt_store_##name(type *p, value v,        \
									  enum rt_order o)         \
	{                                                                                          \
		__atomic_store_n(&p->v, v, rt_store_order[o]);                                     \
	}                                                                                          \
	static inline __attribute__((always_inline)) bool rt_cas_##name(type *p, value expected,   \
									value v, enum rt_order o)  \
	{                                                                                          \
		(void)o;                                                                           \
		return __atomic_compare_exchange_n(&p->v, &expected, v, false, __ATOMIC_SEQ_CST,   \
						   __ATOMIC_SEQ_CST);                              \
	}

#define RT_ARITH(name, type, value)                                                                \
	static inline value rt_add_##name(type *p, value n, enum rt_order o)                       \
	{                                                                                          \
		return o == RT_RELAXED ? __atomic_fetch_add(&p->v, n, __ATOMIC_RELAXED)            \
				       : __atomic_fetch_add(&p->v, n, __ATOMIC_SEQ_CST);           \
	}                                                                                          \
	static inline value rt_sub_##name(type *p, value n, enum rt_order o)                       \
	{                                                                                          \
		return o == RT_RELAXED ? __atomic_fetch_sub(&p->v, n, __ATOMIC_RELAXED)            \
				       : __atomic_fetch_sub(&p->v, n, __ATOMIC_SEQ_CST);           \
	}                                                                                          \
	static inline value rt_or_##name(type *p, value n, enum rt_order o)                        \
	{                                                                                          \
		(void)o;                                                                           \
		return __atomic_fetch_or(&p->v, n, __ATOMIC_SEQ_CST);                              \
	}                                                                                          \
	static inline value rt_and_##name(type *p, value n, enum rt_order o)                       \
	{                                                                                          \
		(void)o;                                                                           \
		return __atomic_fetch_and(&p->v, n, __ATOMIC_SEQ_CST);                             \
	}

/* On x86-64 every read-modify-write is a full barrier, so asking for the strongest
 * order costs nothing; a machine where it does would pass the order on. */
RT_ATOMIC(u32, rt_u32, uint32_t)
RT_ATOMIC(u64, rt_u64, uint64_t)
RT_ATOMIC(ptr, rt_ptr, void *)
RT_ARITH(u32, rt_u32, uint32_t)
RT_ARITH(u64, rt_u64, uint64_t)

static inline void rt_count_u64(rt_u64 *p, uint64_t n)
{
	rt_add_u64(p, n, RT_RELAXED);
}

#define rt_note_class(p, name) ((void)0)
#define rt_note_want(p)        ((void)0)
#define rt_note_held(p, write) ((void)0)
#define rt_note_dropped(p)     ((void)0)
#define rt_note_live(p, n)     ((void)0)
#define rt_note_free(p, n)     ((void)0)
#define rt_note_moved(d, s)    ((void)0)
#define rt_note_lost(a, n)     ((void)0)

/* 0 free, 1 held, 2 held and somebody sleeps (Drepper, "Futexes are tricky"). */
struct rt_lock {
	rt_u32 word;
};

void rt_lock_slow(struct rt_lock *l);
void rt_unlock_slow(struct rt_lock *l);

static inline void rt_lock_init(struct rt_lock *l)
{
	rt_store_u32(&l->word, 0, RT_RELAXED);
}

static inline bool rt_trylock(struct rt_lock *l)
{
	return rt_cas_u32(&l->word, 0, 1, RT_ACQUIRE);
}

static inline void rt_lock(struct rt_lock *l)
{
	if (!rt_trylock(l))
		rt_lock_slow(l);
}

static inline void rt_unlock(struct rt_lock *l)
{
	if (__atomic_exchange_n(&l->word.v, 0, __ATOMIC_SEQ_CST) == 2)
		rt_unlock_slow(l);
}

static inline void rt_lock_assert(struct rt_lock *l)
{
	/* Who holds it is not recorded here; the simulated machine knows. */
	if (rt_load_u32(&l->word, RT_RELAXED) == 0)
		__builtin_trap();
}

struct rt_thread {
	rt_u32 ready; /* its start is over */
	unsigned long handle;
	void (*fn)(void *);
	void *arg;
	char name[16];
};

struct rt_object {
	int fd;
	struct rt_lock grow_lock;
	rt_u64 pages;
};

struct rt_mmu {
	int fd;
	bool has_move; /* UFFDIO_MOVE: Linux 6.8 */
};

/* Field key: (c) constant while open  (P) lock. rt/native/anon.c has what they mean. */
struct rt_pool {
	char *base;      /* (c) */
	uint64_t frames; /* (c) */
	int pidfd;       /* (c) of this process, or -1 */
	struct rt_lock lock;
	uint64_t *there;    /* (P) one bit a frame */
	uint64_t *stale;    /* (P) one bit a frame; never there */
	uint64_t stale_n;   /* (P) */
	uint64_t stale_end; /* (P) no stale frame from here on */
};

struct rt_file {
	int fd;     /* as given: through the page cache */
	int direct; /* O_DIRECT, or -1 */
	bool writable;
	uint32_t align; /* of O_DIRECT, bytes */
};

struct rt_ioq {
	void *state; /* rt/native/io.c */
};

#endif
