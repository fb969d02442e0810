/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in, a Matroska file out: what libkvsproducer uploads, written to a
 * descriptor instead. Tracks and frames are those of kvs/producer.h, and so
 * are their fragments: `kvsctl put` uploads such a file as it is, and players
 * take it.
 *
 * The file has no index and no duration (they come after the end, and the
 * descriptor may be a pipe). It grows by whole fragments, so that a crash
 * leaves a file that is good up to the last one.
 *
 * Threads: a recorder is one thread's at a time.
 */
#ifndef KVS_RECORDER_H
#define KVS_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include <kvs/producer.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvs_recorder_config {
	const struct kvs_track *tracks;	/* copied */
	size_t track_count;		/* 1..KVS_TRACKS_MAX */
	int fd;				/* borrowed; written to, not synced */
	uint64_t fragment_ms;		/* 1000..10000; 0 = 2000 */
	uint64_t interleave_ms;		/* see kvs/producer.h; 0 = 200 ms */
	/*
	 * One fragment is held here until it is whole: 1 MiB to 4 GiB;
	 * 0 = 64 MiB, of which only what is used takes memory.
	 */
	size_t store_bytes;
};

struct kvs_recorder_stats {
	uint64_t frames_in;
	uint64_t frames_dropped;	/* refused, or of a track left out */
	uint64_t fragments_written;
	uint64_t bytes_written;
};

struct kvs_recorder;

/**
 * kvs_recorder_new() - check the config, reserve memory
 * @ret_recorder: owned by the caller
 *
 * Nothing is written yet: the file's head needs the first key frame of each
 * track in Annex B.
 * Return: 0, -EINVAL (kvs_config_error() says which member), -ENOMEM, or the
 * errno of getrandom.
 */
KVS_API int kvs_recorder_new(const struct kvs_recorder_config *config,
			     struct kvs_recorder **ret_recorder);

/**
 * kvs_recorder_put_frame() - hand over one encoded frame
 *
 * The payload is copied once. A track in Annex B whose parameter sets come
 * later than the first fragment is left out of the file, its frames counted.
 *
 * Context: writes a fragment to the descriptor when one is whole.
 * Return: 0; -EAGAIN (dropped: still waiting for the first key frame);
 * -ERANGE (decode_ns goes back on its track, or lies before what was cut);
 * -EBADMSG (an Annex-B track without parameter sets or start codes);
 * -EMSGSIZE (larger than a fragment may be); -ENOBUFS (the fragment has
 * filled store_bytes: dropped); -EINVAL; -ENOMEM; -EPIPE (after finish).
 * After these the recorder goes on. -ESTALE (a track's parameter sets changed:
 * one file has one set; the file is whole up to there) and the errno of write
 * stay: only kvs_recorder_free() is left.
 */
KVS_API int kvs_recorder_put_frame(struct kvs_recorder *recorder,
				   const struct kvs_frame *frame);

/**
 * kvs_recorder_finish() - write what is left
 *
 * No frame may be put afterwards. Does not sync or close the descriptor.
 * Return: 0, or what made the recorder fail before, or the errno of write.
 */
KVS_API int kvs_recorder_finish(struct kvs_recorder *recorder);

/* The counters at this moment. Always works, also after a failure. */
KVS_API void kvs_recorder_stats(const struct kvs_recorder *recorder,
				struct kvs_recorder_stats *ret_stats);

/* What was not finished is not written. Accepts NULL, returns NULL. */
KVS_API struct kvs_recorder *kvs_recorder_free(struct kvs_recorder *recorder);

#ifdef __cplusplus
}
#endif

#endif
