/* SPDX-License-Identifier: Apache-2.0 */
#include "src/pixfmt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct capture_format format(uint32_t fourcc, uint32_t stride)
{
	struct capture_format f = { .fourcc = fourcc, .width = 4, .height = 2,
				    .plane_count = 1, .stride = { stride } };

	return f;
}

static struct pix_layout layout(const struct capture_format *f)
{
	struct pix_layout l;

	assert_int_equal(pix_layout_init(f, &l), 0);
	return l;
}

/* Eight luma bytes 1..8, U = 20 21, V = 30 31. */
static void check_picture(const struct pix_i420 *p)
{
	static const uint8_t luma[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	int y;

	for (y = 0; y < 2; y++)
		assert_memory_equal(p->data[0] + (size_t)y * p->stride[0],
				    luma + 4 * y, 4);
	assert_memory_equal(p->data[1], "\x14\x15", 2);
	assert_memory_equal(p->data[2], "\x1e\x1f", 2);
}

static void layout_puts_chroma_behind_padded_luma(void **state)
{
	struct capture_format f = format(CAPTURE_FORMAT_YU12, 8);
	struct pix_layout l = layout(&f);

	(void)state;
	assert_int_equal(l.count, 3);
	assert_int_equal(l.components[1].offset, 16);
	assert_int_equal(l.components[1].stride, 4);
	assert_int_equal(l.components[2].offset, 20);
	/* The last line needs no padding. */
	assert_int_equal(pix_layout_plane_bytes(&l, 0), 22);
	assert_int_equal(pix_layout_bytes(&l), 12);
}

static void layout_refuses_nonsense(void **state)
{
	struct capture_format f = format(CAPTURE_FORMAT_YU12, 3);
	struct pix_layout l;

	(void)state;
	assert_int_equal(pix_layout_init(&f, &l), -EINVAL);
	f = format(CAPTURE_FORMAT_H264, 4);
	assert_int_equal(pix_layout_init(&f, &l), -EPROTONOSUPPORT);
	f = format(CAPTURE_FORMAT_NM12, 4);
	assert_int_equal(pix_layout_init(&f, &l), -EINVAL);
	f = format(CAPTURE_FORMAT_YU12, 4);
	f.width = UINT32_MAX;
	assert_int_equal(pix_layout_init(&f, &l), -EINVAL);
}

static void i420_takes_planar_pictures_as_they_lie(void **state)
{
	static const uint8_t yv12[12] = { 1,  2,  3,  4,  5,  6,
					  7,  8,  30, 31, 20, 21 };
	const uint8_t *src[CAPTURE_PLANES_MAX] = { yv12 };
	struct capture_format f = format(CAPTURE_FORMAT_YV12, 4);
	struct pix_layout l = layout(&f);
	struct pix_i420 p;

	(void)state;
	assert_int_equal(pix_to_i420(&l, src, NULL, &p), 0);
	check_picture(&p);
	assert_int_equal(p.bytes_touched, 0);
}

static void i420_splits_only_the_chroma_of_semiplanar(void **state)
{
	static const uint8_t nv12[18] = { 1,  2,  3,  4,  0, 0, 5, 6, 7,
					  8,  0,  0,  20, 30, 21, 31, 0, 0 };
	static const uint8_t nv21[12] = { 1, 2, 3,  4,	5,  6,
					  7, 8, 30, 20, 31, 21 };
	const uint8_t *src[CAPTURE_PLANES_MAX] = { nv12 };
	struct capture_format f = format(CAPTURE_FORMAT_NV12, 6);
	struct pix_layout l = layout(&f);
	uint8_t scratch[12];
	struct pix_i420 p;

	(void)state;
	assert_int_equal(pix_to_i420(&l, src, scratch, &p), 0);
	check_picture(&p);
	assert_ptr_equal(p.data[0], nv12);
	assert_int_equal(p.bytes_touched, 8); /* 4 read, 4 written */
	f = format(CAPTURE_FORMAT_NV21, 4);
	l = layout(&f);
	src[0] = nv21;
	assert_int_equal(pix_to_i420(&l, src, scratch, &p), 0);
	check_picture(&p);
}

static void i420_averages_the_chroma_of_packed_lines(void **state)
{
	static const uint8_t yuyv[16] = { 1, 20, 2, 30, 3, 20, 4, 30,
					  5, 20, 6, 30, 7, 22, 8, 32 };
	static const uint8_t uyvy[16] = { 20, 1, 30, 2, 20, 3, 30, 4,
					  20, 5, 30, 6, 22, 7, 32, 8 };
	const uint8_t *src[CAPTURE_PLANES_MAX] = { yuyv };
	struct capture_format f = format(CAPTURE_FORMAT_YUYV, 8);
	struct pix_layout l = layout(&f);
	uint8_t scratch[12];
	struct pix_i420 p;

	(void)state;
	assert_int_equal(pix_i420_scratch_bytes(4, 2), sizeof(scratch));
	assert_int_equal(pix_to_i420(&l, src, scratch, &p), 0);
	check_picture(&p);
	assert_int_equal(p.bytes_touched, 16 + 12);
	f = format(CAPTURE_FORMAT_UYVY, 8);
	l = layout(&f);
	src[0] = uyvy;
	assert_int_equal(pix_to_i420(&l, src, scratch, &p), 0);
	check_picture(&p);
}

static void copy_changes_strides_and_counts_both_sides(void **state)
{
	static const uint8_t tight[12] = { 1, 2, 3,  4,	 5,  6,
					   7, 8, 20, 21, 30, 31 };
	const uint8_t *src[CAPTURE_PLANES_MAX] = { tight };
	struct capture_format a = format(CAPTURE_FORMAT_YU12, 4);
	struct capture_format b = format(CAPTURE_FORMAT_YU12, 6);
	struct pix_layout from = layout(&a);
	struct pix_layout to = layout(&b);
	uint8_t wide[18];
	uint8_t *dst[CAPTURE_PLANES_MAX] = { wide };
	const uint8_t *back[CAPTURE_PLANES_MAX] = { wide };
	struct pix_i420 p;

	(void)state;
	memset(wide, 0xee, sizeof(wide));
	assert_int_equal(pix_copy(&from, src, &to, dst), 24);
	assert_int_equal(wide[4], 0xee);
	assert_int_equal(pix_to_i420(&to, back, NULL, &p), 0);
	check_picture(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_puts_chroma_behind_padded_luma),
		cmocka_unit_test(layout_refuses_nonsense),
		cmocka_unit_test(i420_takes_planar_pictures_as_they_lie),
		cmocka_unit_test(i420_splits_only_the_chroma_of_semiplanar),
		cmocka_unit_test(i420_averages_the_chroma_of_packed_lines),
		cmocka_unit_test(copy_changes_strides_and_counts_both_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
