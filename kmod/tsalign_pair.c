// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Buffers against strobe edges; FIFO bursts back-dated. */
#include "tsalign_fit.h"

/* Buffers in a row that must name the same edge. */
#define TSA_PAIR_AGREED		4
/* Lags in a row that prove a slip: none is early by delay. */
#define TSA_PAIR_EARLY		2
#define TSA_PAIR_LATE		16

void tsa_pairing_init(struct tsa_pairing *p)
{
	memset(p, 0, sizeof(*p));
}

void tsa_pairing_edge(struct tsa_pairing *p, u64 edge_ns)
{
	p->edge_ns[p->edges % TSA_PAIR_EDGES] = edge_ns;
	p->edges++;
}

/* The newest edge not after @ns. */
static bool tsa_edge_before(const struct tsa_pairing *p, u64 ns, u64 *ret)
{
	u64 oldest = p->edges > TSA_PAIR_EDGES ? p->edges - TSA_PAIR_EDGES : 0;
	u64 i;

	for (i = p->edges; i-- > oldest;) {
		if (p->edge_ns[i % TSA_PAIR_EDGES] <= ns) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static void tsa_pairing_learn(struct tsa_pairing *p, u64 sequence,
			      u64 arrival_ns)
{
	u64 edge;
	s64 offset;

	if (!tsa_edge_before(p, arrival_ns, &edge))
		return;
	offset = (s64)(edge - sequence);
	if (!p->agreed || offset != p->candidate) {
		p->candidate = offset;
		p->agreed = 0;
		p->lag_ns = U64_MAX;
	}
	p->agreed++;
	p->lag_ns = tsa_min(p->lag_ns, arrival_ns -
			    p->edge_ns[edge % TSA_PAIR_EDGES]);
	if (p->agreed < TSA_PAIR_AGREED)
		return;
	p->offset = offset;
	p->known = true;
	p->doubts = 0;
}

/* By how many edges the lag says the counts slipped. */
static s64 tsa_pairing_slip(const struct tsa_pairing *p, u64 edge_ns,
			    u64 arrival_ns, u64 period_ns)
{
	u64 usual = tsa_add(edge_ns, p->lag_ns);
	u64 half = period_ns / 2;

	if (arrival_ns >= usual)
		return (s64)div64_u64(tsa_add(arrival_ns - usual, half),
				      period_ns);
	return -(s64)div64_u64(tsa_add(usual - arrival_ns, half), period_ns);
}

/* An edge within 3/4 of a period of its neighbour: one of them is none. */
static bool tsa_edge_crowded(const struct tsa_pairing *p, u64 edge,
			     u64 period_ns)
{
	u64 least = period_ns - period_ns / 4;
	u64 ns = p->edge_ns[edge % TSA_PAIR_EDGES];

	if (edge + 1 < p->edges &&
	    p->edge_ns[(edge + 1) % TSA_PAIR_EDGES] - ns < least)
		return true;
	return edge && p->edges - edge < TSA_PAIR_EDGES &&
	       ns - p->edge_ns[(edge - 1) % TSA_PAIR_EDGES] < least;
}

/* A lag out of turn: -EAGAIN while it may be a late buffer, -ESTALE then. */
static int tsa_pairing_doubt(struct tsa_pairing *p, s64 slip)
{
	/* Delay makes a slip seem larger, never smaller: the least one counts. */
	if (p->doubts && slip > 0 && p->doubt > 0) {
		p->doubt = tsa_min(p->doubt, slip);
	} else if (!p->doubts || slip != p->doubt) {
		p->doubt = slip;
		p->doubts = 0;
	}
	p->doubts++;
	if (p->doubts < (slip < 0 ? TSA_PAIR_EARLY : TSA_PAIR_LATE))
		return -EAGAIN;
	p->offset = (s64)((u64)p->offset + (u64)p->doubt);
	p->doubts = 0;
	p->slips++;
	return -ESTALE;
}

int tsa_pairing_buffer(struct tsa_pairing *p, u64 sequence, u64 arrival_ns,
		       u64 period_ns, u64 *ret_edge_ns)
{
	u64 edge;
	u64 edge_ns;
	s64 slip;

	if (!p->known) {
		tsa_pairing_learn(p, sequence, arrival_ns);
		if (!p->known)
			return -EAGAIN;
	}
	edge = sequence + (u64)p->offset;
	if (edge >= p->edges) {
		/* Not heard yet: it was missed, or the counts began anew. */
		if (edge - p->edges < TSA_PAIR_EDGES)
			return tsa_pairing_doubt(p, -1 - (s64)(edge - p->edges));
		p->known = false;
		p->agreed = 0;
		p->slips++;
		return -ESTALE;
	}
	if (p->edges - edge > TSA_PAIR_EDGES) {
		p->known = false;
		p->agreed = 0;
		p->slips++;
		return -ESTALE;
	}
	edge_ns = p->edge_ns[edge % TSA_PAIR_EDGES];
	slip = period_ns ? tsa_pairing_slip(p, edge_ns, arrival_ns, period_ns) :
			   0;
	if (slip)
		return tsa_pairing_doubt(p, slip);
	p->doubts = 0;
	if (tsa_edge_crowded(p, edge, period_ns))
		return -EAGAIN;
	/* Delays change: the least one is forgotten slowly. */
	if (arrival_ns >= edge_ns && arrival_ns - edge_ns < p->lag_ns)
		p->lag_ns = arrival_ns - edge_ns;
	else if (arrival_ns >= edge_ns)
		p->lag_ns += (arrival_ns - edge_ns - p->lag_ns) / 64;
	*ret_edge_ns = edge_ns;
	return 0;
}

int tsa_backdate(const struct tsa_fit *fit, struct tsalign_pair *pairs,
		 u32 count)
{
	struct tsa_map rate = fit->line;
	struct tsalign_pair *last;
	u32 i;

	if (!count)
		return 0;
	last = &pairs[count - 1];
	if (fit->state == TSALIGN_WAITING || !rate.mult) {
		if (!fit->config.nominal_mhz)
			return -EINVAL;
		tsa_line_rate(&rate, 1000000000000ull, fit->config.nominal_mhz);
	}
	for (i = 0; i < count - 1; i++) {
		u64 back = last->counter - pairs[i].counter;

		/* In the order in which they happened. */
		if (back >> 63)
			return -EINVAL;
		back = tsa_mul_shr(back, rate.mult, rate.shift);
		pairs[i].host_ns = last->host_ns > back ? last->host_ns - back :
							  0;
	}
	return 0;
}
