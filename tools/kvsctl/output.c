/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/output.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "kvsctl/ctl.h"
#include "kvsctl/text.h"
#include "proto/epoch.h"

#define BAR_CHARS 30u
#define NS_PER_MS 1000000u

static int end_of_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CTL_OK;
	return ctl_fail(CTL_LOCAL, "cannot write the output");
}

int output_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2) | OUTPUT_JSON_FLAGS) < 0)
		return ctl_fail(CTL_LOCAL, "cannot write the output");
	(void)putchar('\n');
	return end_of_output();
}

void table_init(struct table *t, unsigned int columns)
{
	assert(columns > 0 && columns <= CTL_TABLE_COLUMNS_MAX);
	*t = (struct table){ .columns = columns };
}

void table_fini(struct table *t)
{
	size_t i;

	for (i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	table_init(t, t->columns);
}

void table_add(struct table *t, const char *text)
{
	size_t size;
	char **cells;
	char *cell;

	if (t->count == t->size) {
		size = t->size ? t->size * 2 : 64;
		cells = t->count / t->columns < CTL_TABLE_ROWS_MAX ?
				reallocarray(t->cells, size, sizeof(*cells)) :
				NULL;
		if (!cells) {
			t->failed = true;
			return;
		}
		t->cells = cells;
		t->size = size;
	}
	cell = strdup(text);
	if (!cell) {
		t->failed = true;
		return;
	}
	t->cells[t->count++] = cell;
}

int table_print(const struct table *t)
{
	int widths[CTL_TABLE_COLUMNS_MAX] = { 0 };
	size_t i;

	if (t->failed)
		return ctl_fail(CTL_LOCAL, "out of memory");
	for (i = 0; i < t->count; i++) {
		int len = (int)strlen(t->cells[i]);

		widths[i % t->columns] = MAX(widths[i % t->columns], len);
	}
	for (i = 0; i < t->count; i++) {
		bool last = i % t->columns == t->columns - 1;

		if (last)
			(void)printf("%s\n", t->cells[i]);
		else
			(void)printf("%-*s  ", widths[i % t->columns],
				     t->cells[i]);
	}
	return end_of_output();
}

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

void progress_init(struct progress *p)
{
	*p = (struct progress){ .shown = isatty(STDERR_FILENO) == 1 };
}

void progress_draw(struct progress *p, uint64_t done, uint64_t total,
		   const char *what)
{
	char bar[BAR_CHARS + 1];
	char size[TEXT_SIZE_CHARS];
	char line[160];
	uint64_t now = p->shown ? now_ns() : 0;
	unsigned int filled;
	size_t len;

	if (!p->shown ||
	    (p->drawn_ns && now - p->drawn_ns < CTL_PROGRESS_MS * NS_PER_MS))
		return;
	p->drawn_ns = now;
	text_size(done, size);
	if (total) {
		done = MIN(done, total);
		filled = (unsigned int)(done / (total / BAR_CHARS + 1));
		memset(bar, ' ', BAR_CHARS);
		memset(bar, '#', MIN(filled, BAR_CHARS));
		bar[BAR_CHARS] = '\0';
		(void)snprintf(line, sizeof(line), "[%s] %3u%% %s %s", bar,
			       (unsigned int)(done / (total / 100 + 1)), size,
			       what);
	} else {
		(void)snprintf(line, sizeof(line), "%s %s", size, what);
	}
	len = strlen(line);
	/* Spaces over what the last line leaves behind. */
	(void)fprintf(stderr, "\r%s%*s", line,
		      p->width > len ? (int)(p->width - len) : 0, "");
	(void)fflush(stderr);
	p->width = len;
}

void progress_end(struct progress *p)
{
	if (p->shown && p->width)
		(void)fprintf(stderr, "\r%*s\r", (int)p->width, "");
	p->width = 0;
}

uint64_t output_ms(const json_t *seconds)
{
	double s = json_number_value(seconds);

	/* Half a millisecond makes the rounding of the parser harmless. */
	return s > 0 && s < EPOCH_S_MAX ? (uint64_t)(s * 1000 + 0.5) : 0;
}

void output_time(const json_t *seconds, char out[OUTPUT_TIME_CHARS])
{
	uint64_t ms = output_ms(seconds);

	if (ms)
		epoch_iso_format(ms, out);
	else
		memcpy(out, "-", 2);
}
