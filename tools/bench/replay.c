/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the time of a software encoder out of a program, by LD_PRELOAD: its
 * first frames are encoded as ever, then their packets are given again and
 * again without a look at the picture. What the program still costs is all
 * that it does around its encoder.
 *
 * openh264 by its own headers. x264, which FFmpeg of Debian has instead, by
 * what its interface 164 is on a 64-bit machine: a GPL library's header is not
 * needed for three structures.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <wels/codec_api.h>

/* Two groups of pictures: it begins anew with a key frame. */
#define FRAMES 60u
#define PACKET_BYTES (1u << 20)
#define NALS_MAX 16
/* Entries of a table of functions: far more than it has. */
#define TABLE 32

/* --- openh264 ------------------------------------------------------------ */

struct wels_packet {
	EVideoFrameType type;
	int bytes;
	unsigned char *data;
};

static struct {
	const ISVCEncoderVtbl *real;
	/* With what the object calls of itself, which no header tells. */
	union {
		ISVCEncoderVtbl known;
		void *all[TABLE];
	} ours;
	struct wels_packet packets[FRAMES];
	unsigned int calls;
} wels;

static void wels_keep(struct wels_packet *to, const SFrameBSInfo *info)
{
	int layer;
	int nal;

	to->type = info->eFrameType;
	to->data = malloc(PACKET_BYTES);
	for (layer = 0; to->data && layer < info->iLayerNum; layer++) {
		const SLayerBSInfo *l = &info->sLayerInfo[layer];
		int bytes = 0;

		for (nal = 0; nal < l->iNalCount; nal++)
			bytes += l->pNalLengthInByte[nal];
		if (bytes > (int)PACKET_BYTES - to->bytes)
			abort();
		memcpy(to->data + to->bytes, l->pBsBuf, (size_t)bytes);
		to->bytes += bytes;
	}
}

static int wels_encode(ISVCEncoder *encoder, const SSourcePicture *picture,
		       SFrameBSInfo *info)
{
	struct wels_packet *p = &wels.packets[wels.calls % FRAMES];
	int r;

	if (wels.calls++ < FRAMES) {
		r = wels.real->EncodeFrame(encoder, picture, info);
		if (r == cmResultSuccess)
			wels_keep(p, info);
		return r;
	}
	memset(info, 0, sizeof(*info));
	info->eFrameType = p->type;
	info->iLayerNum = 1;
	info->sLayerInfo[0].iNalCount = 1;
	info->sLayerInfo[0].pNalLengthInByte = &p->bytes;
	info->sLayerInfo[0].pBsBuf = p->data;
	return cmResultSuccess;
}

int WelsCreateSVCEncoder(ISVCEncoder **ret_encoder)
{
	int (*real)(ISVCEncoder **) = (int (*)(ISVCEncoder **))dlsym(
		RTLD_NEXT, "WelsCreateSVCEncoder");
	int r = real(ret_encoder);

	if (r == 0 && *ret_encoder) {
		wels.real = **ret_encoder;
		memcpy(&wels.ours, wels.real, sizeof(wels.ours));
		wels.ours.known.EncodeFrame = wels_encode;
		**ret_encoder = &wels.ours.known;
	}
	return r;
}

void WelsDestroySVCEncoder(ISVCEncoder *encoder)
{
	void (*real)(ISVCEncoder *) = (void (*)(ISVCEncoder *))dlsym(
		RTLD_NEXT, "WelsDestroySVCEncoder");

	*encoder = wels.real;
	real(encoder);
}

/* --- x264 ---------------------------------------------------------------- */

struct x264_nal {
	int about[5];
	int bytes;
	uint8_t *data;
	int padding;
};

struct x264_picture {
	int about[4];
	int64_t pts;
	int64_t dts;
	uint8_t more[200];
	void *opaque;
};

_Static_assert(sizeof(struct x264_nal) == 40, "as x264.h has it");
_Static_assert(sizeof(struct x264_picture) == 240, "as x264.h has it");

static struct {
	struct {
		struct x264_nal nals[NALS_MAX];
		int count;
		int bytes;
		struct x264_picture picture;
	} packets[FRAMES];
	unsigned int calls;
} x264;

int x264_encoder_encode(void *encoder, struct x264_nal **ret_nals,
			int *ret_count, struct x264_picture *in,
			struct x264_picture *out);

static void x264_keep(unsigned int at, const struct x264_nal *nals, int count,
		      int bytes, const struct x264_picture *picture)
{
	uint8_t *data = malloc((size_t)bytes);
	int i;

	if (!data || count > NALS_MAX)
		abort();
	x264.packets[at].count = count;
	x264.packets[at].bytes = bytes;
	x264.packets[at].picture = *picture;
	for (i = 0; i < count; i++) {
		x264.packets[at].nals[i] = nals[i];
		memcpy(data, nals[i].data, (size_t)nals[i].bytes);
		x264.packets[at].nals[i].data = data;
		data += nals[i].bytes;
	}
}

int x264_encoder_encode(void *encoder, struct x264_nal **ret_nals,
			int *ret_count, struct x264_picture *in,
			struct x264_picture *out)
{
	static int (*real)(void *, struct x264_nal **, int *,
			   struct x264_picture *, struct x264_picture *);
	unsigned int at = x264.calls % FRAMES;
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "x264_encoder_encode");
	if (!in || x264.calls < FRAMES) {
		r = real(encoder, ret_nals, ret_count, in, out);
		/* Without look-ahead each picture gives its packet at once. */
		if (in && r <= 0)
			abort();
		if (in) {
			x264.calls++;
			x264_keep(at, *ret_nals, *ret_count, r, out);
		}
		return r;
	}
	x264.calls++;
	*ret_nals = x264.packets[at].nals;
	*ret_count = x264.packets[at].count;
	*out = x264.packets[at].picture;
	out->pts = in->pts;
	out->dts = in->pts;
	out->opaque = in->opaque;
	return x264.packets[at].bytes;
}
