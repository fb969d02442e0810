/* SPDX-License-Identifier: Apache-2.0 */
/*
 * H.264 in software: Cisco's openh264, the only file that sees it. It writes
 * into memory of its own; the packet is copied into a slot, which is counted.
 */
#include "src/encoder_soft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <wels/codec_api.h>

/* openh264 takes no smaller pictures. */
#define SIDE_MIN 16u
/* When no bit rate is given: bits per pixel, as a fraction. */
#define BITS_PER_PIXEL_NUM 1u
#define BITS_PER_PIXEL_DEN 10u
#define RATE_DEFAULT 30u
#define GOP_SECONDS_DEFAULT 2u

struct openh264 {
	struct soft soft;
	ISVCEncoder *codec;
	uint8_t *scratch;	/* for conversions */
	bool force_key;
};

static struct openh264 *openh264_of(struct soft *s)
{
	return container_of(s, struct openh264, soft);
}

/* --- opening ------------------------------------------------------------ */

static void fill_params(const struct soft *s,
			const struct capture_encoder_controls *c,
			SEncParamExt *p)
{
	const struct capture_format *source = &s->base.source;
	uint32_t num = source->rate_num ? source->rate_num : RATE_DEFAULT;
	uint32_t den = source->rate_den ? source->rate_den : 1;
	uint64_t bits = (uint64_t)source->width * source->height * num / den *
			BITS_PER_PIXEL_NUM / BITS_PER_PIXEL_DEN;
	uint64_t gop = (uint64_t)GOP_SECONDS_DEFAULT * num / den;

	if (c->bitrate > 0)
		bits = (uint64_t)c->bitrate;
	if (c->gop_frames > 0)
		gop = (uint64_t)c->gop_frames;
	p->iUsageType = CAMERA_VIDEO_REAL_TIME;
	p->iPicWidth = (int)source->width;
	p->iPicHeight = (int)source->height;
	p->iTargetBitrate = (int)MIN(bits, INT32_MAX);
	p->iMaxBitrate = UNSPECIFIED_BIT_RATE;
	p->iRCMode = c->qp >= 0 ? RC_OFF_MODE : RC_BITRATE_MODE;
	p->fMaxFrameRate = (float)num / (float)den;
	p->uiIntraPeriod = (unsigned int)MIN(MAX(gop, 1), INT32_MAX);
	p->eSpsPpsIdStrategy = CONSTANT_ID;
	p->iComplexityMode = LOW_COMPLEXITY;
	p->iMultipleThreadIdc = 1;
	/* Every frame is wanted: a skipped one is a hole in the recording. */
	p->bEnableFrameSkip = false;
	p->sSpatialLayers[0].iVideoWidth = p->iPicWidth;
	p->sSpatialLayers[0].iVideoHeight = p->iPicHeight;
	p->sSpatialLayers[0].fFrameRate = p->fMaxFrameRate;
	p->sSpatialLayers[0].iSpatialBitrate = p->iTargetBitrate;
	p->sSpatialLayers[0].iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
	if (c->qp >= 0)
		p->sSpatialLayers[0].iDLayerQp = (int)c->qp;
}

static int open_codec(struct openh264 *s,
		      const struct capture_encoder_controls *controls)
{
	int quiet = WELS_LOG_QUIET;
	SEncParamExt params;

	if (WelsCreateSVCEncoder(&s->codec) || !s->codec)
		return -ENOMEM;
	(void)(*s->codec)->SetOption(s->codec, ENCODER_OPTION_TRACE_LEVEL,
				     &quiet); /* it logs to stderr */
	if ((*s->codec)->GetDefaultParams(s->codec, &params))
		return -EIO;
	fill_params(&s->soft, controls, &params);
	switch ((*s->codec)->InitializeExt(s->codec, &params)) {
	case cmResultSuccess:
		return 0;
	case cmMallocMemeError:
		return -ENOMEM;
	default:
		return -ERANGE;
	}
}

static int openh264_open(struct soft *soft,
			 const struct capture_encoder_config *config)
{
	struct openh264 *s = openh264_of(soft);
	const struct capture_format *source = &soft->base.source;
	size_t bytes = (size_t)source->width * source->height;
	int r;

	r = soft_check_picture(soft, SIDE_MIN);
	if (r < 0)
		return r;
	s->scratch = malloc(pix_i420_scratch_bytes(source->width,
						   source->height));
	if (!s->scratch)
		return -ENOMEM;
	soft->slot_bytes = MAX(bytes, CAPTURE_SOFTWARE_SLOT_BYTES_MIN);
	return open_codec(s, &config->controls);
}

static void openh264_close(struct soft *soft)
{
	struct openh264 *s = openh264_of(soft);

	if (s->codec) {
		(void)(*s->codec)->Uninitialize(s->codec);
		WelsDestroySVCEncoder(s->codec);
	}
	free(s->scratch);
}

/* --- encoding ----------------------------------------------------------- */

/* Bytes of a layer, checked against the slot. */
static int gather(const SFrameBSInfo *info, uint8_t *out, size_t room,
		  size_t *ret_bytes)
{
	size_t bytes = 0;
	size_t layer_bytes;
	int layer;
	int nal;

	for (layer = 0; layer < info->iLayerNum; layer++) {
		const SLayerBSInfo *l = &info->sLayerInfo[layer];

		layer_bytes = 0;
		for (nal = 0; nal < l->iNalCount; nal++)
			layer_bytes += (size_t)l->pNalLengthInByte[nal];
		if (layer_bytes > room - bytes)
			return -EMSGSIZE;
		memcpy(out + bytes, l->pBsBuf, layer_bytes);
		bytes += layer_bytes;
	}
	*ret_bytes = bytes;
	return 0;
}

static int encode(struct openh264 *s, const struct pix_i420 *picture,
		  uint64_t stamp_ns, SFrameBSInfo *info)
{
	SSourcePicture source;
	int i;

	memset(&source, 0, sizeof(source));
	source.iColorFormat = videoFormatI420;
	source.iPicWidth = (int)s->soft.base.source.width;
	source.iPicHeight = (int)s->soft.base.source.height;
	source.uiTimeStamp = (long long)(stamp_ns / 1000000);
	for (i = 0; i < 3; i++) {
		/* It only reads them; its interface has no const. */
		source.pData[i] = (unsigned char *)(uintptr_t)picture->data[i];
		source.iStride[i] = (int)picture->stride[i];
	}
	if (s->force_key)
		(void)(*s->codec)->ForceIntraFrame(s->codec, true);
	s->force_key = false;
	memset(info, 0, sizeof(*info));
	return (*s->codec)->EncodeFrame(s->codec, &source, info) ==
			       cmResultSuccess
		       ? 0
		       : -EIO;
}

/* What the codec made of one frame, as a packet. */
static void store(struct openh264 *s, const SFrameBSInfo *info)
{
	struct capture_encoder_stats *stats = &s->soft.base.stats;
	struct soft_slot *slot;
	uint8_t *room;
	size_t bytes = 0;

	if (info->eFrameType == videoFrameTypeSkip) {
		stats->frames_skipped++;
		return;
	}
	slot = soft_slot_find(&s->soft, &room);
	if (gather(info, room, s->soft.slot_bytes, &bytes) < 0 || !bytes) {
		/* The decoder will miss it: start afresh. */
		stats->packets_error++;
		s->force_key = true;
		return;
	}
	stats->bytes_copied_out += bytes;
	soft_slot_push(&s->soft, slot, &s->soft.origin, bytes);
}

static int openh264_encode(struct soft *soft,
			   const struct capture_frame *frame,
			   const uint8_t *const *src)
{
	struct openh264 *s = openh264_of(soft);
	struct pix_i420 picture;
	SFrameBSInfo info;
	int r;

	r = pix_to_i420(&soft->base.layout, src, s->scratch, &picture);
	if (r < 0)
		return r;
	r = encode(s, &picture, frame->stamp_ns, &info);
	if (r < 0)
		return r;
	soft->base.stats.copies += picture.bytes_touched != 0;
	soft->base.stats.bytes_touched += picture.bytes_touched;
	store(s, &info);
	return 0;
}

static void openh264_force_key(struct soft *soft)
{
	openh264_of(soft)->force_key = true;
}

static int openh264_set_bitrate(struct soft *soft, uint32_t bitrate)
{
	struct openh264 *s = openh264_of(soft);
	SBitrateInfo info;

	memset(&info, 0, sizeof(info));
	info.iLayer = SPATIAL_LAYER_ALL;
	info.iBitrate = (int)bitrate;
	if ((*s->codec)->SetOption(s->codec, ENCODER_OPTION_BITRATE, &info))
		return -ERANGE;
	return 0;
}

const struct soft_codec soft_openh264 = {
	.name = "openh264",
	.object_bytes = sizeof(struct openh264),
	.open = openh264_open,
	.close = openh264_close,
	.encode = openh264_encode,
	.force_key = openh264_force_key,
	.set_bitrate = openh264_set_bitrate,
};
