/* SPDX-License-Identifier: MIT */
/* file.c - where a store's bytes are. Any read and write may be short: all here go on. */
#include <string.h>

#include "contract.h"

struct opened {
	struct rt_file f;
	char *buf; /* four pages */
};

static int file_begin(struct opened *o, uint64_t bytes, bool writable, bool direct)
{
	int handle = driver_file(bytes);

	CHECK_IS(rt_file_open(&o->f, handle, writable, direct), 0);
	o->buf = rt_pages_alloc(PAGES(4));
	CHECK(o->buf);
	return handle;
}

static void file_end(struct opened *o)
{
	rt_pages_free(o->buf, PAGES(4));
	rt_file_close(&o->f);
}

/* All there is of [off, off + len), in pieces as they come. */
static int64_t read_all(struct rt_file *f, char *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		int64_t n = rt_file_read(f, buf + done, len - done, off + done);
		CHECK(n >= 0);
		CHECK((size_t)n <= len - done);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static void write_all(struct rt_file *f, const char *buf, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		int64_t n = rt_file_write(f, buf + done, len - done, off + done);
		CHECK(n > 0);
		CHECK((size_t)n <= len - done);
		done += (size_t)n;
	}
}

static void read_each_page(bool direct)
{
	struct opened o;

	file_begin(&o, PAGES(4), false, direct);
	CHECK_IS(rt_file_size(&o.f), PAGES(4));
	for (unsigned p = 0; p < 4; p++) {
		memset(o.buf, 0xee, RT_PAGE);
		CHECK_IS(read_all(&o.f, o.buf, RT_PAGE, PAGES(p)), RT_PAGE);
		for (unsigned k = 0; k < WORDS; k++)
			CHECK_IS(page_word(o.buf, k), driver_file_word(p, k));
		CHECK_IS(o.buf[RT_PAGE - 1], 0);
	}
	memset(o.buf, 0xee, PAGES(4));
	CHECK_IS(read_all(&o.f, o.buf, PAGES(3), PAGES(1)), PAGES(3));
	for (unsigned p = 0; p < 3; p++)
		CHECK_IS(page_word(o.buf + PAGES(p), 1), driver_file_word(p + 1, 1));
	CHECK_IS((unsigned char)o.buf[PAGES(3)], 0xee); /* no byte more */
	file_end(&o);
}

static void its_content_is_read(void)
{
	read_each_page(false);
}

static void its_content_is_read_directly(void)
{
	read_each_page(true);
}

static void read_over_the_end(bool direct)
{
	struct opened o;
	uint64_t size = PAGES(2) + RT_PAGE / 2;

	file_begin(&o, size, false, direct);
	CHECK_IS(rt_file_size(&o.f), size);
	memset(o.buf, 0xee, PAGES(4));
	CHECK_IS(read_all(&o.f, o.buf, PAGES(4), PAGES(1)), size - PAGES(1));
	CHECK_IS(page_word(o.buf + PAGES(1), 0), driver_file_word(2, 0));
	CHECK_IS(read_all(&o.f, o.buf, RT_PAGE, PAGES(2)), RT_PAGE / 2);
	/* past it: nothing, and that is no error */
	CHECK_IS(rt_file_read(&o.f, o.buf, RT_PAGE, PAGES(3)), 0);
	CHECK_IS(rt_file_read(&o.f, o.buf, RT_PAGE, PAGES(15)), 0);
	file_end(&o);
}

static void at_its_end_a_read_is_short(void)
{
	read_over_the_end(false);
}

static void at_its_end_a_direct_read_is_short(void)
{
	read_over_the_end(true);
}

static void an_empty_file_has_nothing(void)
{
	struct opened o;

	file_begin(&o, 0, true, true);
	CHECK_IS(rt_file_size(&o.f), 0);
	CHECK_IS(rt_file_read(&o.f, o.buf, RT_PAGE, 0), 0);
	file_end(&o);
}

static void write_then_read(bool direct)
{
	struct opened o;

	file_begin(&o, PAGES(4), true, direct);
	uint64_t before = driver_file_word(0, 0), after = driver_file_word(3, 0);
	token_put(o.buf, 10);
	token_put(o.buf + PAGES(1), 11);
	write_all(&o.f, o.buf, PAGES(2), PAGES(1));
	CHECK_IS(rt_file_sync(&o.f), 0);
	CHECK_IS(rt_file_size(&o.f), PAGES(4));
	memset(o.buf, 0, PAGES(4));
	CHECK_IS(read_all(&o.f, o.buf, PAGES(4), 0), PAGES(4));
	CHECK_IS(page_word(o.buf, 0), before);
	for (unsigned k = 0; k < WORDS; k++) {
		CHECK_IS(page_word(o.buf + PAGES(1), k), token_word(10, k));
		CHECK_IS(page_word(o.buf + PAGES(2), k), token_word(11, k));
	}
	CHECK_IS(page_word(o.buf + PAGES(3), 0), after);
	file_end(&o);
}

static void what_was_written_is_read(void)
{
	write_then_read(false);
}

static void what_was_written_directly_is_read(void)
{
	write_then_read(true);
}

static void a_part_of_a_page_is_written(void)
{
	struct opened o;

	/* The tail of a file is no whole page, direct or not. */
	file_begin(&o, PAGES(1) + RT_PAGE / 2, true, true);
	token_put(o.buf, 20);
	write_all(&o.f, o.buf, RT_PAGE / 2, PAGES(1));
	CHECK_IS(rt_file_size(&o.f), PAGES(1) + RT_PAGE / 2);
	CHECK_IS(read_all(&o.f, o.buf, PAGES(2), 0), PAGES(1) + RT_PAGE / 2);
	CHECK_IS(page_word(o.buf + PAGES(1), 0), token_word(20, 0));
	file_end(&o);
}

static void writing_past_the_end_makes_it_longer(void)
{
	struct opened o;

	file_begin(&o, PAGES(1), true, false);
	token_put(o.buf, 30);
	write_all(&o.f, o.buf, RT_PAGE, PAGES(3));
	CHECK_IS(rt_file_size(&o.f), PAGES(4));
	CHECK_IS(read_all(&o.f, o.buf, PAGES(4), 0), PAGES(4));
	CHECK_IS(page_word(o.buf + PAGES(1), 0), 0); /* between: zeros */
	CHECK_IS(page_word(o.buf + PAGES(2), 1), 0);
	CHECK_IS(page_word(o.buf + PAGES(3), 1), token_word(30, 1));
	file_end(&o);
}

static void two_openings_are_one_file(void)
{
	struct opened o;
	struct rt_file other;
	int handle = file_begin(&o, PAGES(2), true, false);

	CHECK_IS(rt_file_open(&other, handle, false, true), 0);
	token_put(o.buf, 40);
	write_all(&o.f, o.buf, RT_PAGE, PAGES(1));
	CHECK_IS(rt_file_sync(&o.f), 0);
	memset(o.buf, 0, RT_PAGE);
	CHECK_IS(read_all(&other, o.buf, RT_PAGE, PAGES(1)), RT_PAGE);
	CHECK_IS(page_word(o.buf, 1), token_word(40, 1));
	rt_file_close(&other);
	CHECK_IS(read_all(&o.f, o.buf, RT_PAGE, 0), RT_PAGE);
	file_end(&o);
}

static void opened_for_reading_it_is_not_written(void)
{
	struct opened o;

	file_begin(&o, PAGES(1), false, false);
	token_put(o.buf, 50);
	CHECK_IS(rt_file_write(&o.f, o.buf, RT_PAGE, 0), -EBADF);
	CHECK_IS(read_all(&o.f, o.buf, RT_PAGE, 0), RT_PAGE);
	CHECK_IS(page_word(o.buf, 0), driver_file_word(0, 0));
	file_end(&o);
}

static void trimming_loses_nothing(void)
{
	struct opened o;

	file_begin(&o, PAGES(2), true, false);
	token_put(o.buf, 60);
	write_all(&o.f, o.buf, RT_PAGE, 0);
	rt_file_trim(&o.f, 0, PAGES(2));
	CHECK_IS(read_all(&o.f, o.buf, RT_PAGE, 0), RT_PAGE);
	CHECK_IS(page_word(o.buf, 0), token_word(60, 0));
	file_end(&o);
}

TESTS(file, TEST(its_content_is_read), TEST(its_content_is_read_directly),
      TEST(at_its_end_a_read_is_short), TEST(at_its_end_a_direct_read_is_short),
      TEST(an_empty_file_has_nothing), TEST(what_was_written_is_read),
      TEST(what_was_written_directly_is_read), TEST(a_part_of_a_page_is_written),
      TEST(writing_past_the_end_makes_it_longer), TEST(two_openings_are_one_file),
      TEST(opened_for_reading_it_is_not_written), TEST(trimming_loses_nothing));
