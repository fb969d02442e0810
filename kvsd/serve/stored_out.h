/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stored fragment as GetMedia writes it, read and sent piece by piece: at
 * most one read and OUTPUT_BYTES_MAX of output at a time.
 */
#ifndef SERVE_STORED_OUT_H
#define SERVE_STORED_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"
#include "proto/mkv_frames.h"

struct exchange;

struct stored_out {
	struct exchange *ex;
	bool trailing; /* GetMedia's tags after the fragment too */
	/* A read ended: pump again. */
	void (*wake)(struct stored_out *so);
	/* The rest is private, save @busy and @sent. */
	struct store_fragment row;
	struct store_op op;
	bool busy; /* a read is in flight: keep the memory */
	bool sent; /* some of this fragment was written */
	bool tags_sent;
	int error;
	uint64_t offset;
	struct mkv_frames frames; /* of the media that was sent */
	uint8_t *buffer;	  /* READER_BYTES */
};

/* Return: 0, -ENOMEM. */
int stored_out_init(struct stored_out *so, struct exchange *ex, bool trailing,
		    void (*wake)(struct stored_out *so)) MUST_CHECK;
void stored_out_fini(struct stored_out *so);

void stored_out_begin(struct stored_out *so, const struct store_fragment *row);
/*
 * The client has header and tags already, and so many bytes of the media, all
 * of them told to stored_out_count().
 */
void stored_out_resume(struct stored_out *so, const struct store_fragment *row,
		       uint64_t media);

/* OutgoingFrames: media that @so->ex was sent, of a fragment begun elsewhere. */
void stored_out_count(struct stored_out *so, const uint8_t *media, size_t len);

/* Between the fragment's server time and now. */
uint64_t stored_out_behind_ns(const struct stored_out *so);

/*
 * Return: 1 the fragment is out, 0 waiting (for wake(), or for drained output),
 * or the error of the store or connection.
 */
int stored_out_pump(struct stored_out *so) MUST_CHECK;

#endif
