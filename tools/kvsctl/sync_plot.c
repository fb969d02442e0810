/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sync_plot.h"

#include <errno.h>
#include <stdbool.h>

#define WIDTH 960.0
#define PANEL_HEIGHT 200.0
#define PANEL_GAP 46.0
#define LEFT 84.0
#define RIGHT 24.0
#define TOP 40.0
#define LEGEND_HEIGHT 20.0
#define TICKS_X 8u
#define TICKS_Y 5u

/* Told apart also by those who see few colours (Okabe and Ito). */
static const char *const colours[] = {
	"#0072b2", "#d55e00", "#009e73", "#cc79a7",
	"#e69f00", "#56b4e9", "#000000", "#999933",
};

struct panel {
	const char *title;
	const char *unit;
	double (*value)(const struct sync_point *p);
};

static double offset_us(const struct sync_point *p)
{
	return (double)sync_point_mean_ns(p) / 1e3;
}

static double jitter_us(const struct sync_point *p)
{
	return (double)p->jitter_ns / 1e3;
}

static double drift_ppm(const struct sync_point *p)
{
	return (double)p->drift_ppb / 1e3;
}

static const struct panel panels[] = {
	{"offset of the raw stamp to aligned time", "us", offset_us},
	{"jitter", "us", jitter_us},
	{"drift", "ppm", drift_ppm},
};

struct range {
	double low;
	double high;
};

/* By hand: libm is linked for nothing else. */
static double floor_of(double v)
{
	double whole = (double)(int64_t)v;

	return whole > v ? whole - 1 : whole;
}

static double ceil_of(double v)
{
	return -floor_of(-v);
}

double sync_plot_tick(double span, unsigned int count)
{
	double rough = span / count;
	double power = 1;

	if (!(rough > 1e-12) || !(rough < 1e15))
		return 1;
	while (power > rough)
		power /= 10;
	while (power * 10 <= rough)
		power *= 10;
	if (rough <= power)
		return power;
	if (rough <= 2 * power)
		return 2 * power;
	return rough <= 5 * power ? 5 * power : 10 * power;
}

/* Names come from drivers and from users. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '<')
			(void)fputs("&lt;", out);
		else if (c == '&')
			(void)fputs("&amp;", out);
		else if (c == '>')
			(void)fputs("&gt;", out);
		else if (c < ' ' || c >= 0x7f)
			(void)fputc('?', out);
		else
			(void)fputc(c, out);
	}
}

static double end_s(const struct sync_plot_line *lines, size_t count)
{
	double end = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		const struct sync_series *s = lines[i].series;

		if (s->count)
			end = MAX(end,
				  (double)s->points[s->count - 1].begin_ns /
					  1e9);
	}
	return end > 0 ? end : 1;
}

static struct range range_of(const struct panel *panel,
			     const struct sync_plot_line *lines, size_t count)
{
	struct range r = {0};
	bool any = false;
	double tick;
	size_t i;
	size_t k;

	for (i = 0; i < count; i++) {
		for (k = 0; k < lines[i].series->count; k++) {
			double v = panel->value(&lines[i].series->points[k]);

			r.low = any ? MIN(r.low, v) : v;
			r.high = any ? MAX(r.high, v) : v;
			any = true;
		}
	}
	if (!any)
		return (struct range){0, 1};
	/* A flat line is drawn in the middle. */
	if (r.high - r.low < 1e-3)
		return (struct range){r.low - 1, r.high + 1};
	tick = sync_plot_tick(r.high - r.low, TICKS_Y);
	return (struct range){floor_of(r.low / tick) * tick,
			      ceil_of(r.high / tick) * tick};
}

static double x_of(double s, double end)
{
	return LEFT + s / end * (WIDTH - LEFT - RIGHT);
}

static double y_of(double v, struct range r, double top)
{
	return top + (r.high - v) / (r.high - r.low) * PANEL_HEIGHT;
}

static void draw_frame(FILE *out, const struct panel *panel, struct range r,
		       double end, double top)
{
	double tick = sync_plot_tick(r.high - r.low, TICKS_Y);
	double first = ceil_of(r.low / tick - 1e-9);
	unsigned int i;

	(void)fprintf(out,
		      "<text x=\"%.0f\" y=\"%.1f\" font-weight=\"bold\">%s, "
		      "%s</text>\n",
		      LEFT, top - 6, panel->title, panel->unit);
	for (i = 0; i <= 2 * TICKS_Y; i++) {
		double v = (first + i) * tick;
		double y = y_of(v, r, top);

		if (v > r.high + tick * 1e-6)
			break;
		(void)fprintf(out,
			      "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/>"
			      "<text x=\"%.1f\" y=\"%.1f\" "
			      "text-anchor=\"end\">%.6g</text>\n",
			      LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4,
			      v < tick * 1e-6 && v > tick * -1e-6 ? 0 : v);
	}
	tick = sync_plot_tick(end, TICKS_X);
	for (i = 0; i <= 2 * TICKS_X && i * tick <= end; i++)
		(void)fprintf(out,
			      "<path d=\"M%.1f %.1fv%.1f\" stroke=\"#ddd\"/>"
			      "<text x=\"%.1f\" y=\"%.1f\" "
			      "text-anchor=\"middle\">%.6g s</text>\n",
			      x_of(i * tick, end), top, PANEL_HEIGHT,
			      x_of(i * tick, end), top + PANEL_HEIGHT + 15,
			      i * tick);
}

/* One line for each epoch: between two of them nothing compares. */
static void draw_line(FILE *out, const struct panel *panel,
		      const struct sync_series *s, const char *colour,
		      struct range r, double end, double top)
{
	size_t i;

	for (i = 0; i < s->count; i++) {
		const struct sync_point *p = &s->points[i];
		bool first = !i || p[-1].epoch != p->epoch;
		bool last = i + 1 == s->count || p[1].epoch != p->epoch;

		if (first)
			(void)fprintf(out,
				      "<polyline fill=\"none\" stroke=\"%s\" "
				      "stroke-linecap=\"round\" "
				      "stroke-width=\"1.5\" points=\"",
				      colour);
		(void)fprintf(out, "%.1f,%.1f ",
			      x_of((double)p->begin_ns / 1e9, end),
			      y_of(panel->value(p), r, top));
		/* A point alone is a dot. */
		if (first && last)
			(void)fprintf(out, "%.1f,%.1f",
				      x_of((double)p->begin_ns / 1e9, end),
				      y_of(panel->value(p), r, top));
		if (last)
			(void)fprintf(out, "\"/>\n");
	}
}

static void draw_legend(FILE *out, const struct sync_plot_line *lines,
			size_t count, double top)
{
	size_t i;

	for (i = 0; i < count; i++) {
		double y = top + (double)i * LEGEND_HEIGHT;

		(void)fprintf(out,
			      "<path d=\"M%.1f %.1fh24\" stroke=\"%s\" "
			      "stroke-width=\"3\"/><text x=\"%.1f\" "
			      "y=\"%.1f\">",
			      LEFT, y, colours[i % ARRAY_SIZE(colours)],
			      LEFT + 32, y + 4);
		put_text(out, lines[i].name);
		(void)fprintf(out, "</text>\n");
	}
}

int sync_plot_write(FILE *out, const struct sync_plot_line *lines, size_t count)
{
	const size_t shown = ARRAY_SIZE(panels);
	double below = TOP + (double)shown * (PANEL_HEIGHT + PANEL_GAP);
	double height = below + (double)count * LEGEND_HEIGHT + 8;
	double end = end_s(lines, count);
	size_t i;
	size_t k;

	(void)fprintf(
		out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" "
		"width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, height, WIDTH, height);
	for (i = 0; i < ARRAY_SIZE(panels); i++) {
		double top = TOP + (double)i * (PANEL_HEIGHT + PANEL_GAP);
		struct range r = range_of(&panels[i], lines, count);

		draw_frame(out, &panels[i], r, end, top);
		for (k = 0; k < count; k++)
			draw_line(out, &panels[i], lines[k].series,
				  colours[k % ARRAY_SIZE(colours)], r, end,
				  top);
	}
	draw_legend(out, lines, count, below);
	(void)fprintf(out, "</svg>\n");
	return fflush(out) || ferror(out) ? -EIO : 0;
}
