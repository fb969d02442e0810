/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvsproducer: frames in, acknowledged fragments out.
 *
 *   put_frame -> fragmenter -> retransmission store -> PutMedia session
 *
 * A fragment is cut at a key frame of the first video track. Fragments wait
 * in a bounded store until the service acknowledges them; a lost connection
 * is opened again (capped exponential backoff with jitter) and goes on with
 * the first fragment that was not acknowledged.
 *
 * Threads: the producer runs its network work on one thread of its own.
 * kvs_producer_put_frame() may be called from any thread (calls are
 * serialised) and never waits for the network unless KVS_FULL_WAIT asks for
 * it. Events are called on the producer's thread.
 */
#ifndef KVS_PRODUCER_H
#define KVS_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvs/client.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVS_TRACKS_MAX 3

enum kvs_track_kind { KVS_TRACK_VIDEO, KVS_TRACK_AUDIO, KVS_TRACK_DATA };

/* How payloads arrive and what the producer does with them. */
enum kvs_payload {
	KVS_PAYLOAD_OPAQUE,	/* stored as they are */
	KVS_PAYLOAD_H264_ANNEXB, /* start codes -> lengths; avcC from SPS/PPS */
	KVS_PAYLOAD_H265_ANNEXB,
	/*
	 * Opaque, with KVS_TIME_BYTES in front that say when it was taken, to
	 * the ns: for data that has no place of its own for that. Big
	 * endian: u64 time_ns, u32
	 * sigma_ns (all ones: unknown), u32 epoch, u64 raw_stamp_ns, u8
	 * raw_clock, u8 meaning, u8 aligned_by, 5 zero bytes, u64 boot_ns.
	 */
	KVS_PAYLOAD_TIMED,
};

#define KVS_TIME_BYTES 40

struct kvs_track {
	enum kvs_track_kind kind;
	enum kvs_payload payload;
	const char *codec_id;	/* Matroska's: "V_MPEG4/ISO/AVC", ... */
	const char *name;	/* at most 32 bytes, or NULL */
	/*
	 * NULL for Annex-B tracks: taken from the first key frame, which must
	 * carry SPS and PPS.
	 */
	const uint8_t *codec_private;
	size_t codec_private_bytes;
	uint32_t width;		/* video */
	uint32_t height;
	uint32_t fourcc;	/* V_UNCOMPRESSED: of the pixels; else 0 */
	uint32_t sample_rate;	/* audio */
	uint32_t channels;
	uint32_t sample_bits;	/* audio; 0: not said */
};

enum kvs_stamp_meaning {	/* what a frame's raw stamp marks */
	KVS_STAMP_UNKNOWN,
	KVS_STAMP_START_OF_EXPOSURE,
	KVS_STAMP_END_OF_FRAME,
	KVS_STAMP_START_OF_FRAME,
	KVS_STAMP_MID_EXPOSURE,
	KVS_STAMP_FIRST_SAMPLE,	/* of a run of samples */
	KVS_STAMP_ARRIVAL,	/* when the last byte was read */
};

enum kvs_aligned_by {		/* how a frame's time_ns was found */
	KVS_ALIGNED_UNKNOWN,
	KVS_ALIGNED_STAMP,	/* its raw stamp alone */
	KVS_ALIGNED_ESTIMATE,	/* a line fitted to many, in user space */
	KVS_ALIGNED_KERNEL,	/* the map of tsalign.ko */
};

struct kvs_frame {
	uint32_t track;		/* index into the config's tracks */
	const uint8_t *data;	/* borrowed for the call */
	size_t bytes;
	uint64_t time_ns;	/* Unix epoch: the frame's aligned time */
	/*
	 * When the frame is decoded, on the same clock: frames of a track are
	 * put in this order. 0 = time_ns, right for all streams without
	 * B-frames.
	 */
	uint64_t decode_ns;
	uint64_t duration_ns;	/* 0 = unknown */
	bool key;		/* opaque payloads; else found in the bits */
	/* Carried with the frame: H.264/H.265 in a SEI, and TIMED. */
	uint64_t raw_stamp_ns;
	uint32_t raw_clock;	/* clockid_t of raw_stamp_ns */
	uint32_t sigma_ns;	/* uncertainty of time_ns, 0 = unknown */
	uint32_t epoch;		/* bumped by each step of the clock */
	enum kvs_stamp_meaning meaning;
	uint64_t boot_ns;	/* time_ns on CLOCK_BOOTTIME; 0 = unknown */
	enum kvs_aligned_by aligned_by;
};

/* What to do when the retransmission store is full. */
enum kvs_full {
	KVS_FULL_DROP_OLDEST,	/* live source: drop, count and report */
	KVS_FULL_WAIT,		/* file source: put_frame blocks */
};

enum kvs_event_kind {
	KVS_EVENT_CONNECTED,	/* PutMedia was accepted */
	KVS_EVENT_DISCONNECTED,	/* @text says why, @delay_ms when next */
	KVS_EVENT_BUFFERING,
	KVS_EVENT_RECEIVED,
	KVS_EVENT_PERSISTED,
	KVS_EVENT_ERROR_ACK,	/* @error_id, @text = its name */
	KVS_EVENT_DROPPED,	/* a fragment left the store unacknowledged */
	KVS_EVENT_REFUSED,	/* the service says no; @text, @delay_ms */
};

struct kvs_event {
	enum kvs_event_kind kind;
	uint64_t timecode_ms;	/* fragment's, where there is one */
	const char *fragment_number;	/* or NULL */
	int error_id;		/* 4000..5001, or HTTP status */
	const char *text;	/* or NULL */
	uint64_t delay_ms;
	uint64_t newest_frame_ns; /* PERSISTED: time_ns of its last frame */
};

struct kvs_producer_config {
	struct kvs_client_config client;
	const char *stream_name;
	bool create_stream;	/* when it does not exist */
	uint32_t retention_hours; /* for create_stream */
	const struct kvs_track *tracks;
	size_t track_count;	/* 1..KVS_TRACKS_MAX */
	uint64_t fragment_ms;	/* 1000..10000; 0 = 2000 */
	/*
	 * How long a frame may wait for another track's earlier frames, so
	 * that blocks are interleaved in time order. 0 = 200 ms.
	 */
	uint64_t interleave_ms;
	size_t store_bytes;	/* retransmission store; 0 = 32 MiB */
	enum kvs_full when_full;
	void (*event)(void *ctx, const struct kvs_event *event); /* or NULL */
	void *event_ctx;
};

struct kvs_producer_stats {
	uint64_t frames_in;
	uint64_t frames_dropped;	/* before the first key frame, late */
	uint64_t fragments_sealed;
	uint64_t fragments_sent;	/* whole, counting repeats */
	uint64_t fragments_received;
	uint64_t fragments_persisted;
	uint64_t fragments_dropped;
	uint64_t bytes_sent;
	uint64_t reconnects;
	uint64_t payload_copies;	/* of encoded frames, all in all */
	size_t store_bytes_used;
	size_t fragments_waiting;	/* in the store, unacknowledged */
	char send_rung[16];		/* of reference ladder: "L4" ... */
};

struct kvs_producer;

/**
 * kvs_producer_new() - check the config, start the thread, begin to connect
 *
 * Does not wait for the network: frames may be put at once.
 * Return: 0, -EINVAL (kvs_config_error() of the last failure in this thread
 * says which member), -ENOENT/-EBADMSG (CA bundle), -ENOMEM, -ENOSYS.
 */
KVS_API int kvs_producer_new(const struct kvs_producer_config *config,
			     struct kvs_producer **ret_producer);

/* Words for the last -EINVAL of kvs_producer_new() in this thread. */
KVS_API const char *kvs_config_error(void);

/**
 * kvs_producer_put_frame() - hand over one encoded frame
 *
 * The payload is copied once, into the store. Frames of one track must come
 * in order of decode_ns; a frame that goes back is refused.
 * Return: 0; -EAGAIN (dropped: still waiting for the first key frame);
 * -ERANGE (decode_ns goes back on its track, or lies before what was cut);
 * -EBADMSG (an Annex-B track without parameter sets or start codes);
 * -EMSGSIZE (larger than a fragment may be); -EINVAL; -ENOMEM; -EPIPE (after
 * finish). Under KVS_FULL_DROP_OLDEST a full store is not an error: the
 * oldest fragment goes, counted and reported.
 */
KVS_API int kvs_producer_put_frame(struct kvs_producer *p,
				   const struct kvs_frame *frame);

/**
 * kvs_producer_finish() - end the open fragment, wait for the acknowledgements
 * @timeout_ms: bound of the wait
 *
 * No frame may be put afterwards. Return: number of fragments that were not
 * acknowledged when the time was up: 0 = all is safe.
 */
KVS_API int kvs_producer_finish(struct kvs_producer *p, uint64_t timeout_ms);

/* The counters at this moment, all of the same one. */
KVS_API void kvs_producer_stats(struct kvs_producer *p,
				struct kvs_producer_stats *ret_stats);

/* Stops at once; what is not acknowledged is lost. Accepts NULL. */
KVS_API struct kvs_producer *kvs_producer_free(struct kvs_producer *p);

#ifdef __cplusplus
}
#endif

#endif
