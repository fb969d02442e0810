// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams: which exist, what their samples say, and the page of each one that
 * user space maps.
 */
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "tsalign_int.h"
#include "tsalign_trace.h"

static DEFINE_RAW_SPINLOCK(tsa_table_lock);
static struct tsa_stream __rcu *table[TSALIGN_STREAMS_MAX];

static_assert(sizeof(struct tsalign_page) <= PAGE_SIZE);
static_assert(sizeof(struct tsalign_event) == 64);

static void stream_free(struct rcu_head *head)
{
	struct tsa_stream *s = container_of(head, struct tsa_stream, rcu);

	/* Who has it mapped holds the page by references of his own. */
	if (s->page)
		__free_page(s->page);
	kvfree(s);
}

static void stream_release(struct kref *ref)
{
	struct tsa_stream *s = container_of(ref, struct tsa_stream, ref);

	call_rcu(&s->rcu, stream_free);
}

void tsa_stream_put(struct tsa_stream *s)
{
	if (s)
		kref_put(&s->ref, stream_release);
}

struct tsa_stream *tsa_stream_alloc(void)
{
	struct tsa_stream *s = kvzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!s->page) {
		kvfree(s);
		return NULL;
	}
	s->map = page_address(s->page);
	kref_init(&s->ref);
	raw_spin_lock_init(&s->lock);
	return s;
}

struct tsa_stream *tsa_stream_get(u32 id)
{
	struct tsa_stream *s = NULL;

	if (id >= TSALIGN_STREAMS_MAX)
		return NULL;
	rcu_read_lock();
	s = rcu_dereference(table[id]);
	if (s && !kref_get_unless_zero(&s->ref))
		s = NULL;
	rcu_read_unlock();
	return s;
}

u32 tsa_streams_count(void)
{
	u32 count = 0;
	u32 i;

	rcu_read_lock();
	for (i = 0; i < TSALIGN_STREAMS_MAX; i++)
		count += !!rcu_dereference(table[i]);
	rcu_read_unlock();
	return count;
}

/* --- the page ---------------------------------------------------------------- */

/*
 * With s->lock held: nobody else writes. Word by word, without a copy of it
 * elsewhere: each line of it that is touched is one to wait for.
 */
static tsa_hot void page_write(struct tsa_stream *s,
			       const struct tsa_estimate *e,
			       enum tsalign_reference reference)
{
	struct tsalign_page *page = s->map;

	WRITE_ONCE(page->seq, ++s->seq);
	smp_wmb();	/* odd before the rest */
	page->abi = TSALIGN_ABI;
	page->stream = s->info.id;
	page->state = e->state;
	page->reference = reference;
	page->counter = s->info.counter;
	page->point = s->point;
	page->shift = e->map.shift;
	page->mult = e->map.mult;
	page->base_counter = e->map.base_counter;
	page->base_ns = e->map.base_ns;
	page->epoch = s->epoch;
	page->sigma_ns = e->sigma_ns;
	page->sigma_ppb = e->sigma_ppb;
	page->delay_ns = s->rule.delay_ns;
	page->drift_ppb = e->drift_ppb;
	page->jitter_ns = e->jitter_ns;
	page->updated_ns = s->updated_ns;
	page->samples = e->samples;
	page->outliers = e->outliers;
	page->lost = e->lost;
	page->mispaired = s->mispaired;
	smp_wmb();	/* the rest before even */
	WRITE_ONCE(page->seq, ++s->seq);
}

static noinline tsa_hot void tell(const struct tsalign_event *event)
{
	tsa_ring_put(event);
	trace_tsalign_event(event);
}

static void event_put(const struct tsa_stream *s, u16 type,
		      enum tsalign_epoch_cause cause, u64 now_ns)
{
	struct tsalign_event event = {
		.stream = s->info.id,
		.type = type,
		.cpu = raw_smp_processor_id(),
		.cause = cause,
		.host_ns = now_ns,
		.sigma_ns = s->sigma_ns,
		.epoch = s->epoch,
	};

	tell(&event);
}

/* With s->lock held. @cause: of an epoch that the fit does not know of, or 0. */
static tsa_hot void publish(struct tsa_stream *s, u64 now_ns,
			    enum tsalign_epoch_cause cause)
{
	struct tsa_reference ref;
	struct tsa_estimate e;

	tsa_fit_estimate(&s->fit, now_ns, &e);
	if (s->info.kind == TSALIGN_PHC)
		tsa_reference_phc(s, &e);
	if (e.state != TSALIGN_WAITING)
		e.map.base_ns += s->offset_ns;
	if (tsa_reference_map(e.map.base_counter, &e.map, &e.sigma_ns, &ref))
		e.state = TSALIGN_WAITING;
	if (s->generation != ref.generation) {
		if (s->generation) {
			s->epochs_added++;
			cause = cause ?: ref.cause;
		}
		s->generation = ref.generation;
	}
	if (s->gone)
		e.state = TSALIGN_GONE;
	s->state = e.state;
	s->published = e.map;
	s->sigma_ns = e.sigma_ns;
	if (s->epoch != e.epoch + s->epochs_added) {
		s->epoch = e.epoch + s->epochs_added;
		cause = cause ?: e.cause;
		event_put(s, TSALIGN_EV_EPOCH, cause, now_ns);
	}
	page_write(s, &e, ref.kind);
}

/* --- coming and going --------------------------------------------------------- */

int tsa_name_check(const struct tsalign_stream *info)
{
	size_t len = strnlen(info->name, TSALIGN_NAME_BYTES);
	size_t i;

	if (len == 0 || len == TSALIGN_NAME_BYTES)
		return -EINVAL;
	/* Those names are given here, to the queues that are seen. */
	if (!strncmp(info->name, TSA_V4L2_PREFIX, strlen(TSA_V4L2_PREFIX)))
		return -EINVAL;
	for (i = 0; i < len; i++) {
		u8 c = info->name[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return -EINVAL;
	}
	if (info->counter > TSALIGN_COUNT_TICKS || info->counter_bits < 1 ||
	    info->counter_bits > 64)
		return -EINVAL;
	if (info->counter == TSALIGN_COUNT_TICKS && !info->nominal_mhz)
		return -EINVAL;
	return 0;
}

/* With the table locked: the slot for @info, and who is in it. */
static int slot_find(const struct tsalign_stream *info, struct tsa_stream **ret)
{
	struct tsa_stream *oldest = NULL;
	int free = -1;
	u32 i;

	for (i = 0; i < TSALIGN_STREAMS_MAX; i++) {
		struct tsa_stream *s =
			rcu_dereference_protected(table[i],
						  lockdep_is_held(&tsa_table_lock));

		if (!s) {
			free = free < 0 ? i : free;
			continue;
		}
		if (!strncmp(s->info.name, info->name, TSALIGN_NAME_BYTES)) {
			if (!READ_ONCE(s->gone))
				return -EEXIST;
			*ret = s;
			return i;
		}
		if (READ_ONCE(s->gone) &&
		    (!oldest || s->gone_ns < oldest->gone_ns))
			oldest = s;
	}
	*ret = NULL;
	if (free >= 0)
		return free;
	if (!oldest)
		return -ENOSPC;
	*ret = oldest;
	return oldest->info.id;
}

static void stream_begin(struct tsa_stream *s, u32 id,
			 const struct tsalign_stream *info,
			 const struct tsalign_rule *rule, const void *owner)
{
	const struct tsa_fit_config config = {
		.nominal_mhz = info->nominal_mhz,
		.counter = info->counter,
	};
	u64 now = ktime_get_boottime_ns();
	bool again = s->ever;
	unsigned long flags;
	const char *why;

	raw_spin_lock_irqsave(&s->lock, flags);
	s->info = *info;
	memset(s->info.name, 0, sizeof(s->info.name));
	strscpy(s->info.name, info->name, sizeof(s->info.name));
	s->info.id = id;
	s->info.strobe = TSA_NO_ID;
	s->owner = owner;
	s->rule = (struct tsalign_rule){
		.stamped = TSALIGN_POINT_ARRIVAL,
		.point = TSALIGN_POINT_ARRIVAL,
		.strobe = TSA_NO_ID,
	};
	if (rule)
		s->rule = *rule;
	s->rule.id = id;
	s->info.strobe = s->rule.strobe;
	s->point = s->rule.point;
	if (tsa_rule_offset(&s->rule, &s->offset_ns, &why)) {
		/* What is wanted cannot be had (yet): it is what is stamped. */
		s->point = s->rule.stamped;
		s->offset_ns = -s->rule.delay_ns;
	}
	s->sampled_offset_ns = s->offset_ns;
	s->epochs_added = s->epoch;
	s->mispaired = 0;
	s->updated_ns = 0;
	s->generation = 0;
	tsa_fit_init(&s->fit, &config);
	tsa_unwrap_init(&s->unwrap, info->counter_bits);
	tsa_pairing_init(&s->pairing);
	s->ever = true;
	WRITE_ONCE(s->gone, false);
	event_put(s, TSALIGN_EV_STREAM, 0, now);
	publish(s, now, again ? TSALIGN_CAUSE_REPLUG : TSALIGN_CAUSE_START);
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

int tsa_stream_install(struct tsa_stream *fresh,
		       const struct tsalign_stream *info,
		       const struct tsalign_rule *rule, const void *owner,
		       struct tsa_stream **ret)
{
	struct tsa_stream *reclaimed = NULL;
	struct tsa_stream *s;
	unsigned long flags;
	int id;

	raw_spin_lock_irqsave(&tsa_table_lock, flags);
	id = slot_find(info, &s);
	if (id < 0) {
		raw_spin_unlock_irqrestore(&tsa_table_lock, flags);
		return id;
	}
	if (!s || strncmp(s->info.name, info->name, TSALIGN_NAME_BYTES) ||
	    s->info.kind != info->kind) {
		reclaimed = s;
		s = fresh;
		kref_get(&s->ref);	/* the table's */
		stream_begin(s, id, info, rule, owner);
		rcu_assign_pointer(table[id], s);
	} else {
		kref_get(&s->ref);	/* the caller's */
		stream_begin(s, id, info, rule, owner);
	}
	raw_spin_unlock_irqrestore(&tsa_table_lock, flags);
	tsa_stream_put(reclaimed);
	*ret = s;
	return 0;
}

struct tsa_stream *tsa_stream_add(const struct tsalign_stream *info,
				  const struct tsalign_rule *rule,
				  const void *owner)
{
	struct tsa_stream *fresh = tsa_stream_alloc();
	struct tsa_stream *s;
	int r;

	if (!fresh)
		return ERR_PTR(-ENOMEM);
	r = tsa_stream_install(fresh, info, rule, owner, &s);
	if (r || s != fresh)
		tsa_stream_put(fresh);
	return r ? ERR_PTR(r) : s;
}

void tsa_stream_leave(struct tsa_stream *s)
{
	u64 now = ktime_get_boottime_ns();
	unsigned long flags;

	raw_spin_lock_irqsave(&s->lock, flags);
	if (!s->gone) {
		WRITE_ONCE(s->gone, true);
		s->gone_ns = now;
		s->owner = NULL;
		publish(s, now, 0);
		event_put(s, TSALIGN_EV_GONE, 0, now);
	}
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

/* --- samples ------------------------------------------------------------------ */

/* What a counter's step takes, as far as is known; 0: not at all. */
static u64 period_ns(const struct tsa_stream *s)
{
	const struct tsa_pairing *p = &s->pairing;

	if (s->state != TSALIGN_WAITING && s->published.mult)
		return s->published.mult >> s->published.shift;
	if (s->info.nominal_mhz)
		return div64_u64(1000 * (u64)NSEC_PER_SEC, s->info.nominal_mhz);
	if (p->edges < 2)
		return 0;
	return p->edge_ns[(p->edges - 1) % TSA_PAIR_EDGES] -
	       p->edge_ns[(p->edges - 2) % TSA_PAIR_EDGES];
}

/* Replaces the buffer's arrival by its strobe edge; false: not known. */
static bool pair_with_edge(struct tsa_stream *s, u64 counter,
			   struct tsa_sample *sample)
{
	u64 edge;
	int r = tsa_pairing_buffer(&s->pairing, counter, sample->host_ns,
				   period_ns(s), &edge);

	if (r == -ESTALE)
		s->mispaired++;
	if (r)
		return false;
	sample->host_ns = edge;
	sample->flags |= TSALIGN_EVF_STROBE;
	return true;
}

static tsa_hot void sample_event(const struct tsa_stream *s, u64 counter,
				 const struct tsa_sample *sample)
{
	struct tsalign_event event = {
		.stream = s->info.id,
		.type = s->info.kind == TSALIGN_TRIGGER ? TSALIGN_EV_FIRED :
							  TSALIGN_EV_SAMPLE,
		.flags = sample->flags,
		.cpu = sample->cpu,
		.host_ns = sample->arrival_ns ?: sample->host_ns,
		.counter = counter,
		.stamp_ns = sample->stamp_ns,
		.sigma_ns = s->sigma_ns,
		.epoch = s->epoch,
	};

	if (s->state != TSALIGN_WAITING)
		event.aligned_ns = tsa_map_apply(&s->published, counter);
	tell(&event);
}

/* With s->lock held. */
static void count_anew(struct tsa_stream *s)
{
	tsa_fit_restart(&s->fit, TSALIGN_CAUSE_DEVICE_STEP);
	tsa_unwrap_init(&s->unwrap, s->info.counter_bits);
	tsa_pairing_init(&s->pairing);
}

void tsa_stream_recount(struct tsa_stream *s)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&s->lock, flags);
	if (!s->gone) {
		count_anew(s);
		publish(s, ktime_get_boottime_ns(), 0);
	}
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

/* With s->lock held. */
static tsa_hot void sample_take(struct tsa_stream *s, struct tsa_sample *sample)
{
	bool usable = !(sample->flags & TSALIGN_EVF_ERROR);
	enum tsa_verdict verdict;
	u64 counter;

	sample->arrival_ns = sample->arrival_ns ?: sample->host_ns;
	if (unlikely(sample->restart))
		count_anew(s);
	counter = sample->unwrapped ? sample->counter :
				      tsa_unwrap(&s->unwrap, sample->counter);
	if (usable && s->rule.strobe != TSA_NO_ID &&
	    !pair_with_edge(s, counter, sample)) {
		usable = false;
		sample->flags |= TSALIGN_EVF_OUTLIER;
	}
	if (usable) {
		verdict = tsa_fit_add(&s->fit, counter, sample->host_ns,
				      sample->width_ns);
		if (verdict == TSA_OUTLIER || verdict == TSA_STALE)
			sample->flags |= TSALIGN_EVF_OUTLIER;
		else
			s->updated_ns = sample->host_ns;
	}
	publish(s, sample->arrival_ns, 0);
	s->sampled_offset_ns = s->offset_ns;
	sample_event(s, counter, sample);
}

/* What a sample touches, all at once: it waits for one line instead of each. */
tsa_hot void tsa_stream_prefetch(const struct tsa_stream *s)
{
	const char *at = (const char *)s;
	const char *end = (const char *)&s->fit.bucket[0];

	for (; at < end; at += L1_CACHE_BYTES)
		__builtin_prefetch(at, 1);
}

tsa_hot void tsa_stream_sample(struct tsa_stream *s,
			       const struct tsa_sample *sample)
{
	struct tsa_sample one = *sample;
	struct tsa_sample two;
	unsigned long flags;
	u32 times = 1;

	tsa_stream_prefetch(s);
	if (unlikely(tsa_inject))
		times = tsa_inject_sample(s->info.id, &one);
	raw_spin_lock_irqsave(&s->lock, flags);
	if (unlikely(times > 1)) {
		two = one;
		if (!s->gone)
			sample_take(s, &two);
	}
	if (times && !s->gone)
		sample_take(s, &one);
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

int tsa_stream_burst(struct tsa_stream *s, struct tsalign_pair *pairs,
		     u32 count)
{
	unsigned long flags;
	u32 i;
	int r;

	raw_spin_lock_irqsave(&s->lock, flags);
	for (i = 0; i < count; i++)
		pairs[i].counter = tsa_unwrap(&s->unwrap, pairs[i].counter);
	r = tsa_backdate(&s->fit, pairs, count);
	raw_spin_unlock_irqrestore(&s->lock, flags);
	return r;
}

void tsa_streams_edge(u32 id, u64 edge_ns)
{
	struct tsa_stream *s;
	unsigned long flags;
	u32 i;

	rcu_read_lock();
	for (i = 0; i < TSALIGN_STREAMS_MAX; i++) {
		s = rcu_dereference(table[i]);
		if (!s || READ_ONCE(s->rule.strobe) != id)
			continue;
		raw_spin_lock_irqsave(&s->lock, flags);
		if (!s->gone && s->rule.strobe == id)
			tsa_pairing_edge(&s->pairing, edge_ns);
		raw_spin_unlock_irqrestore(&s->lock, flags);
	}
	rcu_read_unlock();
}

/* --- epochs and rules ----------------------------------------------------------- */

void tsa_stream_restart(struct tsa_stream *s, enum tsalign_epoch_cause cause)
{
	u64 now = ktime_get_boottime_ns();
	unsigned long flags;

	raw_spin_lock_irqsave(&s->lock, flags);
	if (!s->gone) {
		tsa_fit_restart(&s->fit, cause);
		tsa_pairing_init(&s->pairing);
		publish(s, now, cause);
	}
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

void tsa_streams_restart(enum tsalign_epoch_cause cause)
{
	struct tsa_stream *s;
	u32 i;

	for (i = 0; i < TSALIGN_STREAMS_MAX; i++) {
		s = tsa_stream_get(i);
		if (!s)
			continue;
		if (cause)
			tsa_stream_restart(s, cause);
		else
			tsa_stream_refresh(s);
		tsa_stream_put(s);
	}
}

void tsa_stream_refresh(struct tsa_stream *s)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&s->lock, flags);
	if (!s->gone)
		publish(s, ktime_get_boottime_ns(), 0);
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

/* With a strobe it is the edge that has a meaning and a delay. */
static int rule_offset(const struct tsalign_rule *rule, s64 *ret_ns)
{
	struct tsalign_rule effective = *rule;
	struct tsalign_rule edge;
	struct tsa_stream *line;
	const char *why;
	int r = 0;

	if (rule->strobe != TSA_NO_ID) {
		line = tsa_stream_get(rule->strobe);
		if (!line)
			return -ENOENT;
		if (line->info.kind != TSALIGN_GPIO &&
		    line->info.kind != TSALIGN_TRIGGER)
			r = -EINVAL;
		tsa_stream_rule(line, &edge);
		tsa_stream_put(line);
		if (r)
			return r;
		effective.stamped = edge.stamped;
		effective.delay_ns = edge.delay_ns;
	}
	return tsa_rule_offset(&effective, ret_ns, &why);
}

/*
 * The same rule with other times, and less than half a count off: from one
 * sample to the next but one the map moves by less than the count does.
 */
static bool rule_drifts(const struct tsa_stream *s,
			const struct tsalign_rule *rule, s64 offset)
{
	return s->point == rule->point && s->rule.stamped == rule->stamped &&
	       s->rule.delay_ns == rule->delay_ns &&
	       abs(offset - s->sampled_offset_ns) < period_ns(s) / 2;
}

int tsa_stream_set_rule(struct tsa_stream *s, const struct tsalign_rule *rule)
{
	unsigned long flags;
	s64 offset;
	u32 board;
	int r;

	if (rule->strobe != TSA_NO_ID && s->info.kind != TSALIGN_V4L2)
		return -EINVAL;
	r = rule_offset(rule, &offset);
	if (r)
		return r;
	raw_spin_lock_irqsave(&s->lock, flags);
	if (s->rule.strobe != rule->strobe) {
		tsa_pairing_init(&s->pairing);
		tsa_fit_restart(&s->fit, TSALIGN_CAUSE_RECONFIG);
		s->sampled_offset_ns = offset;
	} else if ((s->offset_ns != offset || s->point != rule->point) &&
		   !rule_drifts(s, rule, offset)) {
		s->epochs_added++;
		s->sampled_offset_ns = offset;
	}
	s->offset_ns = offset;
	s->point = rule->point;
	board = s->rule.flags & TSALIGN_RULE_BOARD & rule->flags;
	board = board ? s->rule.flags & rule->flags : 0;
	s->rule = *rule;
	s->rule.flags = board;
	s->rule.id = s->info.id;
	s->info.strobe = rule->strobe;
	publish(s, ktime_get_boottime_ns(), TSALIGN_CAUSE_RECONFIG);
	raw_spin_unlock_irqrestore(&s->lock, flags);
	return 0;
}

void tsa_stream_rule(struct tsa_stream *s, struct tsalign_rule *ret)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&s->lock, flags);
	*ret = s->rule;
	raw_spin_unlock_irqrestore(&s->lock, flags);
}

/* --- other drivers ---------------------------------------------------------------- */

struct tsalign_source {
	struct tsa_stream *stream;
};

struct tsalign_source *tsalign_register(const struct tsalign_stream *desc,
					const struct tsalign_rule *rule)
{
	struct tsalign_stream info = *desc;
	struct tsalign_source *source;
	struct tsalign_rule own;
	struct tsa_stream *s;
	const char *why;
	s64 offset;

	info.kind = TSALIGN_KERNEL;
	info.minor = -1;
	if (tsa_name_check(&info))
		return ERR_PTR(-EINVAL);
	if (rule) {
		if (rule->strobe && rule->strobe != TSA_NO_ID)
			return ERR_PTR(-EINVAL);
		own = *rule;
		own.flags = 0;
		/* No source has one, not even stream 0. */
		own.strobe = TSA_NO_ID;
		if (tsa_rule_offset(&own, &offset, &why))
			return ERR_PTR(-EINVAL);
	}
	source = kvzalloc(sizeof(*source), GFP_KERNEL);
	if (!source)
		return ERR_PTR(-ENOMEM);
	s = tsa_stream_add(&info, rule ? &own : NULL, source);
	if (IS_ERR(s)) {
		kvfree(source);
		return ERR_CAST(s);
	}
	source->stream = s;
	return source;
}
EXPORT_SYMBOL_GPL(tsalign_register);

void tsalign_unregister(struct tsalign_source *source)
{
	if (!source)
		return;
	tsa_stream_leave(source->stream);
	tsa_stream_put(source->stream);
	kvfree(source);
}
EXPORT_SYMBOL_GPL(tsalign_unregister);

u32 tsalign_submit(struct tsalign_source *source, u64 counter, u64 host_ns,
		   u32 width_ns)
{
	struct tsa_sample sample = {
		.counter = counter,
		.host_ns = host_ns,
		.width_ns = width_ns,
		.cpu = raw_smp_processor_id(),
	};

	tsa_stream_sample(source->stream, &sample);
	return source->stream->info.id;
}
EXPORT_SYMBOL_GPL(tsalign_submit);

/* --- bring-up ------------------------------------------------------------------------ */

int tsa_streams_show(struct seq_file *m, void *unused)
{
	static const char *const states[] = {
		"free", "waiting", "coarse", "locked", "holdover", "gone",
	};
	struct tsalign_page page;
	struct tsa_stream *s;
	unsigned long flags;
	u32 i;

	seq_puts(m, "id kind name state epoch samples outliers lost mispaired floods sigma_ns drift_ppb\n");
	for (i = 0; i < TSALIGN_STREAMS_MAX; i++) {
		s = tsa_stream_get(i);
		if (!s)
			continue;
		raw_spin_lock_irqsave(&s->lock, flags);
		page = *s->map;
		raw_spin_unlock_irqrestore(&s->lock, flags);
		seq_printf(m, "%u %u %s %s %llu %llu %llu %llu %llu %llu %llu %lld\n",
			   i, s->info.kind, s->info.name,
			   page.state < ARRAY_SIZE(states) ? states[page.state] : "?",
			   page.epoch, page.samples, page.outliers, page.lost,
			   page.mispaired, READ_ONCE(s->floods), page.sigma_ns,
			   page.drift_ppb);
		tsa_stream_put(s);
	}
	return 0;
}

void tsa_streams_exit(void)
{
	struct tsa_stream *s;
	unsigned long flags;
	u32 i;

	for (i = 0; i < TSALIGN_STREAMS_MAX; i++) {
		raw_spin_lock_irqsave(&tsa_table_lock, flags);
		s = rcu_dereference_protected(table[i],
					      lockdep_is_held(&tsa_table_lock));
		RCU_INIT_POINTER(table[i], NULL);
		raw_spin_unlock_irqrestore(&tsa_table_lock, flags);
		tsa_stream_put(s);
	}
	rcu_barrier();
}
