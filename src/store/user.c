/* SPDX-License-Identifier: MIT */
/* user.c - see user.h. Its functions run where the fault is: there is no queue. */
#include "store/user.h"

#include <errno.h>

struct user_store {
	struct store store;
	const struct quire_store_ops *user;
	void *ctx;
	uint64_t length;
};

static struct user_store *of(const struct store *s)
{
	return (struct user_store *)s;
}

static int64_t user_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	return of(s)->user->read(of(s)->ctx, buf, len, off);
}

static int64_t user_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	return of(s)->user->write(of(s)->ctx, buf, len, off);
}

static int user_sync(struct store *s)
{
	return of(s)->user->sync ? of(s)->user->sync(of(s)->ctx) : 0;
}

static int64_t user_size(struct store *s)
{
	return (int64_t)of(s)->length;
}

static struct rt_file *user_file(struct store *s, bool write)
{
	(void)s;
	(void)write;
	return NULL;
}

static bool user_same(const struct store *a, const struct store *b)
{
	return of(a)->user == of(b)->user && of(a)->ctx == of(b)->ctx;
}

static void user_close(struct store *s)
{
	rt_pages_free(s, RT_PAGE);
}

static void user_upgrade(struct store *s, struct store *w)
{
	s->writable = true;
	user_close(w);
}

static const struct store_ops user_ops = {
	.read = user_read,
	.write = user_write,
	.sync = user_sync,
	.size = user_size,
	.file = user_file,
	.same = user_same,
	.upgrade = user_upgrade,
	.close = user_close,
};

int store_user_open(const struct quire_store_ops *ops, void *ctx, uint64_t length,
		    struct store **out)
{
	struct user_store *u = rt_pages_alloc(RT_PAGE);

	if (!u)
		return -ENOMEM;
	*u = (struct user_store){ .store = { .ops = &user_ops, .writable = ops->write != NULL },
				  .user = ops,
				  .ctx = ctx,
				  .length = length };
	*out = &u->store;
	return 0;
}
