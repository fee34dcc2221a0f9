/* SPDX-License-Identifier: MIT */
/* main.c - quire(1): finds the command and runs it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "quire/quire.h"

static const struct command *const commands[] = { &run_command, &stat_command, &doctor_command,
						  &check_command };

#define COMMANDS ((int)(sizeof(commands) / sizeof(commands[0])))

static int help(void)
{
	puts("usage: quire COMMAND [OPTION...]\n"
	     "\n"
	     "Memory-mapped files larger than RAM, under a budget of your own.\n");
	for (int i = 0; i < COMMANDS; i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
	puts("\n"
	     "  --help     this text; `quire COMMAND --help` has a command's own\n"
	     "  --version  the version\n"
	     "\n"
	     "Example: quire run --memory 512M -- program arguments");
	return 0;
}

static int unknown(const char *word)
{
	const char *names[COMMANDS + 2] = { "--help", "--version" };
	const char *near;

	for (int i = 0; i < COMMANDS; i++)
		names[i + 2] = commands[i]->name;
	near = nearest(word, names, COMMANDS + 2);
	if (near)
		return complain(NULL, "unknown command '%s', did you mean '%s'?", word, near);
	return complain(NULL, "unknown command '%s'", word);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return complain(NULL, "no command given");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return help();
	if (!strcmp(argv[1], "--version")) {
		printf("quire %s\n", quire_version());
		return 0;
	}
	for (int i = 0; i < COMMANDS; i++) {
		if (!strcmp(argv[1], commands[i]->name))
			return commands[i]->main(argc - 1, argv + 1);
	}
	return unknown(argv[1]);
}
