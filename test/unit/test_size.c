/* SPDX-License-Identifier: MIT */
/* test_size.c - sizes as people write them, and as they are shown. */
#include "unit.h"

#include "base/size.h"

#define K 1024ull

static void parses_what_is_right(void **state)
{
	static const struct {
		const char *text;
		uint64_t total, bytes;
	} good[] = {
		{ "0", 0, 0 },
		{ "65536", 0, 65536 },
		{ "64K", 0, 64 * K },
		{ "64k", 0, 64 * K },
		{ "64KB", 0, 64 * K },
		{ "64KiB", 0, 64 * K },
		{ "7B", 0, 7 },
		{ "512M", 0, 512 * K * K },
		{ "1G", 0, K * K * K },
		{ "1.5G", 0, 3 * K * K * K / 2 },
		{ "0.5K", 0, 512 },
		{ "2T", 0, 2 * K * K * K * K },
		{ "1P", 0, K * K * K * K * K },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "50%", 1000, 500 },
		{ "12.5%", 1000, 125 },
		{ "100%", 777, 777 },
		{ "0%", 777, 0 },
		{ "100%", UINT64_MAX, UINT64_MAX },
		{ "max", 4711, 4711 },
	};
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes = 123;

		assert_int_equal(size_parse(good[i].text, good[i].total, &bytes), SIZE_OK);
		if (bytes != good[i].bytes)
			fail_msg("\"%s\" is %llu", good[i].text, (unsigned long long)bytes);
	}
}

static void refuses_what_is_wrong(void **state)
{
	static const struct {
		const char *text;
		uint64_t total;
		enum size_error error;
	} bad[] = {
		{ "", 0, SIZE_EMPTY },
		{ "M", 0, SIZE_NUMBER },
		{ "-1", 0, SIZE_NUMBER },
		{ "+1", 0, SIZE_NUMBER },
		{ " 1", 0, SIZE_NUMBER },
		{ "1.M", 0, SIZE_NUMBER },
		{ ".5M", 0, SIZE_NUMBER },
		{ "abc", 0, SIZE_NUMBER },
		{ "1X", 0, SIZE_UNIT },
		{ "1 M", 0, SIZE_UNIT },
		{ "1MM", 0, SIZE_UNIT },
		{ "1Mi", 0, SIZE_UNIT },
		{ "1iB", 0, SIZE_UNIT },
		{ "0x10", 0, SIZE_UNIT },
		{ "50%%", 100, SIZE_UNIT },
		{ "18446744073709551616", 0, SIZE_RANGE },
		{ "99999999999999999999999", 0, SIZE_RANGE },
		{ "16777216T", 0, SIZE_RANGE },
		{ "101%", 1000, SIZE_RANGE },
		{ "100.1%", 1000, SIZE_RANGE },
		{ "50%", 0, SIZE_NO_TOTAL },
		{ "max", 0, SIZE_NO_TOTAL },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 123;
		enum size_error e = size_parse(bad[i].text, bad[i].total, &bytes);

		if (e != bad[i].error)
			fail_msg("\"%s\": error %d, not %d", bad[i].text, (int)e,
				 (int)bad[i].error);
		assert_int_equal(bytes, 123);
		assert_true(strlen(size_error_text(e)) > 0);
	}
	assert_int_equal(size_parse(NULL, 0, &(uint64_t){ 0 }), SIZE_EMPTY);
}

static void shows_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} shown[] = {
		{ 0, "0" },
		{ 17, "17" },
		{ 1023, "1023" },
		{ 1024, "1K" },
		{ 40 * K, "40K" },
		{ 512 * K * K, "512M" },
		{ 3 * K * K * K / 2, "1.5G" },
		{ 1024 * K - 1, "1023K" },
		{ 2047, "1.9K" },
		{ UINT64_MAX, "16383P" },
	};
	char buf[SIZE_TEXT_MAX];
	size_t i;

	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		assert_string_equal(size_format(buf, shown[i].bytes), shown[i].text);
}

/* What is shown can be read back, and is never more than there is. */
static void what_is_shown_is_no_lie(void **state)
{
	char buf[SIZE_TEXT_MAX];
	uint64_t r = 3;
	int i;

	for (i = 0; i < 10000; i++) {
		uint64_t bytes = unit_random(&r) >> unit_random(&r) % 64, back;

		assert_int_equal(size_parse(size_format(buf, bytes), 0, &back), SIZE_OK);
		assert_true(back <= bytes);
		assert_true(bytes - back <= bytes / 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_is_right),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(shows_sizes),
		cmocka_unit_test(what_is_shown_is_no_lie),
	};

	return cmocka_run_group_tests_name("size", tests, NULL, NULL);
}
