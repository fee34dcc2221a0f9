/* SPDX-License-Identifier: MIT */
/* test_scenario.c - the text form of scenarios: what it says, what is wrong with it, and
 * that every scenario of test/sim is one. */
#include "unit.h"

#include <dirent.h>

#include "check/scenario.h"

#define WHY 600

/* Declarations for operations to go below, which begin in line 7. */
static const char head[] = "title what meets what\n"
			   "file A 4.5\n"
			   "file B 8\n"
			   "region r A 0 4 shared rw\n"
			   "region p B 2 3 private r unmapped\n"
			   "thread t1\n";

static struct scenario s;
static char why[WHY];

static int parse(const char *text)
{
	return scenario_parse(&s, "name", text, why, sizeof(why));
}

/* The head, operations of t1, and a thread t2. */
static int parse_ops(const char *ops)
{
	char text[4000];

	snprintf(text, sizeof(text), "%s%s\nthread t2\n\tread r 0\n\twrite r 1\n", head, ops);
	return parse(text);
}

static void must(int line)
{
	if (line)
		fail_msg("line %d: %s", line, why);
}

/* --- what it says --------------------------------------------------------------- */

static void reads_declarations(void **state)
{
	must(parse("# a comment\n"
		   "title  two   faults on one page: one read\n"
		   "\n"
		   "file A 4\r\n"
		   "file B 2.5 # half a page\n"
		   "region r A 1 3 shared rw\n"
		   "region p B 0 16 private r unmapped\n"
		   "memory 12\n"
		   "ahead 4\n"
		   "tiny\n"
		   "before\n"
		   "    read r 0; read r 1\n"
		   "thread t1\n"
		   "\tread r 0\n"
		   "\t# and\n"
		   "\twrite r 2 1 -> ok|sigbus\n"
		   "thread t2\n"
		   "\tafter t1\n"));
	assert_string_equal(s.name, "name");
	assert_string_equal(s.title, "two faults on one page: one read");
	assert_int_equal(s.files, 2);
	assert_string_equal(s.file[0].name, "A");
	assert_int_equal(s.file[0].pages, 4);
	assert_int_equal(s.file[0].half, 0);
	assert_int_equal(s.file[1].pages, 2);
	assert_int_equal(s.file[1].half, 1);
	assert_int_equal(s.regions, 2);
	assert_string_equal(s.region[0].name, "r");
	assert_int_equal(s.region[0].file, 0);
	assert_int_equal(s.region[0].page, 1);
	assert_int_equal(s.region[0].pages, 3);
	assert_int_equal(s.region[0].rights, RT_READ | RT_WRITE);
	assert_false(s.region[0].private);
	assert_false(s.region[0].unmapped);
	assert_int_equal(s.region[1].file, 1);
	assert_int_equal(s.region[1].rights, RT_READ);
	assert_true(s.region[1].private);
	assert_true(s.region[1].unmapped);
	assert_int_equal(s.memory, 12);
	assert_int_equal(s.ahead, 4);
	assert_true(s.tiny);
	assert_int_equal(s.befores, 2);
	assert_int_equal(s.before[1].page, 1);
	assert_int_equal(s.before[1].line, 12);
	assert_int_equal(s.threads, 2);
	assert_string_equal(s.thread[1].name, "t2");
	assert_int_equal(s.thread[0].ops, 2);
	assert_int_equal(s.thread[0].op[1].kind, OP_WRITE);
	assert_int_equal(s.thread[0].op[1].word, 1);
	assert_int_equal(s.thread[0].op[1].expect, RESULT_OK | RESULT_SIGBUS);
	assert_int_equal(s.thread[0].op[1].line, 16);
	assert_int_equal(s.thread[1].op[0].thread, 0);
}

static void what_is_not_said_is_usual(void **state)
{
	must(parse("title t\nfile A 1\nregion r A 0 1 shared r\nthread t\n read r 0"));
	assert_int_equal(s.memory, 0);
	assert_int_equal(s.ahead, 0);
	assert_int_equal(s.befores, 0);
	assert_int_equal(s.expects, 0);
	assert_false(s.tiny);
	assert_int_equal(s.thread[0].op[0].expect, RESULT_OK);
	assert_int_equal(s.thread[0].op[0].word, 0);
	assert_false(s.thread[0].op[0].has_range);
}

static void reads_expectations(void **state)
{
	must(parse_ops("\twrite r 0\n"
		       "expect reads A 3 <= 1\n"
		       "expect word A 0 1 = t2\n"
		       "expect word B 7 0 = start\n"
		       "expect retries >= 2\n"
		       "expect major = 0\n"
		       "expect lost = 0"));
	assert_int_equal(s.expects, 6);
	assert_int_equal(s.expect[0].what, EXPECT_READS);
	assert_int_equal(s.expect[0].page, 3);
	assert_int_equal(s.expect[0].cmp, '<');
	assert_int_equal(s.expect[0].value, 1);
	assert_int_equal(s.expect[0].line, 8);
	assert_int_equal(s.expect[1].what, EXPECT_WORD);
	assert_int_equal(s.expect[1].word, 1);
	assert_int_equal(s.expect[1].thread, 1);
	assert_int_equal(s.expect[2].file, 1);
	assert_int_equal(s.expect[2].thread, -1);
	assert_int_equal(s.expect[3].what, EXPECT_RETRIES);
	assert_int_equal(s.expect[3].cmp, '>');
	assert_int_equal(s.expect[4].what, EXPECT_MAJOR);
	assert_int_equal(s.expect[4].cmp, '=');
	assert_int_equal(s.expect[5].what, EXPECT_LOST);
}

/* The first thread's last token may come from `before`. */
static void before_writes_as_the_first_thread(void **state)
{
	static const char text[] = "title t\nfile A 1\nregion r A 0 1 shared rw\n"
				   "before\n\twrite r 0\n"
				   "thread t1\n\tread r 0\nthread t2\n\tread r 0\n"
				   "expect word A 0 0 = %s\n";
	char buf[400];

	snprintf(buf, sizeof(buf), text, "t1");
	must(parse(buf));
	snprintf(buf, sizeof(buf), text, "t2");
	assert_int_equal(parse(buf), 10);
}

/* Each operation as it is printed; and, read again, the same. */
static void prints_what_it_reads(void **state)
{
	static const struct {
		const char *text, *printed; /* NULL: as written */
		enum op_kind kind;
	} ops[] = {
		{ "read r 0", NULL, OP_READ },
		{ "read  r 3   1", "read r 3 1", OP_READ },
		{ "read r 3 0", "read r 3", OP_READ },
		{ "write r 1 1 -> sigbus|ok", "write r 1 1 -> ok|sigbus", OP_WRITE },
		{ "nowait p 2 -> any", NULL, OP_NOWAIT },
		{ "populate r 0 4 rw -> ok|enomem", NULL, OP_POPULATE },
		{ "populate r 3 1 r", NULL, OP_POPULATE },
		{ "map r", NULL, OP_MAP },
		{ "map r as=B", "map r as=B 0", OP_MAP },
		{ "map r as=B 4", NULL, OP_MAP },
		{ "unmap r", NULL, OP_UNMAP },
		{ "unmap r 1 2", NULL, OP_UNMAP },
		{ "protect r none", NULL, OP_PROTECT },
		{ "protect r 1 1 r -> ok|enomem", NULL, OP_PROTECT },
		{ "protect r 0 4 rw", NULL, OP_PROTECT },
		{ "advise r normal", NULL, OP_ADVISE },
		{ "advise r random", NULL, OP_ADVISE },
		{ "advise r sequential", NULL, OP_ADVISE },
		{ "advise r 0 2 willneed", NULL, OP_ADVISE },
		{ "advise r 0 2 dontneed", NULL, OP_ADVISE },
		{ "advise r cold", NULL, OP_ADVISE },
		{ "advise r pageout", NULL, OP_ADVISE },
		{ "sync r", NULL, OP_SYNC },
		{ "sync r 2 1 -> error", NULL, OP_SYNC },
		{ "async r 0 1", NULL, OP_ASYNC },
		{ "remap r 6", NULL, OP_REMAP },
		{ "remap r 2 move", NULL, OP_REMAP },
		{ "pin r 0 1 rw", NULL, OP_PIN },
		{ "unpin r 0 1", NULL, OP_UNPIN },
		{ "resident r -> ok|segv", NULL, OP_RESIDENT },
		{ "truncate A 2.5", NULL, OP_TRUNCATE },
		{ "truncate A 0", NULL, OP_TRUNCATE },
		{ "outside B 16", NULL, OP_OUTSIDE },
		{ "refresh", NULL, OP_REFRESH },
		{ "pwrite A 1", NULL, OP_PWRITE },
		{ "pwrite A 15 1", NULL, OP_PWRITE },
		{ "reclaim", NULL, OP_RECLAIM },
		{ "reclaim 1", "reclaim", OP_RECLAIM },
		{ "reclaim 3", NULL, OP_RECLAIM },
		{ "writeback", NULL, OP_WRITEBACK },
		{ "budget 8", NULL, OP_BUDGET },
		{ "freeze", NULL, OP_FREEZE },
		{ "kill t2", NULL, OP_KILL },
		{ "fail A reads", NULL, OP_FAIL },
		{ "fail A writes", NULL, OP_FAIL },
		{ "fail A syncs", NULL, OP_FAIL },
		{ "fail B none", NULL, OP_FAIL },
		{ "full A 2", NULL, OP_FULL },
		{ "full A 0", NULL, OP_FULL },
		{ "full A never", NULL, OP_FULL },
		{ "after t2", NULL, OP_AFTER },
		{ "read r 0 -> segv|enomem|killed|error", NULL, OP_READ },
	};
	uint32_t seen = 0;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		const char *want = ops[i].printed ? ops[i].printed : ops[i].text;
		char line[120], printed[100];
		struct scenario_op op;

		snprintf(line, sizeof(line), "\t%s", ops[i].text);
		must(parse_ops(line));
		assert_int_equal(s.thread[0].ops, 1);
		op = s.thread[0].op[0];
		assert_int_equal(op.kind, ops[i].kind);
		seen |= 1u << op.kind;
		scenario_op_print(&s, &op, printed, sizeof(printed));
		assert_string_equal(printed, want);
		snprintf(line, sizeof(line), "\t%s", printed);
		must(parse_ops(line));
		assert_memory_equal(&op, &s.thread[0].op[0], sizeof(op));
	}
	/* Those of anonymous memory are below. */
	assert_int_equal(seen | 1u << OP_FILL | 1u << OP_WALK | 1u << OP_MOVE,
			 (1u << (OP_AFTER + 1)) - 1);
}

/* Operations on anonymous memory, from line 6 on. */
static int parse_anon(const char *ops)
{
	char text[1000];

	snprintf(text, sizeof(text),
		 "title t\nregion a anon 4 rw\nswap 3\nregion b anon 16 r unmapped\n"
		 "thread t1\n%s\n",
		 ops);
	return parse(text);
}

static void reads_anonymous_memory(void **state)
{
	static const char *const ops[] = {
		"fill a 3",
		"walk b 15 -> ok|segv",
		"move b 2 a 1 3",
		"move a 0 a 2 2 holes -> busy|exist",
		"fail swap writes",
		"full swap 1",
		"advise a 1 2 pageout",
		"remap a 16 move",
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		char line[100], printed[100];

		snprintf(line, sizeof(line), "\t%s", ops[i]);
		must(parse_anon(line));
		scenario_op_print(&s, &s.thread[0].op[0], printed, sizeof(printed));
		assert_string_equal(printed, ops[i]);
	}
	must(parse_anon("\tmove b 2 a 1 3 holes"));
	const struct scenario_op *op = s.thread[0].op;
	assert_int_equal(op->region, 1);
	assert_int_equal(op->page, 2);
	assert_int_equal(op->from_region, 0);
	assert_int_equal(op->from_page, 1);
	assert_int_equal(op->pages, 3);
	assert_true(op->holes);
	assert_int_equal(s.swap, 3);
	assert_int_equal(s.swap_file, 0);
	assert_int_equal(s.file[0].pages, 3);
	assert_string_equal(s.file[0].name, "swap");
	assert_true(s.region[0].anon);
	assert_int_equal(s.region[1].pages, 16);
	assert_true(s.region[1].unmapped);
}

static void says_what_is_wrong_with_anonymous_memory(void **state)
{
	static const struct {
		const char *ops, *says;
	} wrong[] = {
		{ "\tsync a", "region a is anonymous" },
		{ "\tmap a as=swap", "region a is anonymous" },
		{ "\tmove b 0 a 2 3", "pages 2 to 4 of region a" },
		{ "\tmove a 1 a 0 2", "onto each other" },
		{ "\tmove b 0 a 0", "a number of pages" },
		{ "\tmove b 0 a 0 2 hole", "holes, or the end" },
		{ "\ttruncate swap 1", "the swap store" },
		{ "\tpwrite swap 0", "the swap store" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse_anon(wrong[i].ops), 6);
		if (!strstr(why, wrong[i].says))
			fail_msg("%s: %s", wrong[i].ops, why);
	}
	assert_int_equal(parse("title t\nswap 2\nregion r swap 0 1 shared r\n"), 3);
	assert_non_null(strstr(why, "the swap store"));
	assert_int_equal(parse("title t\nswap 2\nswap 2\n"), 3);
	assert_int_equal(parse("title t\nswap 17\n"), 2);
	assert_int_equal(
		parse("title t\nfile A 1\nregion r A 0 1 shared r\nthread t\n\tfill r 0\n"), 5);
	assert_non_null(strstr(why, "of a file"));
}

static void arguments_are_where_they_belong(void **state)
{
	const struct scenario_op *op = s.thread[0].op;

	must(parse_ops("\tmap p; map r as=B 3\n"
		       "\tprotect r 1 2 r; populate r 0 1 rw\n"
		       "\ttruncate B 3.5; full A never; full A 2; budget 9; reclaim; remap r 9\n"
		       "\tfail A writes; advise r pageout"));
	/* By its declaration, or by as=. */
	assert_int_equal(op[0].file, 1);
	assert_int_equal(op[0].page, 2);
	assert_false(op[0].has_range);
	assert_int_equal(op[1].region, 0);
	assert_int_equal(op[1].file, 1);
	assert_int_equal(op[1].page, 3);
	assert_true(op[1].has_range);
	assert_true(op[2].has_range);
	assert_int_equal(op[2].page, 1);
	assert_int_equal(op[2].pages, 2);
	assert_int_equal(op[2].how, RT_READ);
	assert_int_equal(op[3].how, RT_READ | RT_WRITE);
	assert_int_equal(op[4].file, 1);
	assert_int_equal(op[4].page, 3);
	assert_int_equal(op[4].half, 1);
	assert_int_equal(op[5].pages, -1);
	assert_int_equal(op[6].pages, 2);
	assert_int_equal(op[7].pages, 9);
	assert_int_equal(op[8].pages, 1);
	assert_int_equal(op[9].pages, 9);
	assert_int_equal(op[10].how, FAIL_WRITES);
	assert_int_equal(op[11].how, ADVICE_PAGEOUT);
}

/* Another thread's mremap makes the region larger. */
static void a_region_reaches_as_far_as_it_is_remapped(void **state)
{
	must(parse_ops("\tread r 5 -> ok|segv\nthread t3\n\tremap r 6"));
	assert_int_not_equal(parse_ops("\tread r 6\nthread t3\n\tremap r 6"), 0);
	assert_int_not_equal(parse_ops("\tread r 5"), 0);
}

static void print_keeps_to_its_buffer(void **state)
{
	char buf[8] = "xxxxxxx";

	must(parse_ops("\tpopulate r 0 4 rw"));
	scenario_op_print(&s, &s.thread[0].op[0], buf, 6);
	assert_string_equal(buf, "popul");
	assert_int_equal(buf[6], 'x');
	scenario_op_print(&s, &s.thread[0].op[0], buf, 0);
	assert_string_equal(buf, "popul");
}

/* --- what is wrong with it -------------------------------------------------------- */

struct wrong {
	const char *text;
	int line;
	const char *seen, *expected; /* both are in what it says */
};

static void says(const struct wrong *w, int line)
{
	if (line != w->line)
		fail_msg("\"%s\": line %d, not %d: %s", w->text, line, w->line, why);
	if (!strstr(why, w->seen) || !strstr(why, w->expected))
		fail_msg("\"%s\": \"%s\" has no \"%s\" or \"%s\"", w->text, why, w->seen,
			 w->expected);
	assert_non_null(strstr(why, "expected"));
	assert_null(strchr(why, '\n'));
}

static void says_what_is_wrong_with_an_operation(void **state)
{
	static const struct wrong wrong[] = {
		{ "\treed r 0", 7, "seen `reed`", "an operation: read, write, fill, walk, nowait" },
		{ "\tread", 7, "seen nothing", "a region, declared above: r, p" },
		{ "\tread q 0", 7, "seen `q`", "a region, declared above: r, p" },
		{ "\tread r", 7, "seen nothing", "a page, 0 to 15; the form is: read REGION PAGE" },
		{ "\tread r -> ok", 7, "seen nothing", "a page" },
		{ "\tread r x", 7, "seen `x`", "a page, 0 to 15" },
		{ "\tread r -1", 7, "seen `-1`", "a page, 0 to 15" },
		{ "\tread r 0x1", 7, "seen `0x1`", "a page, 0 to 15" },
		{ "\tread r 16", 7, "seen `16`", "a page, 0 to 15" },
		{ "\tread r 99999999999", 7, "seen `99999999999`", "a page" },
		{ "\tread r 4", 7, "page 4 of region r", "0 to 3" },
		{ "\twrite p 3", 7, "page 3 of region p", "0 to 2" },
		{ "\tread r 0 2", 7, "seen `2`", "a word of the page, 0 to 1" },
		{ "\tread r 0 1 1", 7, "seen `1`", "-> or the end" },
		{ "\tread r 0 ->", 7, "seen nothing", "a result" },
		{ "\tread r 0 -> fine", 7, "seen `fine`", "one of: ok, sigbus, segv, enomem" },
		{ "\tread r 0 -> ok|", 7, "seen ``", "one of: ok" },
		{ "\tread r 0 -> ok|sgv", 7, "seen `sgv`", "one of: ok" },
		{ "\tread r 0 -> ok segv", 7, "seen `segv`", "the end" },
		{ "\tread r 0 1; ; read r 0", 7, "nothing on one side of `;`", "an operation" },
		{ "\tread r 0;", 7, "nothing on one side of `;`", "an operation" },
		{ "\tread r 0\n\n\tread r 9", 9, "page 9 of region r", "0 to 3" },
		{ "\tpopulate r 0 r", 7, "seen `r`", "a number of pages, 1 to 16" },
		{ "\tpopulate r 0 4 w", 7, "seen `w`", "one of: r, rw" },
		{ "\tpopulate r 0 5 r", 7, "pages 0 to 4 of region r", "0 to 3" },
		{ "\tpopulate r 0 0 r", 7, "seen `0`", "a number of pages, 1 to 16" },
		{ "\tunmap r 1", 7, "seen nothing", "a number of pages" },
		{ "\tunmap r 3 2", 7, "pages 3 to 4 of region r", "0 to 3" },
		{ "\tprotect r x", 7, "seen `x`", "one of: none, r, rw" },
		{ "\tprotect r 1 none", 7, "seen `none`", "a number of pages" },
		{ "\tadvise r", 7, "seen nothing", "one of: normal, random, sequential" },
		{ "\tadvise r hot", 7, "seen `hot`", "one of: normal" },
		{ "\tmap r B", 7, "seen `B`", "as=FILE" },
		{ "\tmap r as=C", 7, "seen `C`", "a file, declared above: A, B" },
		{ "\tmap r as=B x", 7, "seen `x`", "a page" },
		{ "\tmap r as=B 13", 7, "4 pages from page 13", "an end at 16" },
		{ "\tremap r 17", 7, "seen `17`", "a number of pages, 1 to 16" },
		{ "\tremap p 15", 7, "region p of 15 pages", "14 at most" },
		{ "\tremap r 2 away", 7, "seen `away`", "move, or the end" },
		{ "\tpin r 0 1 none", 7, "seen `none`", "one of: r, rw" },
		{ "\tunpin r 0", 7, "seen nothing", "a number of pages" },
		{ "\ttruncate C 1", 7, "seen `C`", "a file, declared above: A, B" },
		{ "\ttruncate A", 7, "seen nothing", "pages, 0 to 16, as 2 or 2.5" },
		{ "\ttruncate A 1.25", 7, "seen `1.25`", "pages, 0 to 16, as 2 or 2.5" },
		{ "\ttruncate A 16.5", 7, "seen `16.5`", "pages, 0 to 16, as 2 or 2.5" },
		{ "\toutside A x", 7, "seen `x`", "pages, 0 to 16, as 2 or 2.5" },
		{ "\trefresh A", 7, "seen `A`", "-> or the end" },
		{ "\tpwrite A 16", 7, "seen `16`", "a page, 0 to 15" },
		{ "\treclaim 0", 7, "seen `0`", "a number of rounds, 1 to 99" },
		{ "\tbudget", 7, "seen nothing", "a number of frames, 1 to 48" },
		{ "\tbudget 49", 7, "seen `49`", "a number of frames, 1 to 48" },
		{ "\tkill t3", 7, "seen `t3`", "a thread, declared above: t1, t2" },
		{ "\tafter", 7, "seen nothing", "a thread, declared above: t1, t2" },
		{ "\tafter t1", 7, "thread t1 waits for its own end", "without a circle" },
		{ "\tfail A all", 7, "seen `all`", "one of: reads, hangs, writes, syncs, none" },
		{ "\tfull A half", 7, "seen `half`", "`never` or pages, 0 to 16" },
		{ "expect lost = 0", 6, "thread t1 has no operation", "expected one" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		says(&wrong[i], parse_ops(wrong[i].text));
}

static void says_what_is_wrong_with_a_declaration(void **state)
{
	static const struct wrong wrong[] = {
		{ "", 1, "no title", "`title WORDS`" },
		{ "title", 1, "seen nothing", "what meets what" },
		{ "title a\ntitle b", 2, "a second title", "one" },
		{ "title t", 1, "no file", "`file NAME PAGES`" },
		{ "title t\nfile", 2, "seen nothing", "a name: letters, digits and _" },
		{ "title t\nfile A", 2, "seen nothing", "pages, 0 to 16, as 2 or 2.5" },
		{ "title t\nfile A 17", 2, "seen `17`", "pages, 0 to 16" },
		{ "title t\nfile A 1 2", 2, "seen `2`", "the end; the form is: file NAME" },
		{ "title t\nfile 1A 2", 2, "seen `1A`", "a name" },
		{ "title t\nfile a-b 2", 2, "seen `a-b`", "a name" },
		{ "title t\nfile sixteen_letters_ 2", 2, "seen `sixteen_letters_`", "15 at most" },
		{ "title t\nfile start 2", 2, "seen `start`", "not `start`" },
		{ "title t\nfile A 1\nfile A 2", 3, "a second file `A`", "a name of its own" },
		{ "title t\nfile A 1\nfile B 1\nfile C 1", 4, "one file too many", "2 at most" },
		{ "title t\nfile A 1", 2, "no region", "`region NAME FILE PAGE PAGES" },
		{ "region r A 0 1 shared r", 1, "seen `A`",
		  "a file, declared above: there is none" },
		{ "file A 1\nregion r", 2, "seen nothing", "a file, declared above: A" },
		{ "file A 1\nregion r A 16", 2, "seen `16`",
		  "its first page of the file, 0 to 15" },
		{ "file A 1\nregion r A 1 16", 2, "seen `16`", "a number of pages, 1 to 15" },
		{ "file A 1\nregion r A 0 0", 2, "seen `0`", "a number of pages, 1 to 16" },
		{ "file A 1\nregion r A 0 1 mine", 2, "seen `mine`", "one of: shared, private" },
		{ "file A 1\nregion r A 0 1 shared w", 2, "seen `w`", "one of: r, rw" },
		{ "file A 1\nregion r A 0 1 shared r mapped", 2, "seen `mapped`", "the end" },
		{ "file A 1\nregion r A 0 1 shared r\nregion r A 0 1 shared r", 3,
		  "a second region `r`", "a name of its own" },
		{ "file A 1\nregion a A 0 1 shared r\nregion b A 0 1 shared r\n"
		  "region c A 0 1 shared r\nregion d A 0 1 shared r\nregion e A 0 1 shared r",
		  6, "one region too many", "4 at most" },
		{ "title t\nfile A 1\nregion r A 0 1 shared r\n\n", 4, "no thread",
		  "`thread NAME`" },
		{ "memory 0", 1, "seen `0`", "a number of frames, 1 to 48" },
		{ "memory 49", 1, "seen `49`", "a number of frames, 1 to 48" },
		{ "memory 4\nmemory 4", 2, "a second `memory`", "one" },
		{ "memory 4 frames", 1, "seen `frames`", "the end" },
		{ "ahead 17", 1, "seen `17`", "a number of pages, 0 to 16" },
		{ "ahead 1\nahead 0", 2, "a second `ahead`", "one" },
		{ "tiny one", 1, "seen `one`", "the end" },
		{ "before t1", 1, "seen `t1`", "the end" },
		{ "before\nbefore", 2, "a second `before`", "one" },
		{ "thread", 1, "seen nothing", "a name" },
		{ "thread t u", 1, "seen `u`", "the end" },
		{ "file A 1\nregion r A 0 1 shared r\nthread t\n read r 0\nthread t", 5,
		  "a second thread `t`", "a name of its own" },
		{ "thread a\n refresh\nthread b\n refresh\nthread c\n refresh\nthread d\n "
		  "refresh\nthread e",
		  9, "one thread too many", "4 at most" },
		{ "read r 0", 1, "seen `read` at the margin", "indented" },
		{ "\tread r 0", 1, "seen `read`, indented", "`thread NAME` or `before`" },
		{ "thread t\nmemory 4\n\trefresh", 3, "seen `refresh`, indented", "above it" },
		{ "theread t", 1, "seen `theread`", "a declaration: title, file, region" },
		{ "before\n\tkill t\nthread t\n\trefresh", 2, "seen `kill` in `before`", "thread" },
		{ "before\n\tafter t\nthread t\n\trefresh", 2, "seen `after` in `before`",
		  "thread" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		says(&wrong[i], parse(wrong[i].text));
}

static void says_what_is_wrong_with_an_expectation(void **state)
{
	static const struct wrong wrong[] = {
		{ "expect", 8, "seen nothing", "one of: reads, word, retries, major, lost" },
		{ "expect luck", 8, "seen `luck`", "one of: reads" },
		{ "expect reads", 8, "seen nothing", "a file, declared above: A, B" },
		{ "expect reads A x", 8, "seen `x`", "a page" },
		{ "expect reads A 0 < 1", 8, "seen `<`", "one of: <=, =, >=" },
		{ "expect reads A 0 <= few", 8, "seen `few`",
		  "a number, 0 to 999999; the form is: expect reads FILE PAGE" },
		{ "expect reads A 0 <= 1 2", 8, "seen `2`", "the end" },
		{ "expect retries", 8, "seen nothing", "one of: <=, =, >=" },
		{ "expect word A 0 2 = t1", 8, "seen `2`", "a word of the page, 0 to 1" },
		{ "expect word A 0 0 <= t1", 8, "seen `<=`", "expected =" },
		{ "expect word A 0 0 = t4", 8, "seen `t4`", "a thread, declared above: t1, t2" },
		{ "expect word A 0 0 = t1", 8, "thread t1, which writes none", "one that does" },
	};
	char ops[200];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(ops, sizeof(ops), "\tread r 0\n%s", wrong[i].text);
		says(&wrong[i], parse_ops(ops));
	}
	strcpy(ops, "\tread r 0");
	for (int i = 0; i < 9; i++)
		strcat(ops, "\nexpect lost = 0");
	says(&(struct wrong){ ops, 16, "one expectation too many", "8 at most" }, parse_ops(ops));
}

static void says_that_it_is_too_much(void **state)
{
	char text[2000] = "title t\nfile A 1\nregion r A 0 1 shared r\nthread t\n", title[200];
	struct wrong w = { .text = text };

	for (int i = 0; i < 17; i++)
		strcat(text, "\tread r 0\n");
	w = (struct wrong){ text, 21, "one operation too many", "16 at most" };
	says(&w, parse(text));

	memset(title, 'x', sizeof(title));
	title[0] = title[5] = ' ';
	snprintf(text, sizeof(text), "title%.95s\n", title);
	assert_int_equal(parse(text), 1); /* 94 characters: it is the file that is missing */
	assert_non_null(strstr(why, "no file"));
	snprintf(text, sizeof(text), "title%.97s\n", title);
	w = (struct wrong){ text, 1, "a title too long", "95 characters" };
	says(&w, parse(text));

	memset(text, ' ', 300);
	strcpy(text + 300, "read r 0");
	w = (struct wrong){ text, 1, "a line of 256", "less" };
	says(&w, parse(text));

	memset(text, 0, sizeof(text));
	for (int i = 0; i < 70; i++)
		strcat(text, "x ");
	assert_int_equal(parse(text), 1);
	assert_non_null(strstr(why, "more words in a line"));

	memset(text, 'n', 48);
	text[48] = 0;
	assert_int_equal(scenario_parse(&s, text, "title t", why, sizeof(why)), 1);
	assert_non_null(strstr(why, "47 characters"));
}

/* t1 waits for t2, t2 for t3, t3 for t2: none ends. */
static void circles_are_found(void **state)
{
	static const char text[] = "title t\nfile A 1\nregion r A 0 1 shared r\n"
				   "thread t1\n\tafter t2\n"
				   "thread t2\n\tread r 0\n\tafter t3\n"
				   "thread t3\n\tafter %s\n"
				   "thread t4\n\tread r 0\n";
	char buf[400];

	snprintf(buf, sizeof(buf), text, "t2");
	says(&(struct wrong){ buf, 8, "thread t2 waits for its own end", "circle" }, parse(buf));
	snprintf(buf, sizeof(buf), text, "t1");
	says(&(struct wrong){ buf, 5, "thread t1 waits for its own end", "circle" }, parse(buf));
	snprintf(buf, sizeof(buf), text, "t4");
	must(parse(buf));
}

/* Whatever the text is: it ends, and says something if it is wrong. */
static void garbage_is_refused(void **state)
{
	static const char *const piece[] = { "title ",  "file ", "A ",      "r ",       "4 ",
					     "\n",      "\t",    "read ",   "->",       "ok|",
					     ";",       "#",     "thread ", "before\n", "expect ",
					     "word ",   "= ",    "\r",      "1.5 ",     "region ",
					     "shared ", "rw ",   "as=A ",   "map " };
	uint64_t r = 5;

	for (int i = 0; i < 20000; i++) {
		char text[300] = "";

		for (int n = (int)(unit_random(&r) % 30); n > 0; n--)
			strcat(text, piece[unit_random(&r) % (sizeof(piece) / sizeof(piece[0]))]);
		int line = parse(text);
		assert_int_equal(line == 0, why[0] == 0);
		assert_true(line >= 0 && line < 300);
	}
}

/* --- those that there are --------------------------------------------------------------- */

static char *text_of(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);

	if (!f || !text || fread(text, 1, (1 << 16) - 1, f) == 0)
		fail_msg("%s cannot be read", path);
	fclose(f);
	return text;
}

/* Each operation in the place of its line, as it is printed: the text means the same. */
static void prints_again(const char *name, const struct scenario *was)
{
	char text[8000];
	size_t at = 0;

	at += (size_t)snprintf(text, sizeof(text), "title %s\n", was->title);
	for (unsigned i = 0; i < was->files; i++)
		if (was->swap && i == was->swap_file)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "swap %u\n",
					       was->swap);
		else
			at += (size_t)snprintf(text + at, sizeof(text) - at, "file %s %d%s\n",
					       was->file[i].name, was->file[i].pages,
					       was->file[i].half ? ".5" : "");
	for (unsigned i = 0; i < was->regions; i++) {
		const struct scenario_region *r = &was->region[i];
		if (r->anon)
			at += (size_t)snprintf(text + at, sizeof(text) - at,
					       "region %s anon %d rw\n", r->name, r->pages);
		else
			at += (size_t)snprintf(text + at, sizeof(text) - at,
					       "region %s %s %d %d shared rw\n", r->name,
					       was->file[r->file].name, r->page, r->pages);
	}
	for (unsigned t = 0; t < was->threads; t++) {
		const struct scenario_thread *th = &was->thread[t];
		at += (size_t)snprintf(text + at, sizeof(text) - at, "thread %s\n", th->name);
		for (unsigned i = 0; i < th->ops; i++) {
			at += (size_t)snprintf(text + at, sizeof(text) - at, "\t");
			scenario_op_print(was, &th->op[i], text + at, sizeof(text) - at);
			at += strlen(text + at);
			at += (size_t)snprintf(text + at, sizeof(text) - at, "\n");
		}
	}
	must(scenario_parse(&s, name, text, why, sizeof(why)));
	for (unsigned t = 0; t < was->threads; t++) {
		assert_int_equal(s.thread[t].ops, was->thread[t].ops);
		for (unsigned i = 0; i < s.thread[t].ops; i++) {
			s.thread[t].op[i].line = was->thread[t].op[i].line;
			assert_memory_equal(&s.thread[t].op[i], &was->thread[t].op[i],
					    sizeof(struct scenario_op));
		}
	}
}

static void every_scenario_of_the_tree_is_one(void **state)
{
	DIR *dir = opendir(SCENARIO_DIR);
	unsigned all = 0, tiny = 0;
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL) {
		char path[1000], name[256];
		char *dot = strrchr(e->d_name, '.');
		if (!dot || strcmp(dot, ".scn") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", SCENARIO_DIR, e->d_name);
		snprintf(name, sizeof(name), "%.*s", (int)(dot - e->d_name), e->d_name);
		char *text = text_of(path);
		int line = scenario_parse(&s, name, text, why, sizeof(why));
		if (line)
			fail_msg("%s:%d: %s", e->d_name, line, why);
		if (text[0] != '#')
			fail_msg("%s: no comment that says what it is about", e->d_name);
		/* One thread alone meets the pager, the device, and calls that fail. */
		if (s.threads < 1)
			fail_msg("%s: nothing happens", e->d_name);
		all++;
		tiny += s.tiny;
		struct scenario was = s;
		prints_again(name, &was);
		free(text);
	}
	closedir(dir);
	assert_true(all >= 38);
	assert_true(tiny >= 8);
}

/* Without the lines, which are where they are. */
static struct scenario meaning_of(const char *name, const char *text)
{
	int line = scenario_parse(&s, name, text, why, sizeof(why));

	if (line)
		fail_msg("%s:%d: %s", name, line, why);
	for (unsigned i = 0; i < SCENARIO_OPS; i++)
		s.before[i].line = 0;
	for (unsigned t = 0; t < SCENARIO_THREADS; t++)
		for (unsigned i = 0; i < SCENARIO_OPS; i++)
			s.thread[t].op[i].line = 0;
	for (unsigned i = 0; i < SCENARIO_EXPECTS; i++)
		s.expect[i].line = 0;
	return s;
}

/* The indented lines that follow `at`, up to the next that is not. */
static void block_after(const char *at, char *text)
{
	while (*at && strncmp(at, "\n    ", 5) != 0)
		at++;
	for (; strncmp(at, "\n    ", 5) == 0; at += 5 + strcspn(at + 5, "\n"))
		text += sprintf(text, "%.*s\n", (int)strcspn(at + 5, "\n"), at + 5);
}

static void the_examples_of_the_manual_are_those_of_the_tree(void **state)
{
	char *manual = text_of(SCENARIO_MANUAL), *at = manual, name[100], path[1000];
	unsigned n = 0;

	while ((at = strstr(at, "\n### ")) != NULL) {
		char *block = calloc(1, strlen(at));
		at += 5;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "\n"), at);
		block_after(at, block);
		snprintf(path, sizeof(path), "%s/%s.scn", SCENARIO_DIR, name);
		char *text = text_of(path);
		struct scenario shown = meaning_of(name, block), is = meaning_of(name, text);
		if (memcmp(&shown, &is, sizeof(is)) != 0)
			fail_msg("%s is not what test/sim has", name);
		free(text);
		free(block);
		n++;
	}
	free(manual);
	assert_int_equal(n, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_declarations),
		cmocka_unit_test(what_is_not_said_is_usual),
		cmocka_unit_test(reads_expectations),
		cmocka_unit_test(before_writes_as_the_first_thread),
		cmocka_unit_test(prints_what_it_reads),
		cmocka_unit_test(reads_anonymous_memory),
		cmocka_unit_test(says_what_is_wrong_with_anonymous_memory),
		cmocka_unit_test(arguments_are_where_they_belong),
		cmocka_unit_test(a_region_reaches_as_far_as_it_is_remapped),
		cmocka_unit_test(print_keeps_to_its_buffer),
		cmocka_unit_test(says_what_is_wrong_with_an_operation),
		cmocka_unit_test(says_what_is_wrong_with_a_declaration),
		cmocka_unit_test(says_what_is_wrong_with_an_expectation),
		cmocka_unit_test(says_that_it_is_too_much),
		cmocka_unit_test(circles_are_found),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(every_scenario_of_the_tree_is_one),
		cmocka_unit_test(the_examples_of_the_manual_are_those_of_the_tree),
	};

	return cmocka_run_group_tests_name("scenario", tests, NULL, NULL);
}
