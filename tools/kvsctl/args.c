/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct parser {
	int argc;
	char *const *argv;
	int at;
	const struct arg_option *const *tables;
	unsigned int table_count;
	struct args *args;
};

static int refuse(struct parser *p, const char *what, const char *name)
{
	(void)snprintf(p->args->error, sizeof(p->args->error), "%s%s",
		       name, what);
	return -EINVAL;
}

static const struct arg_option *find_long(const struct parser *p,
					  const char *name, size_t len)
{
	unsigned int i;
	const struct arg_option *o;

	for (i = 0; i < p->table_count; i++) {
		for (o = p->tables[i]; o->name; o++) {
			if (strlen(o->name) == len &&
			    memcmp(o->name, name, len) == 0)
				return o;
		}
	}
	return NULL;
}

static const struct arg_option *find_short(const struct parser *p, char letter)
{
	unsigned int i;
	const struct arg_option *o;

	for (i = 0; i < p->table_count; i++) {
		for (o = p->tables[i]; o->name; o++) {
			if (o->letter && o->letter == letter)
				return o;
		}
	}
	return NULL;
}

/* @value: what was given with it, or NULL: then the next argument. */
static int take_option(struct parser *p, const struct arg_option *o,
		       const char *value, const char *shown)
{
	if (o->flag) {
		if (value)
			return refuse(p, " takes no value", shown);
		*o->flag = true;
		return 0;
	}
	if (!value) {
		if (p->at == p->argc)
			return refuse(p, " needs a value", shown);
		value = p->argv[p->at++];
	}
	if (o->list) {
		if (o->list->count == CTL_LIST_VALUES_MAX)
			return refuse(p, " is given too often", shown);
		o->list->values[o->list->count++] = value;
		return 0;
	}
	if (*o->value)
		return refuse(p, " is given twice", shown);
	*o->value = value;
	return 0;
}

static int take_long(struct parser *p, const char *arg)
{
	const char *name = arg + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct arg_option *o = find_long(p, name, len);
	char shown[64];

	(void)snprintf(shown, sizeof(shown), "--%.*s", (int)len, name);
	if (!o)
		return refuse(p, ": there is no such option", shown);
	return take_option(p, o, equals ? equals + 1 : NULL, shown);
}

/* "-o FILE", "-oFILE" */
static int take_short(struct parser *p, const char *arg)
{
	const struct arg_option *o = find_short(p, arg[1]);
	char shown[3] = { '-', arg[1], '\0' };

	if (!o)
		return refuse(p, ": there is no such option", shown);
	return take_option(p, o, arg[2] ? arg + 2 : NULL, shown);
}

int args_parse(int argc, char *const *argv,
	       const struct arg_option *const *tables,
	       unsigned int table_count, bool stop, struct args *ret_args)
{
	struct parser p = { argc, argv, 0, tables, table_count, ret_args };
	bool only_operands = false;
	int r = 0;

	*ret_args = (struct args){ 0 };
	while (r == 0 && p.at < argc) {
		const char *arg = argv[p.at];

		if (only_operands || arg[0] != '-' || !arg[1]) {
			if (stop)
				break;
			if (ret_args->count == CTL_POSITIONALS_MAX)
				return refuse(&p, ": too many arguments", arg);
			ret_args->operands[ret_args->count++] = arg;
			p.at++;
			continue;
		}
		p.at++;
		if (strcmp(arg, "--") == 0)
			only_operands = true;
		else if (arg[1] == '-')
			r = take_long(&p, arg);
		else
			r = take_short(&p, arg);
	}
	ret_args->used = p.at;
	return r;
}
