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
#define FRAGMENT_LISTS_MAX 5u	/* GetMediaForFragmentList, likewise */
#define STREAM_REQUESTS_MAX 5u		/* per second, of most operations */
#define ACCOUNT_REQUESTS_MAX 50u	/* per second, of most operations */
#define ACCOUNT_LOOKUPS_MAX 300u	/* DescribeStream, GetDataEndpoint */
#define PACE_STEP_BYTES 16384u		/* a bound of bytes lets so many go */
#define FRAGMENT_LIST_MAX 1000u		/* GetMediaForFragmentList */
#define LIST_RESULTS_MAX 1000u		/* ListFragments page */
#define CLIP_FRAGMENTS_MAX 200u
#define CLIP_BYTES_MAX (100u << 20)
#define CLIP_FRAMES_MAX (1u << 20)
#define CLIP_GAP_MS_MAX 2000u	/* longer gaps are left out of the clip */
#define CLIP_SKEW_MS_MAX 50u	/* Amazon's bound for a discontinuity */
#define CLIP_RANGE_MS_MAX (24ull * 3600 * 1000)
#define STREAMS_MAX 10000u		/* per account */
#define LIST_STREAMS_MAX 10000		/* MaxResults of ListStreams */
#define TAGS_PER_STREAM_MAX 50u
#define RETENTION_HOURS_MAX 87600

/* --- service: memory and time per connection --- */
#define CONNECTIONS_MAX 16384u		/* per listener thread */
#define REQUEST_BODY_BYTES_MAX (1u << 20) /* JSON requests */
#define BODIES_BYTES_MAX (64u << 20)	  /* of all of a thread */
#define REQUEST_HEAD_NS_MAX (10 * NS_PER_S) /* slow loris */
#define REQUEST_BODY_NS_MAX (30 * NS_PER_S)
#define KEEP_ALIVE_NS_MAX (60 * NS_PER_S)
#define HANDSHAKE_NS_MAX (10 * NS_PER_S)
#define SEND_STALL_NS_MAX (60 * NS_PER_S)   /* peer reads nothing */
#define SESSION_HEADER_BYTES_MAX (2u << 20) /* MKV header of a session */
#define OUTPUT_BYTES_MAX (1u << 20)	    /* plaintext queued per reader */
#define READER_BYTES (64u << 10)	/* a reader's buffer for the store */
#define READER_ROWS 16u			/* rows listed ahead */
#define LIVE_CHUNK_BYTES (64u << 10)
#define RATE_SLOTS 4096u		/* requests per second and stream, per thread */
#define LIVE_BUCKETS 1024u		/* hash table of streams, per thread */
/* Retention 0: whole fragments kept for readers, per stream, that long after
 * they were received: Amazon's host buffer. Bytes are those of memory. */
#define LIVE_BUFFER_BYTES_MAX (200u << 20)
#define LIVE_BUFFER_NS_MAX (300 * NS_PER_S)
#define LIVE_BUFFER_FRAGMENTS_MAX 4096u /* one is looked for among them */
#define LIVE_MEMORY_BYTES_DEFAULT (256u << 20) /* for all that, per thread */
#define UPLOAD_SILENT_NS (2 * NS_PER_S)	/* a newer upload takes its place */
#define UPLOAD_OVERLAP_AGE_NS (60 * NS_PER_S) /* token rotation: both live */
#define UPLOADS_PER_STREAM_MAX 2u
#define RECV_LOWAT_NS (300 * NS_PER_MS)	/* of an upload that is read at once */
#define RECV_LOWAT_BYTES_MAX (24u << 10) /* with what follows, a LOOP_RECV_BYTES */
#define RECV_LOWAT_LEARN 2u	/* fragments that are gone by, or one */
#define RECV_LOWAT_STEP_NS (32 * NS_PER_MS) /* when many look, they look together */
#define RECV_LOWAT_FRAGMENT_NS_MIN NS_PER_S /* shorter ones: each byte at once */
#define RECV_LOWAT_END_PART 16u	/* the last part of one too */
#define RECV_LOWAT_END_NS_MIN (100 * NS_PER_MS)
#define SERVE_STOP_NS_MAX (10 * NS_PER_S) /* what runs may finish */
#define SERVE_PORT_WAIT_NS (3 * NS_PER_S) /* a killed service's port */
#define SERVE_FINISH_NS_MAX (3 * NS_PER_S) /* after that: what is whole */
#define SERVE_ALIVE_NS (10 * NS_PER_S)	/* a thread that turns is alive */
#define SERVE_PING_NS NS_PER_S		/* how often threads are asked */
#define SERVE_RELOAD_NS_MAX (5 * NS_PER_S) /* until every thread took it */
#define ACCEPT_RETRY_NS (NS_PER_S / 10)	/* after running out of descriptors */
#define OPS_CONNECTIONS_MAX 8u		/* health and metrics */
#define OPS_HEAD_BYTES_MAX 4096u
#define OPS_REQUEST_NS_MAX (5 * NS_PER_S) /* from accept to the last byte */
#define OPS_SCRAPE_NS_MAX (2 * NS_PER_S) /* until every thread answered */
#define OPS_TEXT_BYTES_MAX (1u << 20)
#define OPS_CHECK_NS (5 * NS_PER_S)	/* disk, certificate, threads */
#define ADMIN_BYTES_MAX 4096u		/* a request on DIR/admin, an answer */
#define ADMIN_WAIT_S_MAX 10		/* a request and its answer */
#define ADMIN_RETRY_MS 1000		/* no descriptor to be had */
#define ADMIN_BACKLOG 8
#define EXPIRY_PERIOD_NS (60 * NS_PER_S)
#define EXPIRY_SEALED_NS NS_PER_S	/* bounds, after a segment was filled */
#define EXPIRY_STEP_MS (600 * 1000)	/* ahead, at once: the clock is doubted */
#define EXPIRY_STEP_NS (900 * NS_PER_S)	/* ... for so long */
#define EXPIRY_STREAMS 64u		/* listed at a time */

/* --- producer: fragments --- */
#define FRAGMENT_MS_MIN 1000u		/* quota: no shorter fragments */
#define FRAGMENT_MS_MAX 10000u		/* the older quota page's maximum */
#define FRAGMENT_MS_DEFAULT 2000u
/* A cut at other than a key frame, only to stay under ack 4002's bound. */
#define FRAGMENT_CUT_MS_MAX 19000u
/* The 50 MB of ack 4001 read as decimal, the smaller reading. */
#define FRAGMENT_CUT_BYTES_MAX 50000000u
#define FRAGMENT_SLACK_MS_MAX 50u	/* a key frame may come this early */
#define FRAGMENT_IDLE_NS (5 * NS_PER_S)	/* no frame: the fragment ends */
#define FRAGMENT_SETUPS_MAX 4u		/* codec privates that may be in use */
#define INTERLEAVE_MS_DEFAULT 200u
#define INTERLEAVE_MS_MAX 5000u
#define INTERLEAVE_FRAMES_MAX 256u	/* waiting, per track */
#define FRAME_HEADER_BYTES_MAX 64u	/* cluster head and block head */

/* --- producer: retransmission store --- */
#define RETAIN_CHUNK_BYTES (64u << 10)
#define RETAIN_BYTES_MIN (1u << 20)
#define RETAIN_BYTES_MAX (4ull << 30)
#define RETAIN_BYTES_DEFAULT (32u << 20)
#define RETAIN_FRAGMENTS_MAX 4096u	/* two hours of 2 s fragments */
#define RETAIN_SPARE_CHUNKS 16u		/* free, but not given back */

/* --- producer: upload session --- */
#define UPLOAD_BACKLOG_BYTES_MAX (256u << 10) /* ciphertext in user space */
#define UPLOAD_PIECE_BYTES_MAX (64u << 10)    /* one HTTP chunk */
#define UPLOAD_PIECE_PARTS_MAX 16u
#define UPLOAD_PIECES_PER_TURN_MAX 16u
#define UPLOAD_CONNECT_NS_MAX (15 * NS_PER_S)
#define UPLOAD_OPEN_NS_MAX (15 * NS_PER_S)    /* head sent, no status yet */
#define UPLOAD_ACK_NS_MAX (120 * NS_PER_S)    /* sent, nothing acknowledged */
#define UPLOAD_PERSIST_NS_MAX (30 * NS_PER_S) /* RECEIVED, not PERSISTED */
#define UPLOAD_SEND_NS_MAX (30 * NS_PER_S)    /* backlog does not shrink */
#define UPLOAD_IDLE_NS_MAX (10 * NS_PER_S)    /* nothing to send: end it */
#define UPLOAD_SESSION_NS_MAX (40 * 60 * NS_PER_S) /* under the 45 min */
#define UPLOAD_CREATE_POLL_NS NS_PER_S
#define UPLOAD_CHECK_NS (5 * NS_PER_S)	      /* how often stalls are seen */
#define UPLOAD_RETRY_NS_MIN (NS_PER_S / 2)
#define UPLOAD_RETRY_NS_MAX (30 * NS_PER_S)
#define UPLOAD_REFUSED_NS_MIN (30 * NS_PER_S) /* the service says no */
#define UPLOAD_REFUSED_NS_MAX (300 * NS_PER_S)
#define UPLOAD_CALLS_AFTER_FAILURES 3u	      /* then ask for the endpoint */


/* --- agent --- */
#define PIPELINE_TURN_FRAMES_MAX 8u /* of a source that is behind */

/* --- agent: a software encoder's thread --- */
#define ENCODE_FRAMES_MAX 16u	/* put and not given back: the source's */
#define ENCODE_PACKETS_MAX 32u	/* CAPTURE_BUFFERS_MAX: no encoder has more */
#define LATE_THREADED_MS 1000u	/* what threads may add, at least */
#define ENCODE_DRAIN_NS_MAX (2 * NS_PER_S) /* at the end, all told */

/* --- ingest: one upload --- */
#define INGEST_FRAGMENTS_MAX 8u	 /* open, waiting or being committed */
#define INGEST_SLICE_BYTES (32u << 10)	/* fed to the reader at once */
#define INGEST_TAGS_BYTES_MAX (64u << 10) /* Tags between two clusters */
/* What one slice and a fragment's tags can leave behind. */
#define INGEST_PENDING_BYTES_MAX \
	(2 * INGEST_SLICE_BYTES + 2 * INGEST_TAGS_BYTES_MAX)
#define INGEST_IDLE_ACK_NS (5 * NS_PER_S)
#define FRAME_PROBE_BYTES 256u	/* of a frame, looked at for its time */

/* --- service: local store (per loop thread unless said otherwise) --- */
#define SEGMENT_BYTES_DEFAULT (64ull << 20)
#define SEGMENT_BYTES_MIN (1ull << 20)
#define SEGMENT_BYTES_MAX (4ull << 30)
#define SEGMENTS_MAX (1u << 20)		 /* per directory */
#define SEGMENT_RETRY_NS NS_PER_S	 /* after a failed or full disk */
#define STORE_FRAGMENT_BYTES_MAX \
	(FRAGMENT_BYTES_MAX + SESSION_HEADER_BYTES_MAX + (4u << 20))
#define STORE_WRITE_BUFFERS 4u
#define STORE_WRITE_BUFFER_BYTES (1u << 20)
#define STORE_WRITE_EARLY_BYTES (256u << 10) /* written without a commit */
#define STORE_WRITERS_MAX CONNECTIONS_MAX
#define STORE_ROWS_PENDING_MAX (64u << 10) /* committed, not yet indexed */
/* A page that is not full is kept in pieces: memory follows what is there. */
#define STORE_CHUNK_BYTES 4096u
#define STORE_SPARE_CHUNKS 1024u	/* free ones kept */
#define STORE_READS_MAX 32u		/* running; the others wait */
#define STORE_READ_PAGES 2u		/* in flight per read */
#define READ_MOVES_MAX 4u		/* compactions of what is being read */
#define STORE_KEYS_IDLE_MAX 1024u	/* expanded keys kept for reuse */
#define STORE_FILES_IDLE_MAX 64u	/* segments kept open for readers */
#define STORE_MAPS_IDLE_MAX 128u	/* page maps kept for readers */
#define INDEX_ROWS_PER_COMMIT_MAX 1000u
#define INDEX_GATHER_NS (250 * NS_PER_MS) /* rows wait for others, at most */
#define INDEX_ROWS_PER_DELETE 500u	/* between two other requests */
/*
 * Rows of a stream are packed when they are two spans old; a block spans no
 * more than one on either clock. Queries rely on it: see index_query.c.
 */
#define INDEX_BLOCK_SPAN_MS 60000u
#define STORE_SPARES_MAX 4u /* files of dead segments, kept to become others */
#define STORE_ROOM_STEPS_MAX 256u	/* for one segment: up to two years */
#define STORE_ROOM_WORK_MAX 500u	/* rows dropped, streams looked up, in a job */
#define STORE_ROOM_STEPS_ALIKE 16u	/* a minute each, then two, four, .. */
#define COMPACT_PERCENT 30u		/* live bytes of a segment, below it */
#define COMPACT_PERIOD_NS (60 * NS_PER_S) /* looked for that often */
#define COMPACT_BYTES_PER_S (8u << 20)	  /* copied, at most */
#define COMPACT_REST 4u			  /* times as long as a step took */
#define COMPACT_ITEMS_MAX 64u		  /* fragments, between two syncs */
#define COMPACT_STEP_BYTES (4u << 20)	  /* the same, in bytes */
#define COMPACT_BLOCKS_MAX 4096u	  /* headers read in a step */
#define COMPACT_BUFFER_BYTES (1u << 20)
#define COMPACT_SPARSE_MAX 64u		/* segments looked at in a round */
#define COMPACT_LEFT_MAX 256u		/* those that could not be */
#define INDEX_RETRY_NS NS_PER_S		/* a full or broken disk */
#define INDEX_RESERVE_BYTES_MAX (8u << 20) /* given up on a full disk */
#define INDEX_RESERVE_BYTES_MIN (1u << 20)
#define INDEX_CHECK_BYTES_MAX (256u << 20) /* integrity checked at start */
#define SEQUENCE_RESERVE (1ull << 32)	/* numbers per durable reservation */
/* Half of all: each start takes a reservation above what was imported. */
#define IMPORT_SEQ_MAX (FRAGMENT_SEQ_MAX / 2)
#define CREDENTIALS_MAX 10000u

/* --- loop --- */
#define LOOP_ENTRIES 1024u
#define LOOP_GATHER_NS (2 * NS_PER_MS)	/* waited for more than one completion */
#define LOOP_GATHER_HURRY_NS (NS_PER_MS / 2) /* the same while somebody waits */
#define LOOP_GATHER_MAX 64u
#define LOOP_RECV_BUFFERS 64u	/* that all connections receive into */
#define LOOP_RECV_BUFFERS_MIN 16u /* where few arrive at once: they stay warm */
#define LOOP_RECV_BYTES (32u << 10)	/* each; touched as far as used */
/* Received and not used yet; with more than that, each keeps little. */
#define LOOP_KEPT_BYTES_MAX (64u << 20)
#define LOOP_CALLBACKS_PER_TURN_MAX 512u

#endif
