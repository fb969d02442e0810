/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_writer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/ebml.h"
#include "proto/put.h"

#define TRACK_NUMBER_MAX 126 /* one byte in a block's head */
#define APP_NAME "kvsd"
/* Masters whose size is not known beforehand get this many size bytes. */
#define MASTER_SIZE_BYTES 4

static void put_head(struct put *p, uint32_t id, unsigned int width,
		     uint64_t size)
{
	uint8_t head[EBML_ID_BYTES_MAX + EBML_SIZE_BYTES_MAX];
	unsigned int n;

	n = ebml_write_id(head, id);
	n += ebml_write_size(head + n, width, size);
	put_bytes(p, head, n);
}

static void put_uint(struct put *p, uint32_t id, uint64_t value)
{
	uint8_t bytes[8];
	size_t n = 1;

	while (n < 8 && value >> (8 * n))
		n++;
	store_be64(bytes, value);
	put_head(p, id, 1, n);
	put_bytes(p, bytes + 8 - n, n);
}

static void put_binary(struct put *p, uint32_t id, const void *bytes,
		       size_t len)
{
	put_head(p, id, ebml_size_width(len), len);
	put_bytes(p, bytes, len);
}

static void put_text(struct put *p, uint32_t id, const char *text)
{
	put_binary(p, id, text, strlen(text));
}

/* Opens a master; end_master() with what this returns fills its size in. */
static size_t begin_master(struct put *p, uint32_t id)
{
	put_head(p, id, MASTER_SIZE_BYTES, 0);
	return put_len(p);
}

static void end_master(struct put *p, size_t body)
{
	if (!p->error)
		(void)ebml_write_size(put_at(p, body - MASTER_SIZE_BYTES),
				      MASTER_SIZE_BYTES, put_len(p) - body);
}

static void put_ebml(struct put *p)
{
	size_t body = begin_master(p, MKV_ID_EBML);

	put_uint(p, MKV_ID_EBML_VERSION, 1);
	put_uint(p, MKV_ID_EBML_READ_VERSION, 1);
	put_uint(p, MKV_ID_EBML_MAX_ID_LENGTH, EBML_ID_BYTES_MAX);
	put_uint(p, MKV_ID_EBML_MAX_SIZE_LENGTH, EBML_SIZE_BYTES_MAX);
	put_text(p, MKV_ID_DOC_TYPE, "matroska");
	put_uint(p, MKV_ID_DOC_TYPE_VERSION, 2);
	put_uint(p, MKV_ID_DOC_TYPE_READ_VERSION, 2);
	end_master(p, body);
}

static void put_info(struct put *p, uint64_t scale_ns, const uint8_t *uid)
{
	size_t body = begin_master(p, MKV_ID_INFO);

	if (uid)
		put_binary(p, MKV_ID_SEGMENT_UID, uid, 16);
	put_uint(p, MKV_ID_TIMECODE_SCALE, scale_ns);
	put_text(p, MKV_ID_MUXING_APP, APP_NAME);
	put_text(p, MKV_ID_WRITING_APP, APP_NAME);
	end_master(p, body);
}

static void put_video(struct put *p, const struct mkv_track *t)
{
	size_t body = begin_master(p, MKV_ID_VIDEO);
	uint8_t fourcc[4];

	put_uint(p, MKV_ID_PIXEL_WIDTH, t->width);
	put_uint(p, MKV_ID_PIXEL_HEIGHT, t->height);
	if (t->fourcc) {
		store_le32(fourcc, t->fourcc);
		put_binary(p, MKV_ID_COLOUR_SPACE, fourcc, sizeof(fourcc));
	}
	end_master(p, body);
}

static void put_audio(struct put *p, const struct mkv_track *t)
{
	size_t body = begin_master(p, MKV_ID_AUDIO);
	double rate = t->rate_hz;
	uint8_t bytes[8];
	uint64_t bits;

	memcpy(&bits, &rate, sizeof(bits));
	store_be64(bytes, bits);
	put_binary(p, MKV_ID_SAMPLING_FREQUENCY, bytes, sizeof(bytes));
	put_uint(p, MKV_ID_CHANNELS, t->channels);
	if (t->bits)
		put_uint(p, MKV_ID_BIT_DEPTH, t->bits);
	end_master(p, body);
}

static void put_track(struct put *p, const struct mkv_track *t)
{
	size_t body = begin_master(p, MKV_ID_TRACK_ENTRY);

	put_uint(p, MKV_ID_TRACK_NUMBER, t->number);
	put_uint(p, MKV_ID_TRACK_UID, t->uid ? t->uid : t->number);
	put_uint(p, MKV_ID_TRACK_TYPE, t->type);
	put_uint(p, MKV_ID_FLAG_LACING, 0);
	if (t->default_duration_ns)
		put_uint(p, MKV_ID_DEFAULT_DURATION, t->default_duration_ns);
	if (t->name[0])
		put_text(p, MKV_ID_TRACK_NAME, t->name);
	put_text(p, MKV_ID_CODEC_ID, t->codec_id);
	if (t->codec_private_bytes)
		put_binary(p, MKV_ID_CODEC_PRIVATE, t->codec_private,
			   t->codec_private_bytes);
	if (t->width)
		put_video(p, t);
	if (t->rate_hz)
		put_audio(p, t);
	end_master(p, body);
}

static bool tracks_valid(const struct mkv_track *tracks, size_t count)
{
	const struct mkv_track *t;
	size_t i;
	size_t j;

	if (!count || count > MKV_TRACKS_MAX)
		return false;
	for (i = 0; i < count; i++) {
		t = &tracks[i];
		if (!t->number || t->number > TRACK_NUMBER_MAX ||
		    !t->codec_id[0] ||
		    t->codec_private_bytes > MKV_CODEC_PRIVATE_BYTES_MAX)
			return false;
		for (j = 0; j < i; j++) {
			if (tracks[j].number == t->number)
				return false;
		}
	}
	return true;
}

int mkv_write_header(struct buf *out, const struct mkv_track *tracks,
		     size_t count, uint64_t scale_ns,
		     const uint8_t *segment_uid)
{
	struct put put = put_begin(out);
	struct put *p = &put;
	size_t body;
	size_t i;

	if (!tracks_valid(tracks, count) || !scale_ns ||
	    scale_ns > MKV_TIMECODE_SCALE_NS_MAX)
		return -EINVAL;
	put_ebml(p);
	put_head(p, MKV_ID_SEGMENT, 1, EBML_SIZE_UNKNOWN);
	put_info(p, scale_ns, segment_uid);
	body = begin_master(p, MKV_ID_TRACKS);
	for (i = 0; i < count; i++)
		put_track(p, &tracks[i]);
	end_master(p, body);
	return put_end(p);
}

void mkv_cluster_head(uint8_t *out, uint64_t timecode)
{
	unsigned int n;

	n = ebml_write_id(out, MKV_ID_CLUSTER);
	n += ebml_write_size(out + n, 1, EBML_SIZE_UNKNOWN);
	n += ebml_write_id(out + n, MKV_ID_TIMECODE);
	n += ebml_write_size(out + n, 1, 8);
	store_be64(out + n, timecode);
	assert(n + 8 == MKV_CLUSTER_HEAD_BYTES);
}

void mkv_block_head(uint8_t *out, unsigned int track, int16_t relative,
		    bool key, size_t payload_bytes)
{
	unsigned int n;

	assert(track >= 1 && track <= TRACK_NUMBER_MAX);
	assert(payload_bytes <= MKV_BLOCK_PAYLOAD_MAX);
	n = ebml_write_id(out, MKV_ID_SIMPLE_BLOCK);
	n += ebml_write_size(out + n, 4, payload_bytes + 4);
	n += ebml_write_size(out + n, 1, track);
	store_be16(out + n, (uint16_t)relative);
	out[n + 2] = key ? MKV_BLOCK_KEY : 0;
	assert(n + 3 == MKV_BLOCK_HEAD_BYTES);
}

int mkv_write_tags(struct buf *out, const struct mkv_tag *tags, size_t count)
{
	struct put put = put_begin(out);
	struct put *p = &put;
	size_t tags_body;
	size_t tag_body;
	size_t body;
	size_t i;

	if (!count || count > MKV_WRITE_TAGS_MAX)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		if (!tags[i].name_len ||
		    tags[i].name_len > MKV_TAG_NAME_BYTES_MAX ||
		    tags[i].value_len > MKV_TAG_VALUE_BYTES_MAX)
			return -EINVAL;
	}
	tags_body = begin_master(p, MKV_ID_TAGS);
	tag_body = begin_master(p, MKV_ID_TAG);
	for (i = 0; i < count; i++) {
		body = begin_master(p, MKV_ID_SIMPLE_TAG);
		put_binary(p, MKV_ID_TAG_NAME, tags[i].name, tags[i].name_len);
		put_binary(p, MKV_ID_TAG_STRING, tags[i].value,
			   tags[i].value_len);
		end_master(p, body);
	}
	end_master(p, tag_body);
	end_master(p, tags_body);
	return put_end(p);
}

void mkv_bitmapinfo(uint8_t *out, uint32_t fourcc, uint32_t width,
		    uint32_t height)
{
	memset(out, 0, MKV_BITMAPINFO_BYTES);
	store_le32(out, MKV_BITMAPINFO_BYTES);
	store_le32(out + 4, width);
	store_le32(out + 8, height);
	store_le16(out + 12, 1);  /* planes */
	store_le16(out + 14, 24); /* bits per pixel, once decoded */
	store_le32(out + 16, fourcc);
	store_le32(out + 20, width * height * 3);
}

void mkv_waveformatex(uint8_t *out, uint16_t tag, uint16_t channels,
		      uint32_t rate_hz, uint16_t bits)
{
	uint16_t align = (uint16_t)(channels * bits / 8);

	store_le16(out, tag);
	store_le16(out + 2, channels);
	store_le32(out + 4, rate_hz);
	store_le32(out + 8, rate_hz * align);
	store_le16(out + 12, align);
	store_le16(out + 14, bits);
	store_le16(out + 16, 0); /* extra bytes */
}
