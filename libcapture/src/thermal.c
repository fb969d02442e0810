/* SPDX-License-Identifier: Apache-2.0 */
/* The view of a picture of counts: memory and frames around thermal_map. */
#include <capture/thermal.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/encoder_backend.h"
#include "src/frame.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/thermal_map.h"
#include "src/thermal_measure.h"

#define CHROMA_NONE 128

struct capture_thermal_view {
	const struct sys_ops *sys;
	struct capture_thermal_config config;
	struct capture_format source;
	struct capture_format format; /* of the view */
	struct pix_layout layout;     /* of @source */
	uint32_t rows;		      /* of the picture, without telemetry */
	uint32_t first_row;
	uint32_t epoch;
	/* Of the last frame, whose counts are below. */
	bool readable;
	struct capture_thermal_reading last;
	struct thermal_range range;
	struct thermal_colour colours[THERMAL_COLOURS];
	struct thermal_histogram histogram;
	struct frame_pool *pool;
	struct capture_thermal_stats stats;
	uint8_t *index;	   /* two lines of colours */
	uint16_t counts[]; /* the picture, line by line */
};

DEFINE_AUTO(capture_thermal_view_free, struct capture_thermal_view *)

const char *capture_palette_name(enum capture_palette palette)
{
	static const char *const names[] = {
		[CAPTURE_PALETTE_WHITE_HOT] = "white-hot",
		[CAPTURE_PALETTE_BLACK_HOT] = "black-hot",
		[CAPTURE_PALETTE_IRON] = "iron",
		[CAPTURE_PALETTE_RAINBOW] = "rainbow",
	};
	size_t i = (size_t)palette;

	return i < ARRAY_SIZE(names) ? names[i] : "?";
}

/* --- what to keep the counts in ------------------------------------------ */

bool capture_thermal_is_counts(uint32_t fourcc)
{
	return thermal_bits(fourcc) != 0;
}

bool capture_thermal_fits_raw(const struct capture_format *format)
{
	uint64_t bytes = (uint64_t)format->width * format->height * 2;

	if (!thermal_bits(format->fourcc) || !format->rate_num ||
	    !format->rate_den || !bytes || format->width > CAPTURE_SIDE_MAX ||
	    format->height > CAPTURE_SIDE_MAX)
		return false;
	return bytes <= CAPTURE_THERMAL_RAW_BYTES_PER_S * format->rate_den /
				format->rate_num;
}

uint32_t capture_thermal_codec(const struct capture_format *format)
{
	if (capture_thermal_fits_raw(format))
		return CAPTURE_FORMAT_Y16;
	if (!thermal_bits(format->fourcc) || !HAVE_AVCODEC)
		return 0;
	return CAPTURE_FORMAT_FFV1;
}

/* --- opening ------------------------------------------------------------ */

void capture_thermal_config_init(struct capture_thermal_config *config)
{
	memset(config, 0, sizeof(*config));
	config->hysteresis_permille = 50;
	config->clip_permille = 5;
	config->span_min = 64;
	config->spot_x = CAPTURE_THERMAL_CENTRE;
	config->spot_y = CAPTURE_THERMAL_CENTRE;
	config->spot_radius = 1;
}

static void init_format(const struct capture_format *source, uint32_t rows,
			struct capture_format *ret_format)
{
	uint32_t width = ALIGN_UP(source->width, 2u);
	uint32_t height = ALIGN_UP(rows, 2u);

	*ret_format = (struct capture_format){
		.fourcc = CAPTURE_FORMAT_YU12,
		.media = CAPTURE_MEDIA_PICTURE,
		.width = width,
		.height = height,
		.plane_count = 1,
		.stride = {width},
		.size = {width * height / 2 * 3},
		.rate_num = source->rate_num,
		.rate_den = source->rate_den,
		.colorspace = V4L2_COLORSPACE_SMPTE170M,
		.xfer_func = V4L2_XFER_FUNC_709,
		.ycbcr_enc = V4L2_YCBCR_ENC_601,
		.quantization = V4L2_QUANTIZATION_LIM_RANGE,
	};
}

static int view_setup(struct capture_thermal_view *v,
		      const struct capture_format *source,
		      const struct capture_thermal_config *config)
{
	struct capture_source_config pool = {.rung = CAPTURE_RUNG_AUTO};

	v->config = *config;
	v->source = *source;
	v->rows = source->height - config->telemetry_rows;
	v->first_row = config->telemetry_on_top ? config->telemetry_rows : 0;
	v->range.hysteresis_permille = config->hysteresis_permille;
	v->range.span_min = config->span_min;
	if (config->range == CAPTURE_THERMAL_RANGE_FIXED) {
		v->range.min.value = config->min;
		v->range.max.value = config->max;
	}
	thermal_palette_init(config->palette, v->colours);
	init_format(source, v->rows, &v->format);
	v->index = calloc(2, v->format.width);
	if (!v->index)
		return -ENOMEM;
	pool.buffer_count = config->buffer_count ? config->buffer_count
						 : CAPTURE_THERMAL_BUFFERS;
	return frame_pool_new(v->sys, &v->format, &pool, &v->pool);
}

int capture_thermal_view_new(const struct sys_ops *sys,
			     const struct capture_format *source,
			     const struct capture_thermal_config *config,
			     struct capture_thermal_view **ret_view)
{
	struct pix_layout layout;
	size_t bytes;
	int r;

	r = thermal_check(source, config, &layout);
	if (r < 0)
		return r;
	bytes = (size_t)source->width *
		(source->height - config->telemetry_rows) * sizeof(uint16_t);
	AUTO(capture_thermal_view_free)
	struct capture_thermal_view *v = calloc(1, sizeof(*v) + bytes);
	if (!v)
		return -ENOMEM;
	v->sys = sys ? sys : sys_posix();
	v->layout = layout;
	r = view_setup(v, source, config);
	if (r < 0)
		return r;
	*ret_view = TAKE_PTR(v);
	return 0;
}

struct capture_thermal_view *
capture_thermal_view_free(struct capture_thermal_view *view)
{
	if (!view)
		return NULL;
	frame_pool_close(view->pool);
	free(view->index);
	free(view);
	return NULL;
}

const struct capture_format *
capture_thermal_view_format(const struct capture_thermal_view *view)
{
	return &view->format;
}

void capture_thermal_view_stats(const struct capture_thermal_view *view,
				struct capture_thermal_stats *ret_stats)
{
	struct capture_source_stats pool = {0};

	frame_pool_stats(view->pool, &pool);
	*ret_stats = view->stats;
	ret_stats->rung = pool.rung;
	ret_stats->shown_min = view->range.min.value;
	ret_stats->shown_max = view->range.max.value;
}

/* --- one frame ---------------------------------------------------------- */

static void read_counts(struct capture_thermal_view *v, const uint8_t *src)
{
	const struct pix_component *c = &v->layout.components[0];
	uint32_t width = v->source.width;
	uint32_t y;

	src += v->first_row * c->stride;
	for (y = 0; y < v->rows; y++)
		thermal_read_row(v->source.fourcc, src + y * c->stride,
				 v->counts + (size_t)y * width, width);
	v->stats.bytes_touched +=
		(c->row_bytes + width * sizeof(uint16_t)) * v->rows;
}

static void follow_range(struct capture_thermal_view *v,
			 const struct capture_frame *frame)
{
	struct thermal_span scene;
	struct thermal_span all;

	if (v->config.range != CAPTURE_THERMAL_RANGE_AUTO)
		return;
	if (frame->epoch != v->epoch)
		v->range.set = false;
	v->epoch = frame->epoch;
	if (v->range.set &&
	    frame->flags & (CAPTURE_FRAME_BLANK | CAPTURE_FRAME_ERROR))
		return;
	scene = thermal_histogram_take(&v->histogram, v->counts,
				       (size_t)v->source.width * v->rows,
				       v->config.clip_permille, &all);
	v->stats.scene_min = all.min;
	v->stats.scene_max = all.max;
	v->stats.range_moves += thermal_range_follow(&v->range, scene);
	/* What was made up is shown, but is no scene to start from. */
	if (frame->flags & (CAPTURE_FRAME_BLANK | CAPTURE_FRAME_ERROR))
		v->range.set = false;
}

/* One line's colours, one more than it has pixels if that is odd. */
static void index_line(struct capture_thermal_view *v, uint32_t y,
		       uint8_t *ret_index)
{
	struct thermal_span shown = {v->range.min.value, v->range.max.value};
	uint32_t width = v->source.width;

	thermal_index_row(shown,
			  v->counts + (size_t)MIN(y, v->rows - 1) * width,
			  ret_index, width);
	if (width < v->format.width)
		ret_index[width] = ret_index[width - 1];
}

static void paint_luma(const struct capture_thermal_view *v,
		       const uint8_t *index, uint8_t *out)
{
	uint32_t x;

	for (x = 0; x < v->format.width; x++)
		out[x] = v->colours[index[x]].y;
}

/* Each chroma sample is the mean of its four pixels'. */
static void paint_chroma(const struct capture_thermal_view *v,
			 const uint8_t *top, const uint8_t *bottom,
			 uint8_t *out_u, uint8_t *out_v)
{
	const struct thermal_colour *c = v->colours;
	uint32_t x;

	for (x = 0; x < v->format.width; x += 2) {
		out_u[x / 2] =
			(uint8_t)((c[top[x]].u + c[top[x + 1]].u +
				   c[bottom[x]].u + c[bottom[x + 1]].u + 2) /
				  4);
		out_v[x / 2] =
			(uint8_t)((c[top[x]].v + c[top[x + 1]].v +
				   c[bottom[x]].v + c[bottom[x + 1]].v + 2) /
				  4);
	}
}

static void paint(struct capture_thermal_view *v, uint8_t *out)
{
	uint32_t width = v->format.width;
	uint32_t height = v->format.height;
	uint8_t *chroma_u = out + (size_t)width * height;
	uint8_t *chroma_v = chroma_u + (size_t)width * height / 4;
	uint8_t *top = v->index;
	uint8_t *bottom = v->index + width;
	bool grey = thermal_palette_is_grey(v->config.palette);
	uint32_t y;

	for (y = 0; y < height; y += 2) {
		index_line(v, y, top);
		index_line(v, y + 1, bottom);
		paint_luma(v, top, out + (size_t)y * width);
		paint_luma(v, bottom, out + (size_t)(y + 1) * width);
		if (!grey)
			paint_chroma(v, top, bottom,
				     chroma_u + (size_t)y / 2 * (width / 2),
				     chroma_v + (size_t)y / 2 * (width / 2));
	}
	if (grey)
		memset(chroma_u, CHROMA_NONE, (size_t)width * height / 2);
	v->stats.bytes_touched +=
		(uint64_t)v->source.width * v->rows * sizeof(uint16_t) +
		v->format.size[0];
}

static void remember(struct capture_thermal_view *v,
		     const struct capture_frame *frame)
{
	v->readable = thermal_is_measurable(frame);
	thermal_reading_init(&v->last, frame);
}

static void copy_origin(const struct capture_frame *from,
			struct capture_frame *to)
{
	to->track_id = from->track_id;
	to->sequence = from->sequence;
	to->flags = from->flags;
	to->stamp_ns = from->stamp_ns;
	to->clock = from->clock;
	to->point = from->point;
	to->epoch = from->epoch;
	to->device_ticks = from->device_ticks;
	to->device_hz = from->device_hz;
	to->aligned = from->aligned;
}

int capture_thermal_view_apply(struct capture_thermal_view *view,
			       struct capture_frame *frame,
			       struct capture_frame **ret_frame)
{
	const uint8_t *src[CAPTURE_PLANES_MAX];
	struct capture_frame *out;
	int r;

	if (!pix_frame_fits(&view->source, &view->layout, frame))
		return -EINVAL;
	if (!frame_pool_free_count(view->pool)) {
		view->stats.frames_refused++;
		return -ENOBUFS;
	}
	r = frame_begin_read(view->sys, frame, src);
	if (r < 0)
		return r;
	read_counts(view, src[0]);
	remember(view, frame);
	frame_end_read(view->sys, frame);
	follow_range(view, frame);
	out = frame_pool_take(view->pool);
	frame_begin_write(view->sys, out);
	paint(view, frame_pool_data(out, 0));
	frame_end_write(view->sys, out);
	copy_origin(frame, out);
	view->stats.frames++;
	*ret_frame = out;
	return 0;
}

int capture_thermal_view_read(const struct capture_thermal_view *view,
			      struct capture_thermal_reading *ret_reading)
{
	uint32_t width = view->source.width;
	struct thermal_tally tally;
	uint32_t y;

	if (!view->readable)
		return -EAGAIN;
	thermal_tally_init(&tally, &view->config, width, view->rows);
	for (y = 0; y < view->rows; y++)
		thermal_tally_add(&tally, 0, y,
				  view->counts + (size_t)y * width, width);
	*ret_reading = view->last;
	thermal_tally_take(&tally, ret_reading);
	return 0;
}
