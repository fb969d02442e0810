/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines: "--name value", "--name=value", "-n value", flags, operands
 * in between, "--" before operands that start with '-'. Pure.
 */
#ifndef KVSCTL_ARGS_H
#define KVSCTL_ARGS_H

#include <stdbool.h>

#include "base/macros.h"
#include "kvsctl/limits.h"

struct arg_list {
	const char *values[CTL_LIST_VALUES_MAX];
	unsigned int count;
};

/* Exactly one of @flag, @value and @list is set: where it goes. */
struct arg_option {
	const char *name;	/* without dashes; NULL ends a table */
	char letter;		/* 0 = none */
	bool *flag;
	const char **value;	/* NULL before; given twice is an error */
	struct arg_list *list;	/* may be repeated */
};

struct args {
	const char *operands[CTL_POSITIONALS_MAX];
	unsigned int count;
	int used;		/* arguments read */
	char error[CTL_ERROR_CHARS_MAX];
};

/**
 * args_parse() - read arguments
 * @tables: @table_count tables of options; the first match counts
 * @stop: end before the first operand (@used says where)
 *
 * Values point into @argv. Return: 0, -EINVAL (@ret_args->error says why).
 */
int args_parse(int argc, char *const *argv,
	       const struct arg_option *const *tables,
	       unsigned int table_count, bool stop,
	       struct args *ret_args) MUST_CHECK;

#endif
