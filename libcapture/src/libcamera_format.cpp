/* SPDX-License-Identifier: Apache-2.0 */
#include "src/libcamera_format.hpp"

#include <linux/videodev2.h>

extern "C" {
#include "src/drm_format.h"
#include "src/limits.h"
}

using namespace libcamera;

uint32_t libcamera_to_v4l2(const PixelFormat &format)
{
	return format.modifier() ? 0 : drm_format_to_v4l2(format.fourcc());
}

PixelFormat libcamera_of_v4l2(uint32_t v4l2)
{
	return PixelFormat(drm_format_of_v4l2(v4l2));
}

void libcamera_set_colors(const ColorSpace &c, struct capture_format &f)
{
	switch (c.primaries) {
	case ColorSpace::Primaries::Raw:
		f.colorspace = V4L2_COLORSPACE_RAW;
		break;
	case ColorSpace::Primaries::Smpte170m:
		f.colorspace = V4L2_COLORSPACE_SMPTE170M;
		break;
	case ColorSpace::Primaries::Rec709:
		f.colorspace = V4L2_COLORSPACE_REC709;
		break;
	case ColorSpace::Primaries::Rec2020:
		f.colorspace = V4L2_COLORSPACE_BT2020;
		break;
	}
	switch (c.transferFunction) {
	case ColorSpace::TransferFunction::Linear:
		f.xfer_func = V4L2_XFER_FUNC_NONE;
		break;
	case ColorSpace::TransferFunction::Srgb:
		f.xfer_func = V4L2_XFER_FUNC_SRGB;
		break;
	case ColorSpace::TransferFunction::Rec709:
		f.xfer_func = V4L2_XFER_FUNC_709;
		break;
	}
	switch (c.ycbcrEncoding) {
	case ColorSpace::YcbcrEncoding::None:
		break;
	case ColorSpace::YcbcrEncoding::Rec601:
		f.ycbcr_enc = V4L2_YCBCR_ENC_601;
		break;
	case ColorSpace::YcbcrEncoding::Rec709:
		f.ycbcr_enc = V4L2_YCBCR_ENC_709;
		break;
	case ColorSpace::YcbcrEncoding::Rec2020:
		f.ycbcr_enc = V4L2_YCBCR_ENC_BT2020;
		break;
	}
	f.quantization = c.range == ColorSpace::Range::Full
				 ? V4L2_QUANTIZATION_FULL_RANGE
				 : V4L2_QUANTIZATION_LIM_RANGE;
}

bool libcamera_is_one_piece(const std::vector<FrameBuffer::Plane> &planes)
{
	for (size_t p = 1; p < planes.size(); p++)
		if (planes[p].fd.get() != planes[0].fd.get() ||
		    planes[p].offset !=
			    planes[p - 1].offset + planes[p - 1].length)
			return false;
	return true;
}

bool libcamera_is_possible(const std::vector<FrameBuffer::Plane> &planes)
{
	if (planes.empty() || planes.size() > CAPTURE_PLANES_MAX)
		return false;
	for (const FrameBuffer::Plane &p : planes)
		if (!p.fd.isValid() || !p.length ||
		    p.offset == FrameBuffer::Plane::kInvalidOffset ||
		    (uint64_t)p.offset + p.length > CAPTURE_ARENA_BYTES_MAX)
			return false;
	return true;
}
