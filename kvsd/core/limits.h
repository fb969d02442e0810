/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound of the service and the producer that is not part of a codec.
 * Values from the wire contract name their source; the others say what they
 * protect.
 */
#ifndef CORE_LIMITS_H
#define CORE_LIMITS_H

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* --- contract (Amazon's quotas and PutMedia page) --- */
#define FRAGMENT_BYTES_MAX (50u << 20)	      /* ack 4001 */
#define FRAGMENT_DURATION_MS_MAX 20000u	      /* ack 4002 */
#define FRAGMENT_TRACKS_MAX 3u		      /* ack 4012 */
#define FRAGMENT_TAGS_MAX 10u		      /* ack 4009 */
#define TAG_NAME_BYTES_MAX 128u
#define TAG_VALUE_BYTES_MAX 256u
#define PUT_MEDIA_DURATION_NS_MAX (45 * 60 * NS_PER_S) /* ack 4003 */
#define PUT_MEDIA_IDLE_NS_MAX (30 * NS_PER_S)	      /* then closed */
#define GET_MEDIA_READERS_MAX 3u	/* connections per stream */
#define FRAGMENT_LIST_MAX 1000u		/* GetMediaForFragmentList */
#define LIST_RESULTS_MAX 1000u		/* ListFragments page */
#define CLIP_FRAGMENTS_MAX 200u
#define CLIP_BYTES_MAX (100u << 20)
#define CLIP_RANGE_MS_MAX (24ull * 3600 * 1000)
#define STREAMS_MAX 10000u		/* per account */

/* --- service: memory and time per connection --- */
#define CONNECTIONS_MAX 4096u		/* per listener thread */
#define REQUEST_BODY_BYTES_MAX (1u << 20) /* JSON requests */
#define REQUEST_HEAD_NS_MAX (10 * NS_PER_S) /* slow loris */
#define REQUEST_BODY_NS_MAX (30 * NS_PER_S)
#define KEEP_ALIVE_NS_MAX (60 * NS_PER_S)
#define HANDSHAKE_NS_MAX (10 * NS_PER_S)
#define SEND_STALL_NS_MAX (60 * NS_PER_S)   /* peer reads nothing */
#define SESSION_HEADER_BYTES_MAX (2u << 20) /* MKV header of a session */
#define LIVE_FRAGMENT_BYTES_MAX (8u << 20)  /* in-progress bytes kept per
					     * stream that has live readers */
#define OUTPUT_BYTES_MAX (1u << 20)	    /* plaintext queued per reader */

/* --- loop --- */
#define LOOP_ENTRIES 1024u
#define LOOP_CALLBACKS_PER_TURN_MAX 512u

#endif
