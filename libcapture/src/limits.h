/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of libcapture. */
#ifndef CAPTURE_LIMITS_H
#define CAPTURE_LIMITS_H

#define CAPTURE_NODES_MAX 256	/* /dev/video0..255: the kernel's own limit */
#define CAPTURE_RADIOS_MAX 32	/* /dev/swradio0..31 */
#define CAPTURE_FORMATS_MAX 128 /* per queue of a device */
#define CAPTURE_SIZES_MAX 256	/* per format */
#define CAPTURE_RATES_MAX 64	/* per size */

/* Media controller: many times the largest graphs of real boards. */
#define CAPTURE_MEDIA_NODES_MAX 64	/* /dev/media0..63 */
#define CAPTURE_MEDIA_ENTITIES_MAX 512
#define CAPTURE_MEDIA_PADS_MAX 4096
#define CAPTURE_MEDIA_LINKS_MAX 8192	/* interface links included */
#define CAPTURE_MEDIA_TRIES_MAX 4	/* at a graph that keeps changing */
#define CAPTURE_MEDIA_SETTINGS_MAX 64	/* links, and formats, of a setup */
#define CAPTURE_MEDIA_TEXT_BYTES_MAX 8192
#define CAPTURE_MEDIA_SAVED_PADS_MAX 256

#define CAPTURE_CONTROLS_MAX 256 /* of a node, classes included */
#define CAPTURE_MENU_ITEMS_MAX 256
/*
 * How far ahead of the clock a stamp may be: some drivers project it to the
 * end of a frame that is still under way (vivid: most of a frame's time).
 */
#define CAPTURE_STAMP_AHEAD_NS 1000000000u
/* Events taken from a node in one turn; a driver keeps a few at most. */
#define CAPTURE_EVENTS_MAX 32
/* How often a PTP clock is read, and a PPS device looked at. */
#define CAPTURE_FEED_PERIOD_NS 250000000
/*
 * Frames taken in a row before a node is asked for events again, if nothing
 * is wrong with any of them.
 */
#define CAPTURE_EVENTS_EVERY 256

/* Buffers of one queue: VIDEO_MAX_FRAME of videodev2.h. */
#define CAPTURE_BUFFERS_MAX 32
/*
 * A guarded encoder's thread is waited for so long when it is closed or asked
 * for something; looked after so often when there is nothing to wait for.
 */
#define CAPTURE_GUARD_CLOSE_NS 100000000ull
#define CAPTURE_GUARD_PAUSE_NS 20000000ull
/* Raw buffers of an encoder's input queue. */
#define CAPTURE_ENCODER_INPUTS 4
/* Frames that an encoder may hold or reorder before it gives a packet. */
#define CAPTURE_PENDING_MAX 64
/*
 * Packets that may overtake a frame's own, as B frames are overtaken: the
 * deepest reordering of H.264 and HEVC. More, and it was skipped.
 */
#define CAPTURE_REORDER_MAX 16
/* Turns of an encoder without a frame that do not look for a packet. */
#define CAPTURE_QUIET_TURNS_MAX 4
/* SPS, PPS, VPS that an encoder gives out of band: real ones take 100. */
#define CAPTURE_HEADERS_BYTES_MAX 1024
/* Compressed buffers of a software encoder; H.264: a byte per pixel each. */
#define CAPTURE_SOFTWARE_SLOTS 4
#define CAPTURE_SOFTWARE_SLOT_BYTES_MIN 65536u

/* Runs of samples, as an encoder takes them. */
#define CAPTURE_SAMPLE_RATE_MAX 768000u
#define CAPTURE_CHANNELS_MAX 32u
#define CAPTURE_SAMPLE_BYTES_MAX 256u
/* Sound cards' PCMs, and IIO devices, that are listed. */
#define CAPTURE_SENSORS_MAX 64u

/*
 * Frames of a supervised source that may be out at once, those of closed
 * devices included: this bounds the memory that restarts can leave behind.
 */
#define CAPTURE_SUPERVISED_OUT_MAX 64
#define CAPTURE_SUPERVISED_FOURCCS_MAX 64
#define CAPTURE_SUPERVISED_BACKOFF_NS_MIN 10000000ull
/* The longest time that a configuration may ask for: a day. */
/* A call into a driver is waited for, then asked after so often. */
#define CAPTURE_SUPERVISED_CALL_WAIT_NS 100000000ull
#define CAPTURE_SUPERVISED_FIRST_WAIT_NS 5000000000ull
#define CAPTURE_SUPERVISED_CALL_POLL_NS 20000000ull
#define CAPTURE_SUPERVISED_NS_MAX 86400000000000ull
/* Blank pictures per second: bounds, and what to give if the rate is unknown. */
#define CAPTURE_BLANK_RATE_MAX 240u
#define CAPTURE_BLANK_RATE_UNKNOWN 5u
/* Pictures: the one shown now, and the last one's while it is out. */
#define CAPTURE_BLANK_PICTURES 2u

/* Of a frame in FFV1, whose library keeps 148 bytes for each: 310 MB. */
#define CAPTURE_FFV1_PIXELS_MAX (2u << 20)
/* Counts kept raw: what one PutMedia connection takes, less a fifth. */
#define CAPTURE_THERMAL_RAW_BYTES_PER_S 10000000ull

/*
 * A stamp farther from now, or an aligned time farther from its stamp, is not
 * that frame's. A stamp may lie ahead by a frame (see capture_frame.stamp_ns).
 */
#define CAPTURE_ALIGN_AHEAD_NS 2000000000ull
#define CAPTURE_ALIGN_OLD_NS 60000000000ull
#define CAPTURE_ALIGN_NEAR_NS 1000000000ull
/* Between two looks for a stream that the module does not have (yet). */
#define CAPTURE_ALIGN_LOOK_FRAMES_MAX 1024u
/* Pairs of a sensor's own counter: how many wait for the module, how long. */
#define CAPTURE_ALIGN_PAIRS_MAX 64u
#define CAPTURE_ALIGN_SUBMIT_NS 10000000ull
/* Rules of alignment: how often the exposure is read, and what can be. */
#define CAPTURE_ALIGN_RULE_NS 1000000000ull
/* An exposure that is read so fast is read with each frame. */
#define CAPTURE_ALIGN_READ_NS_MAX 200000ull
/* Frames until a sensor surely has the exposure that it was told. */
#define CAPTURE_ALIGN_SETTLE_FRAMES 4u
#define CAPTURE_ALIGN_EXPOSURE_NS_MAX 3600000000000ull
#define CAPTURE_ALIGN_READOUT_NS_MAX 10000000000ull
#define CAPTURE_ALIGN_PIXEL_RATE_MAX 10000000000ll
#define CAPTURE_ALIGN_ROW_CLOCKS_MAX (1 << 24)

/* Longest side of a picture. */
#define CAPTURE_SIDE_MAX 16384u
/* Samples of one frame. */
#define CAPTURE_FRAME_SAMPLES_MAX (1u << 20)
/* Records: largest payload unless another is asked for, paths, baud. */
#define CAPTURE_RECORDS_PAYLOAD 65536u
#define CAPTURE_RECORDS_PATH_BYTES 128
#define CAPTURE_RECORDS_BAUD_MAX 20000000u
/* Bursts of an SPI device: terms of their rate. */
#define CAPTURE_RECORDS_POLL_MAX 100000u
/* So many datagrams may overtake another one. */
#define CAPTURE_RECORDS_REORDER 64u
/* A module's folder and name: see src/source_module.h. */
#define CAPTURE_MODULE_PATH_BYTES 512
#define CAPTURE_ARENA_BYTES_MAX (1ull << 30)
#define CAPTURE_HUGE_PAGE_BYTES (2u << 20)
/* Random bytes that tell whether a driver writes there; places in a plane. */
#define CAPTURE_CANARY_BYTES 16u
#define CAPTURE_CANARIES 2u
/* Drivers that are remembered as writing elsewhere; their names' bytes. */
#define CAPTURE_CANARY_DRIVERS_MAX 16u
#define CAPTURE_DRIVER_BYTES 16u

/*
 * A map is called cached when it reads at a quarter of the rate of ordinary
 * memory or better: uncached ones of real boards read at a twentieth. The
 * best of a few runs counts, as others may hold the CPU; and no map is slow
 * that was fast in one of a few rounds of both.
 */
#define CAPTURE_MEASURE_BYTES (256u << 10)
#define CAPTURE_MEASURE_RUNS 3
#define CAPTURE_MEASURE_ROUNDS 8
/* Less is read too fast to tell, and whichever way it is costs nothing. */
#define CAPTURE_MEASURE_BYTES_MIN 16384u
#define CAPTURE_MEASURE_RATIO 4

#endif
