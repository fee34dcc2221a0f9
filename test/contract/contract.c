/* SPDX-License-Identifier: MIT */
/*
 * contract.c - the tests of one machine gathered under the one name that is kept
 * (CONTRACT, driver.h), and their small world.
 */
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "driver.h"
#include "suite.h"

static const struct {
	const char *noun;
	const struct contract_test *tests;
} nouns[] = {
	{ "atomic", atomic_tests }, { "lock", lock_tests },     { "wait", wait_tests },
	{ "rcu", rcu_tests },       { "thread", thread_tests }, { "memory", memory_tests },
	{ "object", object_tests }, { "view", view_tests },     { "private", private_tests },
	{ "anon", anon_tests },     { "file", file_tests },     { "ioq", ioq_tests },
#ifdef CONTRACT_SIM
	{ "kind", kind_tests },
#else
	{ "pool", pool_tests },
	{ WITHOUT_MOVE " anon", anon_tests },
	{ WITHOUT_MOVE " pool", pool_tests },
#endif
};

static const struct contract_test *nth(unsigned i, const char **noun)
{
	for (unsigned n = 0; n < sizeof(nouns) / sizeof(nouns[0]); n++)
		for (const struct contract_test *t = nouns[n].tests; t->name; t++)
			if (i-- == 0) {
				*noun = nouns[n].noun;
				return t;
			}
	return NULL;
}

static const char *name_of(unsigned i)
{
	static char text[96];
	const char *noun;
	const struct contract_test *t = nth(i, &noun);

	if (!t)
		return NULL;
	snprintf(text, sizeof(text), "%s %s: %s", DRIVER_NAME, noun, t->name);
	for (char *c = text; *c; c++)
		if (*c == '_')
			*c = ' ';
	return text;
}

static enum contract_result run(unsigned i, char *why, size_t n)
{
	const char *noun = "";

	const struct contract_test *t = nth(i, &noun);

	return driver_run(t, noun, why, n);
}

const struct contract_suite CONTRACT = { DRIVER_NAME, name_of, run };

/* --- the world ------------------------------------------------------------------ */

uint64_t token_word(uint64_t token, unsigned word)
{
	return token << 8 | (word + 1);
}

void token_put(void *page, uint64_t token)
{
	memset(page, 0, RT_PAGE);
	for (unsigned k = 0; k < WORDS; k++) {
		uint64_t v = token_word(token, k);
		memcpy((char *)page + k * (RT_PAGE / WORDS), &v, sizeof(v));
	}
}

uint64_t page_word(const void *page, unsigned word)
{
	uint64_t v;

	memcpy(&v, (const char *)page + word * (RT_PAGE / WORDS), sizeof(v));
	return v;
}

void world_open(struct world *w, uint64_t pages)
{
	int err = rt_mmu_open(&w->mmu);

	if (err == -ENOSYS || err == -EPERM || err == -ENOTSUP)
		driver_skip("no userfaultfd here");
	CHECK_IS(err, 0);
	driver_mmu(&w->mmu);
	CHECK_IS(rt_object_open(&w->object, pages), 0);
	w->buf = rt_pages_alloc(RT_PAGE);
	CHECK(w->buf);
}

void world_close(struct world *w)
{
	rt_pages_free(w->buf, RT_PAGE);
	rt_object_close(&w->object);
	rt_mmu_close(&w->mmu);
}

void world_fill(struct world *w, uint64_t index, uint64_t n, uint64_t token)
{
	for (uint64_t i = 0; i < n; i++) {
		token_put(w->buf, token + i);
		CHECK_IS(rt_object_fill(&w->object, index + i, w->buf, 1), 0);
	}
}

uint64_t world_word(struct world *w, uint64_t index, unsigned word)
{
	memset(w->buf, 0xee, RT_PAGE);
	CHECK_IS(rt_object_fetch(&w->object, index, w->buf, 1), 0);
	return page_word(w->buf, word);
}

uint64_t world_view(struct world *w, uint64_t index, uint64_t pages, unsigned rights,
		    unsigned flags)
{
	uint64_t addr = 0;

	CHECK_IS(rt_view_open(&w->mmu, &w->object, index, PAGES(pages), rights, flags, &addr), 0);
	CHECK(addr != 0);
	CHECK_IS(addr % RT_PAGE, 0);
	return addr;
}

uint64_t world_room(struct world *w, uint64_t pages)
{
	uint64_t addr = world_view(w, 0, pages, 0, 0);

	rt_view_close(&w->mmu, addr, PAGES(pages));
	return addr;
}

/* --- threads ---------------------------------------------------------------------- */

void thread_begin(struct rt_thread *t, void (*fn)(void *), void *arg)
{
	CHECK_IS(rt_thread_start(t, fn, arg, "quire-test"), 0);
}

void until(rt_u32 *word, uint32_t v)
{
	while (rt_load_u32(word, RT_ACQUIRE) != v)
		rt_relax();
}
