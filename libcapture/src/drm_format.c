/* SPDX-License-Identifier: Apache-2.0 */
#include "src/drm_format.h"

#include <stddef.h>

#include <linux/videodev2.h>

#include <capture/api.h>

#include "base/macros.h"

static const struct {
	uint32_t drm;
	uint32_t v4l2;
} names[] = {
	/* DRM names the bytes from the last to the first. */
	{CAPTURE_FOURCC('B', 'G', '2', '4'), V4L2_PIX_FMT_RGB24},
	{CAPTURE_FOURCC('R', 'G', '2', '4'), V4L2_PIX_FMT_BGR24},
	{CAPTURE_FOURCC('X', 'R', '2', '4'), V4L2_PIX_FMT_XBGR32},
	{CAPTURE_FOURCC('A', 'R', '2', '4'), V4L2_PIX_FMT_ABGR32},
	{CAPTURE_FOURCC('X', 'B', '2', '4'), V4L2_PIX_FMT_RGBX32},
	{CAPTURE_FOURCC('A', 'B', '2', '4'), V4L2_PIX_FMT_RGBA32},
	{CAPTURE_FOURCC('R', '8', ' ', ' '), V4L2_PIX_FMT_GREY},
	{CAPTURE_FOURCC('R', '1', '0', ' '), V4L2_PIX_FMT_Y10},
	{CAPTURE_FOURCC('R', '1', '2', ' '), V4L2_PIX_FMT_Y12},
	{CAPTURE_FOURCC('R', '1', '6', ' '), V4L2_PIX_FMT_Y16},
	/* The same in both. */
	{V4L2_PIX_FMT_YUV420, V4L2_PIX_FMT_YUV420},
	{V4L2_PIX_FMT_YVU420, V4L2_PIX_FMT_YVU420},
	{V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_NV12},
	{V4L2_PIX_FMT_NV21, V4L2_PIX_FMT_NV21},
	{V4L2_PIX_FMT_YUYV, V4L2_PIX_FMT_YUYV},
	{V4L2_PIX_FMT_YVYU, V4L2_PIX_FMT_YVYU},
	{V4L2_PIX_FMT_UYVY, V4L2_PIX_FMT_UYVY},
	{V4L2_PIX_FMT_VYUY, V4L2_PIX_FMT_VYUY},
	{V4L2_PIX_FMT_MJPEG, V4L2_PIX_FMT_MJPEG},
};

uint32_t drm_format_to_v4l2(uint32_t drm)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].drm == drm)
			return names[i].v4l2;
	return 0;
}

uint32_t drm_format_of_v4l2(uint32_t v4l2)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].v4l2 == v4l2)
			return names[i].drm;
	return 0;
}

uint32_t drm_format_apart(uint32_t v4l2)
{
	switch (v4l2) {
	case V4L2_PIX_FMT_NV12:
		return V4L2_PIX_FMT_NV12M;
	case V4L2_PIX_FMT_NV21:
		return V4L2_PIX_FMT_NV21M;
	case V4L2_PIX_FMT_YUV420:
		return V4L2_PIX_FMT_YUV420M;
	case V4L2_PIX_FMT_YVU420:
		return V4L2_PIX_FMT_YVU420M;
	default:
		return 0;
	}
}
