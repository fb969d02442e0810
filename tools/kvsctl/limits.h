/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of kvsctl. */
#ifndef KVSCTL_LIMITS_H
#define KVSCTL_LIMITS_H

#define CTL_POSITIONALS_MAX 8u
#define CTL_LIST_VALUES_MAX 50u		/* --tag: the service's own limit */
#define CTL_ERROR_CHARS_MAX 512u
#define CTL_PROFILE_FILE_BYTES_MAX (1u << 20)
#define CTL_REPLY_BYTES_MAX (16u << 20)	/* a JSON reply */
#define CTL_PAGES_MAX 10000u		/* of one listing */
#define CTL_PAGE_STREAMS 1000u
#define CTL_PAGE_FRAGMENTS 1000u
#define CTL_FRAME_BYTES_MAX (50u << 20)	/* a fragment's limit */
#define CTL_READ_BYTES (256u << 10)
#define CTL_TABLE_COLUMNS_MAX 12u
#define CTL_TABLE_ROWS_MAX 1000000u

#define CTL_TIMEOUT_MS 30000u		/* without --timeout */
#define CTL_GET_QUIET_MS (24u * 3600 * 1000) /* a silent live stream */
#define CTL_ACTIVE_MS_MAX 60000u	/* a stream becoming ACTIVE */
#define CTL_ACTIVE_POLL_MS 200u
#define CTL_PROGRESS_MS 200u

/* kvsctl doctor */
#define CTL_DOCTOR_SECONDS 2u		/* without --seconds */
#define CTL_DOCTOR_SECONDS_MAX 600u
#define CTL_DOCTOR_CAMERAS_MAX 16u	/* that are streamed from */
#define CTL_DOCTOR_SENSORS_MAX 16u	/* the same */
#define CTL_DOCTOR_PAIRS_MAX 32u
#define CTL_DOCTOR_NODES_MAX 512u
#define CTL_DOCTOR_FILE_BYTES_MAX (1u << 20)
#define CTL_DOCTOR_LOG_RECORDS_MAX 100000u

/* kvsctl feed */
#define CTL_FEED_SECONDS_MAX 31536000u

/* kvsctl sync */
#define CTL_SYNC_SECONDS 5u		/* without --seconds, not on a terminal */
#define CTL_SYNC_SECONDS_MAX 604800u
#define CTL_SYNC_SENSORS_MAX 64u
#define CTL_SYNC_POINTS 1024u		/* of one sensor's line in a plot */
#define CTL_SYNC_POINT_NS 50000000u
#define CTL_SYNC_TURN_MS 100u		/* between two looks at the pages */
#define CTL_SYNC_DRAW_MS 500u
#define CTL_SYNC_EVENTS_TURN 4096u	/* read in one turn */

/* kvsctl export */
#define CTL_EXPORT_FRAGMENTS 100u	/* asked for at once */
#define CTL_EXPORT_DOCUMENT_BYTES_MAX (64u << 20) /* one fragment's */

/* GetClip's own limits. */
#define CTL_CLIP_FRAGMENTS_MAX 200u
#define CTL_CLIP_BYTES_MAX (100u << 20)
#define CTL_CLIP_RANGE_MS_MAX (24ull * 3600 * 1000)
#define CTL_RETENTION_HOURS_MAX 87600u

#endif
