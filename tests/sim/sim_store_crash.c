/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of the store, by seed (invariants 2 and 5).
 *
 * A child process runs a random workload on a catalog and a store over a disk
 * that loses power at a random call (tests/support/sys_crash.h). Between the
 * rounds the parent does to the index what a power cut may do to it, or
 * deletes it (and damages a record, too, that nothing else may suffer from),
 * or one of the catalog's two databases. The next child recovers and checks:
 *
 *   - what was acknowledged is there once, bit-exact, with its key
 *   - nothing is there that was not committed, or by half
 *   - a removed stream is gone, from catalog and index
 *   - a legal hold that was acknowledged is there, what it holds is neither
 *     expired nor moved away, and its stream cannot be removed
 *   - no sequence number is given twice
 *   - in no segment is anything of the segment whose file it was made of
 *
 * SEEDS=n (argument or environment) runs n seeds, SEED=n replays one, with
 * its log on stderr. Everything but the kernel's timing follows from the seed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/catalog_sqlite.h"
#include "io/store_local.h"
#include "proto/segment.h"
#include "support/loop_fake.h"
#include "support/scratch.h"
#include "support/seeds.h"
#include "support/segment_past.h"
#include "support/store_rig.h"
#include "support/sys_crash.h"

#define SEEDS_DEFAULT 200u
#define ROUNDS 4u
#define STEPS 60u
#define STEPS_FAST 240u
#define WRITERS 6u
#define NAMES 4u
#define SLOTS_MAX 128u
#define FRAGMENTS_MAX 4096u
#define SECTOR 512u

/* ADDING, RELEASING: it may be there or not, until a recovery tells. */
enum hold_state { NO_HOLD, ADDING, HELD, RELEASING };

enum slot_state { CREATING, LIVE, REMOVING, GONE };

/* One incarnation of a stream. */
struct slot {
	enum slot_state state;
	char name[16];
	/*
	 * Known once it is LIVE. A stream that is made again within the
	 * millisecond has the same ARN, but another id.
	 */
	char arn[CATALOG_ARN_BYTES];
	uint8_t id[STREAM_ID_BYTES];
	enum hold_state hold;
	struct store_hold range;
};

/* DAMAGED: the parent flipped a bit of it; it may be gone, or not verify. */
enum fragment_state { STARTED, ACKED, EXPIRING, DAMAGED };

struct fragment {
	enum fragment_state state;
	unsigned int slot;
	uint64_t seq;
	uint64_t ms;
	size_t bytes;
	bool seen;
};

/* What the child tells the parent and the next child. */
struct shared {
	struct slot slots[SLOTS_MAX];
	unsigned int slot_count;
	struct fragment fragments[FRAGMENTS_MAX];
	unsigned int fragment_count;
	uint64_t seq_max;
	uint64_t ms;
	uint64_t compacted;	/* segments */
	uint64_t recycled;	/* segments */
	uint64_t held;		/* fragments that would have expired */
	bool verified;		/* this round's recovery */
	char failure[256];
};

static struct shared *sh;

struct run {
	struct loop *loop;
	struct data_dir dir;
	struct catalog *catalog;
	struct store_local *local;
	struct store *store;
	uint64_t compacted;
	uint64_t recycled;
	bool compacting;
	bool fast; /* much is written and expires: files are used again */
};

static struct run run;

static void PRINTF(1, 2) fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(sh->failure, sizeof(sh->failure), fmt, args);
	va_end(args);
	_exit(1);
}

static uint64_t pick(uint64_t below)
{
	return loop_fake_random(run.loop, below);
}

/* --- synchronous calls --- */

struct wait {
	struct store_op store;
	struct catalog_op catalog;
	bool done;
	int res;
};

static void store_done(struct store_op *op, int res)
{
	struct wait *w = container_of(op, struct wait, store);

	w->done = true;
	w->res = res;
}

static void catalog_done(struct catalog_op *op, int res)
{
	struct wait *w = container_of(op, struct wait, catalog);

	w->done = true;
	w->res = res;
}

static int wait_for(struct wait *w)
{
	if (loop_fake_until(run.loop, &w->done) < 0)
		fail("an operation does not end");
	return w->res;
}

#define WAIT { .store.done = store_done, .catalog.done = catalog_done }

static int find_stream(const char *arn, struct catalog_stream *s)
{
	struct wait w = WAIT;

	catalog_find(run.catalog, run.loop, NULL, arn, s, &w.catalog);
	return wait_for(&w);
}

/* --- checking --- */

static struct fragment *find_fragment(uint64_t seq)
{
	unsigned int i;

	for (i = 0; i < sh->fragment_count; i++)
		if (sh->fragments[i].seq == seq)
			return &sh->fragments[i];
	return NULL;
}

static void check_bytes(const struct store_stream *s,
			const struct store_fragment *f, size_t total)
{
	struct wait w = WAIT;
	uint8_t *bytes = malloc(total);
	size_t i;
	int r;

	store_read(run.store, s, f, 0, bytes, total, &w.store);
	r = wait_for(&w);
	if (r == -EBADMSG && find_fragment(f->number.seq) &&
	    find_fragment(f->number.seq)->state == DAMAGED) {
		free(bytes);
		return;
	}
	if (r != (int)total)
		fail("fragment %llu: reading says %d",
		     (unsigned long long)f->number.seq, r);
	for (i = 0; i < total; i++)
		if (bytes[i] != rig_byte(f->number.seq, i))
			fail("fragment %llu: byte %zu differs",
			     (unsigned long long)f->number.seq, i);
	free(bytes);
}

static void check_row(unsigned int slot, const struct store_stream *s,
		      const struct store_fragment *row)
{
	struct fragment *f = find_fragment(row->number.seq);
	size_t total = (size_t)row->header_bytes + row->media_bytes +
		       row->frames_bytes;

	if (!f)
		fail("fragment %llu was never committed",
		     (unsigned long long)row->number.seq);
	if (f->seen)
		fail("fragment %llu is there twice",
		     (unsigned long long)f->seq);
	if (f->slot != slot || f->bytes != total || f->ms != row->server_ms)
		fail("fragment %llu has changed", (unsigned long long)f->seq);
	f->seen = true;
	check_bytes(s, row, total);
	/* What a recovery shows stays. */
	if (f->state == STARTED)
		f->state = ACKED;
}

static void check_slot(unsigned int slot, const struct catalog_stream *s)
{
	static struct store_fragment rows[LIST_RESULTS_MAX];
	struct store_query q = {
		.order = (enum store_order)pick(3),
		.descending = pick(2),
		.to_ms = UINT64_MAX,
		.limit = 1 + (uint32_t)pick(LIST_RESULTS_MAX),
	};
	struct store_fragment after;
	int n;
	int i;

	memcpy(q.stream_id, s->store.id, sizeof(q.stream_id));
	do {
		struct wait w = WAIT;

		store_list(run.store, &q, rows, &w.store);
		n = wait_for(&w);
		if (n < 0)
			fail("list says %d", n);
		for (i = 0; i < n; i++)
			check_row(slot, &s->store, &rows[i]);
		if (n) {
			after = rows[n - 1];
			q.after = &after;
		}
	} while (n);
}

static void check_hold(struct slot *slot)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	int n = catalog_sqlite_holds(run.catalog, slot->name, holds);

	if (n < 0 || n > 1)
		fail("stream %s: holds: %d", slot->name, n);
	if (n ? slot->hold == NO_HOLD : slot->hold == HELD)
		fail("stream %s: its hold is %s", slot->name,
		     n ? "back" : "lost");
	if (n && (holds[0].range.from_ms != slot->range.from_ms ||
		  holds[0].range.to_ms != slot->range.to_ms))
		fail("stream %s: its hold has changed", slot->name);
	slot->hold = n ? HELD : NO_HOLD;
}

static void check_all(bool last)
{
	static struct catalog_stream s;
	struct store_local_stats stats;
	unsigned int i;
	int r;

	for (i = 0; i < sh->fragment_count; i++)
		sh->fragments[i].seen = false;
	for (i = 0; i < sh->slot_count; i++) {
		struct slot *slot = &sh->slots[i];

		if (slot->state == CREATING) {
			slot->state = GONE; /* or it is found by its name */
			continue;
		}
		r = find_stream(slot->arn, &s);
		if (r == 0 && memcmp(slot->id, s.store.id, sizeof(slot->id)))
			r = -ENOENT;
		if (r == -ENOENT && slot->state == LIVE)
			fail("stream %s is lost", slot->name);
		if (r == 0 && slot->state == GONE && slot->arn[0])
			fail("stream %s is back", slot->name);
		if (r == 0 && slot->state == REMOVING)
			slot->state = LIVE;
		if (r == -ENOENT)
			slot->state = GONE;
		if (slot->state == LIVE) {
			check_hold(slot);
			check_slot(i, &s);
		}
	}
	store_local_stats(run.local, &stats);
	if (last && stats.unread)
		fail("%llu segments are not read",
		     (unsigned long long)stats.unread);
	for (i = 0; i < sh->fragment_count; i++) {
		struct fragment *f = &sh->fragments[i];

		/*
		 * What could not be read is there after the next start; in
		 * the last round every segment can be read.
		 */
		if (f->state == ACKED && !f->seen && !stats.unread &&
		    sh->slots[f->slot].state == LIVE)
			fail("fragment %llu is lost",
			     (unsigned long long)f->seq);
	}
	sh->verified = true;
}

/* --- the workload --- */

static struct {
	struct store_writer *w;
	struct fragment *f;
	size_t have;
} writers[WRITERS];

struct commit {
	struct store_op op;
	struct fragment *f;
};

static unsigned int commits_open;

static void commit_done(struct store_op *op, int res)
{
	struct commit *c = container_of(op, struct commit, op);

	if (res == 0)
		c->f->state = ACKED;
	commits_open--;
	free(c);
}

static struct slot *slot_of_name(const char *name)
{
	unsigned int i;

	for (i = sh->slot_count; i; i--)
		if (!strcmp(sh->slots[i - 1].name, name) &&
		    sh->slots[i - 1].state == LIVE)
			return &sh->slots[i - 1];
	return NULL;
}

static void create_stream(const char *name)
{
	static struct catalog_stream s;
	struct wait w = WAIT;
	struct slot *slot;

	if (sh->slot_count == SLOTS_MAX)
		return;
	slot = &sh->slots[sh->slot_count];
	memset(slot, 0, sizeof(*slot));
	(void)snprintf(slot->name, sizeof(slot->name), "%s", name);
	sh->slot_count++;
	memset(&s, 0, sizeof(s));
	(void)snprintf(s.name, sizeof(s.name), "%s", name);
	catalog_create(run.catalog, run.loop, &s, NULL, &w.catalog);
	if (wait_for(&w) == -EEXIST) {
		/* Its creation was not acknowledged, and yet it happened. */
		struct wait again = WAIT;

		catalog_find(run.catalog, run.loop, name, NULL, &s,
			     &again.catalog);
		w.res = wait_for(&again);
	}
	if (w.res < 0) {
		slot->state = GONE;
		return;
	}
	memcpy(slot->arn, s.arn, sizeof(slot->arn));
	memcpy(slot->id, s.store.id, sizeof(slot->id));
	slot->state = LIVE;
}

/* A live stream; most of the time one that is there. */
static struct slot *any_slot(struct catalog_stream *s)
{
	char name[16];
	struct slot *slot;

	(void)snprintf(name, sizeof(name), "s%u", (unsigned int)pick(NAMES));
	if (!slot_of_name(name))
		create_stream(name);
	slot = slot_of_name(name);
	if (slot && find_stream(slot->arn, s) < 0)
		fail("stream %s is lost while running", slot->name);
	return slot;
}

static void step_open(unsigned int i)
{
	static struct catalog_stream s;
	struct slot *slot = any_slot(&s);
	struct fragment_number number = { .random = (uint32_t)pick(1 << 28) };
	struct fragment *f;

	if (!slot || sh->fragment_count == FRAGMENTS_MAX)
		return;
	number.seq = store_next_seq(run.store, s.store.id);
	if (number.seq <= sh->seq_max)
		fail("number %llu is given twice",
		     (unsigned long long)number.seq);
	sh->seq_max = number.seq;
	/* Fast enough that the index packs rows. */
	sh->ms += 1 + pick(40000);
	number.server_ms = sh->ms;
	if (store_writer_open(run.store, &s.store, &number, &writers[i].w) < 0)
		return;
	f = &sh->fragments[sh->fragment_count];
	f->slot = (unsigned int)(slot - sh->slots);
	f->seq = number.seq;
	f->ms = sh->ms;
	f->bytes = 1 + pick(pick(run.fast ? 2 : 4) ? 70000 : 400000);
	f->state = STARTED;
	sh->fragment_count++;
	writers[i].f = f;
	writers[i].have = 0;
}

static void close_writer(unsigned int i)
{
	store_writer_abort(run.store, writers[i].w);
	writers[i].w = NULL;
}

static void step_commit(unsigned int i)
{
	struct fragment *f = writers[i].f;
	struct store_fragment meta = rig_meta(f->seq, f->bytes, f->ms);
	struct commit *c = calloc(1, sizeof(*c));

	c->op.done = commit_done;
	c->f = f;
	commits_open++;
	store_writer_commit(run.store, writers[i].w, &meta, &c->op);
	writers[i].w = NULL;
}

static void step_write(unsigned int i)
{
	static uint8_t bytes[100000];
	size_t n;
	size_t j;
	int r;

	if (!writers[i].w) {
		step_open(i);
		return;
	}
	if (!pick(20)) {
		close_writer(i);
		return;
	}
	n = MIN(writers[i].f->bytes - writers[i].have, 1 + pick(100000));
	for (j = 0; j < n; j++)
		bytes[j] = rig_byte(writers[i].f->seq, writers[i].have + j);
	r = store_writer_add(writers[i].w, run.store, bytes, n);
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		close_writer(i);
		return;
	}
	writers[i].have += (size_t)r;
	if (writers[i].have == writers[i].f->bytes)
		step_commit(i);
}

static void step_remove(void)
{
	static struct catalog_stream s;
	struct slot *slot = any_slot(&s);
	struct wait w = WAIT;
	struct wait v = WAIT;
	unsigned int i;

	if (!slot)
		return;
	for (i = 0; i < WRITERS; i++)
		if (writers[i].w &&
		    &sh->slots[writers[i].f->slot] == slot)
			close_writer(i);
	while (commits_open)
		(void)loop_turn(run.loop, UINT64_MAX);
	slot->state = REMOVING;
	catalog_remove(run.catalog, run.loop, slot->arn, NULL, &s, &w.catalog);
	w.res = wait_for(&w);
	if (w.res == -EBUSY) {
		if (slot->hold == NO_HOLD)
			fail("stream %s is held by nothing", slot->name);
		slot->state = LIVE;
		return;
	}
	if (slot->hold == HELD)
		fail("stream %s is held: removing says %d", slot->name, w.res);
	if (w.res < 0)
		return;
	slot->state = GONE;
	store_remove_stream(run.store, s.store.id, &v.store);
	(void)wait_for(&v);
}

static bool is_held(const struct slot *slot, const struct fragment *f)
{
	struct store_fragment meta = rig_meta(f->seq, f->bytes, f->ms);

	return slot->hold == HELD && f->ms <= slot->range.to_ms &&
	       f->ms + meta.duration_ms >= slot->range.from_ms;
}

static void step_hold(void)
{
	static struct catalog_stream s;
	struct slot *slot = any_slot(&s);
	struct catalog_hold hold = {.name = "case-1"};

	if (!slot)
		return;
	if (slot->hold == HELD && pick(3))
		return;
	if (slot->hold == HELD) {
		slot->hold = RELEASING;
		if (catalog_sqlite_release(run.catalog, slot->name,
					   hold.name) == 0)
			slot->hold = NO_HOLD;
		return;
	}
	if (slot->hold != NO_HOLD)
		return;
	slot->range.from_ms = sh->ms - pick(sh->ms);
	slot->range.to_ms = slot->range.from_ms + pick(400000);
	hold.range = slot->range;
	slot->hold = ADDING;
	if (catalog_sqlite_hold(run.catalog, slot->name, &hold) == 0)
		slot->hold = HELD;
}

static void step_expire(void)
{
	static struct catalog_stream s;
	struct slot *slot = any_slot(&s);
	struct wait w = WAIT;
	/* Half of the time all of it, so that segments go. */
	uint64_t before = run.fast || pick(2) ? sh->ms + 1 : pick(sh->ms + 1);
	unsigned int i;

	if (!slot)
		return;
	for (i = 0; i < sh->fragment_count; i++) {
		struct fragment *f = &sh->fragments[i];

		if (&sh->slots[f->slot] != slot || f->ms >= before ||
		    f->state == DAMAGED)
			continue;
		if (is_held(slot, f))
			sh->held += f->state == ACKED;
		else
			f->state = EXPIRING;
	}
	store_local_expire(run.store, s.store.id, before, &w.store);
	(void)wait_for(&w);
}

/* A few steps: rows are looked at between two of them, too. */
static void step_compact(void)
{
	struct store_local_stats stats;
	uint64_t steps = 1 + pick(6);

	run.compacting = true;
	while (steps--)
		store_local_compact(run.local);
	run.compacting = false;
	store_local_stats(run.local, &stats);
	sh->compacted += stats.compacted - run.compacted;
	run.compacted = stats.compacted;
}

/* Seen when it happens: what crashes next leaves no figures. */
static void note_recycled(void)
{
	struct store_local_stats stats;

	store_local_stats(run.local, &stats);
	sh->recycled += stats.recycled - run.recycled;
	run.recycled = stats.recycled;
}

static void workload(void)
{
	unsigned int i;

	for (i = 0; i < (run.fast ? STEPS_FAST : STEPS); i++) {
		note_recycled();
		uint64_t what = pick(102);

		if (what < 77)
			step_write((unsigned int)pick(WRITERS));
		else if (what < 88)
			(void)loop_turn(run.loop, pick(3000000));
		else if (what < 95)
			step_expire();
		else if (what < 97)
			step_compact();
		else if (what < 99)
			step_hold();
		else
			step_remove();
	}
}

/* Nothing crashes any more: what is compacted now is read afterwards. */
static void check_rest(void)
{
	unsigned int i;

	for (i = 0; i < WRITERS; i++)
		if (writers[i].w)
			close_writer(i);
	while (commits_open)
		(void)loop_turn(run.loop, UINT64_MAX);
	for (i = 0; i < 12; i++)
		step_compact();
	check_all(true);
}

/* What is being copied may go meanwhile: half of the time some of it does. */
static int find_key(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		    uint8_t ret_key[DATA_KEY_BYTES])
{
	(void)ctx;
	if (run.compacting && pick(2)) {
		run.compacting = false;
		step_expire();
		run.compacting = true;
	}
	return catalog_sqlite_find_key(run.catalog, id, ret_key);
}

static int find_holds(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		      struct store_holds *ret_holds)
{
	(void)ctx;
	return catalog_sqlite_find_holds(run.catalog, id, ret_holds);
}

/* --- a round --- */

static int open_all(const char *path)
{
	struct catalog_sqlite_config catalog = {
		.dir = &run.dir,
		.region = "us-west-2",
		.account = "123456789012",
		.no_thread = true,
	};
	struct store_local_config store = {
		.sys = sys_crash(),
		.dir = &run.dir,
		.segment_bytes = SEGMENT_BYTES_MIN,
		.buffered = true,
		.no_thread = true,
		.find_key = find_key,
		.find_holds = find_holds,
		/* Most segments, so that much is moved. */
		.compact_percent = 80,
	};
	int r;

	r = data_dir_open(sys_crash(), path, true, &run.dir);
	if (r == 0)
		r = catalog_sqlite_open(&catalog, &run.catalog);
	if (r == 0)
		r = store_local_open(&store, &run.local);
	if (r == 0)
		r = store_local_attach(run.local, run.loop, &run.store);
	return r;
}

static void close_all(void)
{
	unsigned int i;

	for (i = 0; i < WRITERS; i++)
		if (writers[i].w)
			close_writer(i);
	run.store = store_local_detach(run.store);
	run.local = store_local_close(run.local);
	run.catalog = catalog_sqlite_close(run.catalog);
	data_dir_close(&run.dir);
	run.loop = loop_free(run.loop);
}

static void child(const char *path, uint64_t seed, unsigned int round)
{
	struct loop_fake_config config = {
		.sys = sys_crash(),
		.seed = seed * 1000 + round,
		.delay_ns_max = 1000000,
	};
	bool last = round + 1 == ROUNDS;
	unsigned long calls_max;
	unsigned long calls;
	unsigned int fail_sync;
	int r;

	run.loop = loop_fake_new(&config);
	run.fast = seed % 3 == 0;
	calls_max = pick(2) ? 30 : run.fast ? 1200 : 300;
	calls = last ? 0 : 1 + pick(calls_max);
	fail_sync = !last && !pick(3) ? 30 : 0;
	sys_crash_arm(config.seed, calls, !pick(4), fail_sync);
	r = open_all(path);
	if (r < 0 && !fail_sync)
		fail("opening says %d (%s)", r, strerror(-r));
	if (r < 0)
		sys_crash_now();
	check_all(last);
	workload();
	if (last)
		check_rest();
	if (!last && pick(4))
		sys_crash_now();
	close_all();
	/* Leaks are looked for by the unit tests. */
	_exit(0);
}

/* --- what else a power cut does, by the parent --- */

static uint64_t parent_random;

static uint64_t parent_pick(uint64_t below)
{
	return seeds_random(&parent_random, below);
}

static void remove_db(const char *dir, const char *name)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[160];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s%s", dir, name,
			       tails[i]);
		(void)unlink(path);
	}
}

/* The end of the log that was not synced: any length, or junk. */
static void cut_index_log(const char *dir)
{
	char path[160];
	uint8_t junk[512];
	struct stat st;
	off_t at;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/index.db-wal", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size) {
		at = (off_t)parent_pick((uint64_t)st.st_size);
		memset(junk, (int)parent_pick(256), sizeof(junk));
		if (parent_pick(2) ||
		    pwrite(fd, junk, sizeof(junk), at) < 0)
			(void)!ftruncate(fd, at);
	}
	(void)close(fd);
}

/* Flips a bit of the @nth record of a segment. Return: records in it. */
static unsigned int flip_record(const char *path, unsigned int nth)
{
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	struct segment_record rec;
	struct fragment *f;
	unsigned int count = 0;
	off_t at = SEGMENT_BLOCK_BYTES;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return 0;
	for (;; count++) {
		ssize_t n = pread(fd, bytes, sizeof(bytes), at);
		size_t byte;

		if (n <= 0 || segment_record_parse(bytes, (size_t)n, &rec) < 0)
			break;
		if (count == nth) {
			byte = parent_pick(SEGMENT_HEADER_BYTES +
					   rec.payload_bytes);
			bytes[byte] ^= (uint8_t)(1u << parent_pick(8));
			if (pwrite(fd, &bytes[byte], 1, at + (off_t)byte) != 1)
				abort();
			f = find_fragment(rec.number.seq);
			if (f)
				f->state = DAMAGED;
		}
		at += segment_record_bytes(rec.payload_bytes);
	}
	(void)close(fd);
	return count;
}

static void spoil_start(const char *path)
{
	uint8_t junk[SECTOR];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	/* Zeros there are a fault of the store (segment_with_past()). */
	memset(junk, 1 + (int)parent_pick(255), sizeof(junk));
	if (fd < 0 || pwrite(fd, junk, sizeof(junk), 0) != sizeof(junk))
		abort();
	(void)close(fd);
}

static void damage_record(const char *dir)
{
	char path[160];
	unsigned int count;

	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", dir,
		       1 + (unsigned int)parent_pick(6));
	count = flip_record(path, UINT_MAX);
	if (count)
		(void)flip_record(path, (unsigned int)parent_pick(count));
	/* It is mended from what is behind it. */
	if (count > 1 && !parent_pick(4))
		spoil_start(path);
}

static bool exists(const char *dir, const char *name)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void after_crash(const char *dir)
{
	switch (parent_pick(8)) {
	case 0:
		remove_db(dir, "index.db");
		if (parent_pick(2))
			damage_record(dir);
		break;
	case 1:
	case 2:
	case 3:
		cut_index_log(dir);
		damage_record(dir);
		break;
	case 4:
		/* One of the two, before the other is made again. */
		if (exists(dir, "catalog.db") &&
		    exists(dir, "catalog-copy.db"))
			remove_db(dir, parent_pick(2) ? "catalog.db" :
							"catalog-copy.db");
		break;
	default:
		damage_record(dir);
		break;
	}
}

static bool run_round(const char *path, uint64_t seed, unsigned int round,
		      bool verbose)
{
	unsigned int past;
	int status;
	pid_t pid;

	sh->verified = false;
	pid = fork();
	if (pid < 0)
		abort();
	if (!pid) {
		if (!verbose && !freopen("/dev/null", "w", stderr))
			abort();
		child(path, seed, round);
	}
	if (waitpid(pid, &status, 0) != pid)
		abort();
	if (!WIFEXITED(status))
		(void)snprintf(sh->failure, sizeof(sh->failure),
			       "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) && WEXITSTATUS(status) != CRASH_EXIT &&
		 !sh->failure[0])
		(void)snprintf(sh->failure, sizeof(sh->failure), "exit %d",
			       WEXITSTATUS(status));
	past = sh->failure[0] ? 0 : segment_with_past(path);
	if (past)
		(void)snprintf(sh->failure, sizeof(sh->failure),
			       "segment %u: a record of its file's past", past);
	if (sh->failure[0])
		return false;
	if (WEXITSTATUS(status) == CRASH_EXIT)
		after_crash(path);
	return true;
}

static bool run_seed(uint64_t seed, bool verbose)
{
	char path[64];
	unsigned int round;
	bool good = true;

	memset(sh, 0, sizeof(*sh));
	sh->ms = 1000;
	parent_random = seed;
	if (!scratch_dir(path, sizeof(path), "kvsd-crash"))
		abort();
	for (round = 0; good && round < ROUNDS; round++)
		good = run_round(path, seed, round, verbose);
	if (good && !sh->verified) {
		(void)snprintf(sh->failure, sizeof(sh->failure),
			       "the last round did not verify");
		good = false;
	}
	if (!good)
		(void)printf("SEED=%llu round %u: %s\n",
			     (unsigned long long)seed, round - 1,
			     sh->failure);
	rig_remove(path);
	return good;
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, SEEDS_DEFAULT);
	uint64_t fragments = 0;
	uint64_t compacted = 0;
	uint64_t recycled = 0;
	uint64_t held = 0;
	uint64_t i;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 1;
	for (i = 0; i < seeds.count; i++) {
		if (!run_seed(seeds.first + i, seeds.one))
			return 1;
		fragments += sh->fragment_count;
		compacted += sh->compacted;
		recycled += sh->recycled;
		held += sh->held;
	}
	(void)printf("%llu seeds, %llu fragments, %llu segments compacted, "
		     "%llu recycled, %llu times one was held\n",
		     (unsigned long long)seeds.count,
		     (unsigned long long)fragments,
		     (unsigned long long)compacted,
		     (unsigned long long)recycled, (unsigned long long)held);
	return 0;
}
