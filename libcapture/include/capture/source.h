/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One face for whatever gives frames: cameras, thermal cores, RADARs,
 * microphones. Open, start, poll, dequeue; a frame is a picture, a run of
 * samples or a record, always in the memory that the device wrote it to where
 * the kernel allows that.
 */
#ifndef CAPTURE_SOURCE_H
#define CAPTURE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>

struct capture_arena;
struct capture_source;

/* Where frames come from; what is not built in is -EOPNOTSUPP at open. */
enum capture_source_kind {
	CAPTURE_SOURCE_V4L2 = 0, /* camera, thermal, SDR, metadata nodes */
	CAPTURE_SOURCE_LIBCAMERA, /* raw sensors that need an ISP */
	CAPTURE_SOURCE_ALSA,	/* audio */
	CAPTURE_SOURCE_IIO,	/* a buffer of an industrial I/O device */
	CAPTURE_SOURCE_RECORDS,	/* capture/record.h: tty, SPI, UDP, pipe */
	CAPTURE_SOURCE_SYNTHETIC /* made up here, for tests */
};

/*
 * Whether a signal is at a receiver's input (V4L2_IN_ST_*, DV timings).
 * UNKNOWN: the device cannot tell, as most sensors.
 */
enum capture_signal {
	CAPTURE_SIGNAL_UNKNOWN = 0,
	CAPTURE_SIGNAL_OK,
	CAPTURE_SIGNAL_NO_CABLE, /* no power or nothing plugged in */
	CAPTURE_SIGNAL_NONE,	/* a cable, but nothing on it */
	CAPTURE_SIGNAL_NO_LOCK,	/* something that cannot be locked to */
	CAPTURE_SIGNAL_RANGE	/* a signal that the receiver cannot take */
};

struct capture_settings;

struct capture_source_config {
	enum capture_source_kind kind;
	/*
	 * V4L2: "/dev/video0" or a link to it. ALSA: a PCM ("hw:0,0"). IIO: a
	 * device's name or "iio:device0". RECORDS: "tty:/dev/ttyUSB0:921600",
	 * "spi:/dev/spidev0.0:1000000", "udp:0.0.0.0:5600", "pipe:/run/radar":
	 * see capture/record.h. LIBCAMERA: a camera's id, or NULL: the first.
	 * SYNTHETIC: "bars" (YU12, NV12, YUYV), "thermal" (Y16), "radar"
	 * (records, CU08) or "tone" (S16).
	 */
	const char *path;
	/*
	 * Formats that will do, best first; none: what the node is set to.
	 * Put what the encoder takes first (YU12 for the software encoder):
	 * the conversion then costs nothing.
	 */
	const uint32_t *fourccs;
	size_t fourcc_count;
	/* Pixels; 0 x 0: what the node is set to. */
	uint32_t width;
	uint32_t height;
	/*
	 * Frames per second as a fraction; 0/0: what the node is set to. Asked
	 * for, it is set to the nearest that the device has, and the format
	 * says to which; a device that has no rate to set refuses it: -ENXIO,
	 * "rate", of V4L2 and LIBCAMERA alike. Not asked for, such a device's
	 * format says 0/0.
	 */
	uint32_t rate_num;
	uint32_t rate_den;
	/* Audio, SDR and IIO: samples per second and channels; 0: as set. */
	uint32_t sample_rate;
	uint32_t channels;
	/*
	 * Samples of one frame; 0: what the device or its kind has. RECORDS:
	 * most bytes of a payload; 0: 64 KiB.
	 */
	uint32_t frame_samples;
	/* Buffers to ask for; 0: CAPTURE_SOURCE_BUFFERS. */
	uint32_t buffer_count;
	/*
	 * Frames that may be out before one is handed out as a copy, so that
	 * a slow user never starves the device; 0: all but two (or what the
	 * driver says that it needs). As many copies may be out as there are
	 * buffers left; then frames are dropped. All buffers or more: no
	 * copies, and a device that starves. Copies have dma-bufs where
	 * udmabuf is. Of V4L2 and LIBCAMERA; other kinds: must be 0.
	 */
	uint32_t borrow_max;
	/* Frames to leave out after each start (cameras that begin dark). */
	uint32_t skip_first;
	/*
	 * capture/settings.h: NULL changes nothing. Not kept. All of it of
	 * V4L2, controls of LIBCAMERA; other kinds: -EOPNOTSUPP, if anything
	 * is to be set.
	 */
	const struct capture_settings *settings;
	/* CAPTURE_RUNG_AUTO, or the only one that will do (tests, benches). */
	enum capture_rung rung;
	uint32_t track_id;	/* given to each frame */
	/*
	 * bool; of V4L2. No CPU reads the frames: devices import their
	 * dma-bufs. Driver's memory that reads slowly is then as good as any
	 * (S3), and cached memory, which the driver would sync for each frame,
	 * is not asked for. All can be read all the same, slowly: copies
	 * beyond borrow_max are made so.
	 */
	uint32_t import_only;
};

#define CAPTURE_SOURCE_BUFFERS 4

/* What capture_source_stats.s2_given_up says, for reports. */
#define CAPTURE_S2_GIVEN_UP                                                    \
	"not S2: the driver writes by CPU, and this kernel maps huge pages "   \
	"wrongly for that (vmap_udmabuf, Linux 6.11 and 6.12)"

/*
 * Counters since open. A source copies no frame but those that it hands out
 * beyond borrow_max; what the encoder must touch because of the rung, it
 * counts.
 */
struct capture_source_stats {
	enum capture_rung rung;	/* the one taken */
	uint32_t buffer_count;
	uint64_t memory_bytes;	/* of all buffers */
	/* Read rate of the memory, measured; 0 on S1 and S2: it is ours. */
	uint64_t map_read_bytes_per_s;
	/* bool; S3 in cached memory that the driver syncs for each frame. */
	uint32_t non_coherent;
	uint32_t borrow_max;	/* frames out before copies are made */
	uint32_t copy_count;	/* copies that may be out */
	uint64_t frames;	/* handed out */
	uint64_t frames_error;	/* flagged by the driver, queued again */
	uint64_t frames_short;	/* no payload in them, queued again */
	uint64_t frames_lost;	/* gaps in the driver's sequence */
	uint64_t frames_skipped; /* the first after a start, left out */
	uint64_t frames_stale;	/* stamped before their start, left out */
	uint64_t frames_dropped; /* all frames and copies were out */
	/* Stamps that cannot be, and were replaced: see capture_frame. */
	uint64_t stamps_backward; /* not after the last one */
	uint64_t stamps_bad;	/* none, a second ahead, before the start */
	uint64_t sequence_errors; /* steps back or none: counted on from */
	uint64_t copies;	/* handed out as copies, see borrow_max */
	uint64_t bytes_touched;	/* by those: read + written */
	uint64_t requeue_errors; /* buffers that the driver did not take back */
	uint64_t bytes_skipped;	/* records: what was none */
	uint64_t overruns;	/* ALSA, IIO: read too late, began anew */
	/*
	 * ALSA: bits of the card's samples. Frames carry the upper 16; if
	 * they had to be made that, bytes_touched counts it.
	 */
	uint32_t device_bits;
	/*
	 * V4L2 with monotonic stamps: of frames_lost, those that came while
	 * the driver had no buffer. The others it lost by itself.
	 */
	uint64_t frames_starved;
	/*
	 * IIO with timestamps: scans that are missing by them, inside frames
	 * too. As many as a frame has are one of frames_lost.
	 */
	uint64_t scans_lost;
	/*
	 * bool; V4L2: the driver writes frames by CPU, and this kernel maps the
	 * huge pages of rung S2 wrongly for that, so that they would not be in
	 * the memory (Linux 6.11 and 6.12, vmap_udmabuf()). Another rung is
	 * used instead, and none of those frames was given.
	 */
	uint32_t s2_given_up;
	/* Of a capture_counter_setting. */
	uint64_t counts_guessed; /* frames whose count was not to be believed */
	uint64_t counts_anew;	/* the sensor's count began anew */
};

/**
 * capture_source_open() - open a device, set its format, get its memory
 * @sys: system calls, or NULL
 * @config: copied
 * @ret_source: owned by the caller
 *
 * The size is exact or refused; the rate is the nearest that the driver
 * has (see capture_source_format()). The memory ladder is probed here: at
 * the end of it all buffers exist and are mapped. What was changed on the
 * device is put back when it fails.
 *
 * Context: blocks in open(2), and up to a few ms to measure a map.
 * Return: 0, or
 *  -ENODEV           no such device, or one that cannot stream
 *  -EBUSY            another program streams from it
 *  -EPROTONOSUPPORT  none of the fourccs is there (capture_device_query()
 *                    tells what is)
 *  -ERANGE           a fourcc is there but not in this size; or a setting,
 *                    sample rate or count of channels that cannot be had
 *  -EOPNOTSUPP       the one rung asked for cannot be had, or the kind
 *                    is not built in
 *  -EINVAL           the configuration contradicts itself
 *  -ENXIO, -EACCES   a setting that the device does not have, or not to set:
 *                    capture_settings.error says which, as for any errno
 *  -ENOLINK, -ENOLCK no signal, or none to lock to (CAPTURE_TIMINGS_AUTO)
 *  -EPROTO           the driver answered with nonsense
 *  -ENOMEM, or the errno of open: -ENOENT, -EACCES, -EMFILE.
 */
CAPTURE_API int
capture_source_open(const struct sys_ops *sys,
		    const struct capture_source_config *config,
		    struct capture_source **ret_source) CAPTURE_MUST_CHECK;

/*
 * Stops and closes; takes NULL; returns NULL. Frames that are still out stay
 * valid until their last unref.
 */
CAPTURE_API struct capture_source *
capture_source_close(struct capture_source *source);

/* What was agreed with the driver. Borrowed. */
CAPTURE_API const struct capture_format *
capture_source_format(const struct capture_source *source);

/*
 * The memory of rungs S1 and S2, for io_uring; NULL on others. Borrowed, until
 * the source is closed or the first dequeues find that S2 must be given up:
 * who keeps it takes a reference, and compares stats.rung.
 */
CAPTURE_API struct capture_arena *
capture_source_arena(const struct capture_source *source);

/*
 * Readable (POLLIN) when a frame waits, POLLPRI when the signal changed,
 * POLLERR on trouble: dequeue tells.
 */
CAPTURE_API int capture_source_fd(const struct capture_source *source);

/**
 * capture_source_start() - queue every buffer and switch on
 *
 * Buffers whose frames are still out from before a stop join when they are
 * unreferenced.
 *
 * Return: 0, -EBUSY (already on, or the driver has no bandwidth), -ENODEV,
 * -ENOLINK (no signal), or the errno of QBUF or STREAMON. On failure it is
 * off and may be started again.
 */
CAPTURE_API int capture_source_start(struct capture_source *source)
	CAPTURE_MUST_CHECK;

/**
 * capture_source_stop() - switch off; queued buffers come back cancelled
 *
 * Return: 0 (also when it was off), or the errno of STREAMOFF: the source is
 * then off for us and should be closed.
 */
CAPTURE_API int capture_source_stop(struct capture_source *source);

/**
 * capture_source_dequeue() - the next frame
 * @deadline_ns: wait until then; 0: do not wait
 * @ret_frame: one reference
 *
 * Frames with the driver's error flag and empty ones go back to the queue,
 * are counted and do not count as frames. A lost frame shows in the sequence
 * and in the counters. Stamps rise from frame to frame until a stop, whatever
 * the driver says. No memory is allocated, but once where rung S2 turns out
 * not to be what the driver writes to (see s2_given_up): the device is then
 * stopped, given the memory of another rung and started again, which takes as
 * long as at open; no frame is out by then.
 *
 * Return: 0, or
 *  -EAGAIN     @deadline_ns is 0 and no frame waits
 *  -ETIMEDOUT  none came by the deadline: the camera may be stuck
 *  -ENOBUFS    all frames and copies are out: unref some. A frame may have
 *              been dropped for that
 *  -EBUSY      the source is not on
 *  -ENODEV     unplugged: close it
 *  -ENOLINK    the signal is gone: capture_source_signal() says how. Stop,
 *              and start again when it is back
 *  -ESTALE     the signal has another format now: close and open again
 *  -EIO        the driver gave up, or rung S2 must be given up and frames
 *              are out: close and open again
 *  -EOPNOTSUPP rung S2 must be given up, and is the only one asked for
 *  -EPROTO     the driver answered with nonsense (an unknown buffer)
 *  or the errno of DQBUF.
 */
CAPTURE_API int capture_source_dequeue(struct capture_source *source,
				       uint64_t deadline_ns,
				       struct capture_frame **ret_frame)
	CAPTURE_MUST_CHECK;

/**
 * capture_source_signal() - is there a signal at the input, by the device
 *
 * Asks the device; may be called at any time.
 */
CAPTURE_API enum capture_signal
capture_source_signal(struct capture_source *source);

#define CAPTURE_SCAN_NAME_BYTES 64

/*
 * One element of a scan of CAPTURE_FORMAT_IIO. Its value is the @bits above
 * @shift of the @storage_bits at @offset.
 */
struct capture_scan_element {
	char name[CAPTURE_SCAN_NAME_BYTES]; /* "accel_x", "timestamp" */
	uint32_t offset;	/* bytes into the scan */
	uint32_t storage_bits;	/* of one value, a multiple of 8 */
	uint32_t bits;		/* that mean something */
	uint32_t shift;		/* bits to the right, to get at them */
	uint32_t repeat;	/* values, one after the other; usually 1 */
	uint32_t is_signed;	/* bool; two's complement */
	uint32_t is_big_endian; /* bool */
	uint32_t is_timestamp;	/* bool; ns of the frames' clock */
};

/**
 * capture_source_scan_element() - how a scan of an IIO device is laid out
 * @index: from 0, in the order of offsets; capture_format.channels elements,
 *  and the timestamp, if the device has one
 *
 * The same from open to close. A scan is capture_format.sample_bytes long.
 *
 * Return: 0, -ENOENT (there are no more), -ENODEV (a supervised source that
 * is away), -EOPNOTSUPP (no source of scans).
 */
CAPTURE_API int
capture_source_scan_element(const struct capture_source *source, uint32_t index,
			    struct capture_scan_element *ret_element)
	CAPTURE_MUST_CHECK;

/* "ok", "no cable", "no signal", "no lock", "out of range"; or "unknown". */
CAPTURE_API const char *capture_signal_name(enum capture_signal signal);

/* Always works, also after a failure. */
CAPTURE_API void
capture_source_stats(const struct capture_source *source,
		     struct capture_source_stats *ret_stats);

#endif
