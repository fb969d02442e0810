/* SPDX-License-Identifier: Apache-2.0 */
/* kvsctl: the command line client. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "kvsctl/ctl.h"
#include "kvsctl/help.h"
#include "kvsctl/service.h"
#include "proto/names.h"

#define NS_PER_MS 1000000u

static const struct {
	const char *name;
	ctl_command_fn *run;
} commands[] = {
	{ "streams", streams_command },
	{ "create-stream", create_stream_command },
	{ "describe-stream", describe_stream_command },
	{ "delete-stream", delete_stream_command },
	{ "put", put_command },
	{ "get", get_command },
	{ "fragments", fragments_command },
	{ "clip", clip_command },
	{ "export", export_command },
	{ "devices", devices_command },
	{ "doctor", doctor_command },
	{ "sync", sync_command },
	{ "feed", feed_command },
};

void ctl_note(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("kvsctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

int ctl_fail(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("kvsctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return code;
}

int ctl_check_stream(const char *name)
{
	if (name_stream_valid(slice_of(name)))
		return CTL_OK;
	return ctl_fail(CTL_USAGE,
			"'%s' cannot be a stream's name: 1 to 256 letters, "
			"digits, '_', '.' and '-'",
			name);
}

/* The options that every command takes. */
#define CTL_COMMON_OPTIONS(ctl)                                              \
	{                                                                    \
		{ "endpoint-url", 0, NULL, &(ctl)->options.endpoint_url,     \
		  NULL },                                                    \
		{ "ca-bundle", 0, NULL, &(ctl)->options.ca_bundle, NULL },   \
		{ "profile", 0, NULL, &(ctl)->options.profile, NULL },       \
		{ "region", 0, NULL, &(ctl)->options.region, NULL },         \
		{ "timeout", 0, NULL, &(ctl)->timeout, NULL },               \
		{ "json", 0, &(ctl)->json, NULL, NULL },                     \
		{ "help", 'h', &(ctl)->help, NULL, NULL },                   \
		{ NULL, 0, NULL, NULL, NULL },                               \
	}

static int take_timeout(struct ctl *ctl)
{
	uint64_t ns;

	ctl->timeout_ms = CTL_TIMEOUT_MS;
	if (!ctl->timeout)
		return CTL_OK;
	if (parse_duration_ns(ctl->timeout, &ns) < 0 || ns < NS_PER_MS)
		return ctl_fail(CTL_USAGE,
				"--timeout '%s' is not a duration like 500ms, "
				"30s or 5min",
				ctl->timeout);
	ctl->timeout_ms = ns / NS_PER_MS;
	ctl->timeout_given = true;
	return CTL_OK;
}

int ctl_args(struct ctl *ctl, int argc, char **argv,
	     const struct arg_option *options, const char *operands,
	     unsigned int min, unsigned int max, struct args *ret_args,
	     bool *ret_over)
{
	const struct arg_option common[] = CTL_COMMON_OPTIONS(ctl);
	const struct arg_option *tables[] = { options, common };

	*ret_over = true;
	if (args_parse(argc, argv, tables, 2, false, ret_args) < 0)
		return ctl_fail(CTL_USAGE, "%s; see: kvsctl help %s",
				ret_args->error, ctl->command);
	if (ctl->help) {
		(void)fputs(help_page(ctl->command), stdout);
		return CTL_OK;
	}
	if (ret_args->count < min || ret_args->count > max)
		return ctl_fail(CTL_USAGE,
				"usage: kvsctl %s%s%s [OPTION]...; see: "
				"kvsctl help %s",
				ctl->command, *operands ? " " : "", operands,
				ctl->command);
	*ret_over = false;
	return take_timeout(ctl);
}

int ctl_stream_args(struct ctl *ctl, int argc, char **argv,
		    const struct arg_option *options, const char *operands,
		    const char **ret_stream, bool *ret_over)
{
	struct args args;
	int code = ctl_args(ctl, argc, argv, options, operands, 1, 1, &args,
			    ret_over);

	if (code != CTL_OK || *ret_over)
		return code;
	*ret_stream = args.operands[0];
	return ctl_check_stream(*ret_stream);
}

static int help_command(int argc, char **argv)
{
	const char *topic = argc > 0 ? argv[0] : NULL;
	const char *page = help_page(topic);

	if (!page || argc > 1)
		return ctl_fail(CTL_USAGE,
				"there is no help on '%s'; see: kvsctl help",
				argc > 1 ? argv[1] : topic);
	(void)fputs(page, stdout);
	return CTL_OK;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	size_t i;

	ctl->command = argv[0];
	if (strcmp(argv[0], "help") == 0)
		return help_command(argc - 1, argv + 1);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i].name) == 0)
			return commands[i].run(ctl, argc - 1, argv + 1);
	}
	return ctl_fail(CTL_USAGE, "there is no command '%s'; see: kvsctl help",
			argv[0]);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { 0 };
	const struct arg_option common[] = CTL_COMMON_OPTIONS(&ctl);
	const struct arg_option *tables[] = { common };
	struct args args;
	int code;

	/* A reader that goes away is an error of write(), handled there. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc < 1)
		return CTL_USAGE;
	argc--;
	argv++;
	if (args_parse(argc, argv, tables, 1, true, &args) < 0)
		return ctl_fail(CTL_USAGE, "%s; see: kvsctl help", args.error);
	if (args.used == argc) {
		(void)fputs(help_page(NULL), ctl.help ? stdout : stderr);
		return ctl.help ? CTL_OK : CTL_USAGE;
	}
	code = run(&ctl, argc - args.used, argv + args.used);
	service_close(&ctl);
	return code;
}
