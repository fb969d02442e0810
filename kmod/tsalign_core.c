// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Maps, wide counters, stamping rules and triggers. */
#include "tsalign_core.h"

#define TSA_DELAY_MAX_NS	10000000000ll
#define TSA_READOUT_MAX_NS	10000000000ull
#define TSA_EXPOSURE_MAX_NS	3600000000000ull

/* In so many ns there are rate_mhz periods. */
#define TSA_MHZ_NS		1000000000000ull
#define TSA_RATE_MAX_MHZ	1000000u
#define TSA_PULSE_MIN_NS	10000u

tsa_hot u64 tsa_div_shl(u64 n, u32 shift, u64 d)
{
	u64 high = shift ? n >> (64 - shift) : 0;
	u64 low = n << shift;
	u32 i;

	if (high >= d)
		return U64_MAX;
	if (!high) {
		high = low;
		low = div64_u64(high, d);
		high -= low * d;
		return high >= d - high && low != U64_MAX ? low + 1 : low;
	}
	/* high < d at each turn, so what is shifted in fits beside a carry. */
	for (i = 0; i < 64; i++) {
		bool carry = high >> 63;

		high = (high << 1) | (low >> 63);
		low <<= 1;
		if (carry || high >= d) {
			high -= d;
			low |= 1;
		}
	}
	if (high >= d - high && low != U64_MAX)
		low++;
	return low;
}

/* --- maps ---------------------------------------------------------------- */

tsa_hot u64 tsa_map_apply(const struct tsa_map *map, u64 counter)
{
	u64 ahead = counter - map->base_counter;
	u64 back = -ahead;
	u64 ns;

	if (!(ahead >> 63))
		return tsa_add(map->base_ns,
			       tsa_mul_shr(ahead, map->mult, map->shift));
	/* An arithmetic shift rounds down: the magnitude, up. */
	ns = tsa_mul_shr(back, map->mult, map->shift);
	if (map->shift && ns != U64_MAX &&
	    (back * map->mult) << (64 - map->shift))
		ns++;
	return ns > map->base_ns ? 0 : map->base_ns - ns;
}

u64 tsa_map_invert(const struct tsa_map *map, u64 ns)
{
	bool ahead = ns >= map->base_ns;
	u64 diff = ahead ? ns - map->base_ns : map->base_ns - ns;
	u64 count;

	if (!map->mult)
		return map->base_counter;
	count = tsa_div_shl(diff, map->shift, map->mult);
	if (ahead)
		return count > S64_MAX ? U64_MAX :
					 tsa_add(map->base_counter, count);
	return count > map->base_counter ? 0 : map->base_counter - count;
}

int tsa_map_compose(const struct tsa_map *a, const struct tsa_map *b,
		    u64 counter, struct tsa_map *ret)
{
	u32 shift = a->shift + b->shift;
	u32 excess = shift > 63 ? shift - 63 : 0;
	u64 ns = tsa_map_apply(a, counter);
	u64 high;
	u64 low = tsa_mul(a->mult, b->mult, &high);

	/* Below 2^63, so that a reader may multiply signed numbers. */
	if (high && (u32)fls64(high) + 1 > excess)
		excess = (u32)fls64(high) + 1;
	else if (!excess && low >> 63)
		excess = 1;
	if (excess > shift || !ns || ns == U64_MAX)
		return -ERANGE;
	ret->base_ns = tsa_map_apply(b, ns);
	ret->mult = tsa_mul_shr(a->mult, b->mult, excess > 63 ? 63 : excess);
	if (excess == 64)
		ret->mult >>= 1;
	if (!ret->mult || !ret->base_ns || ret->base_ns == U64_MAX)
		return -ERANGE;
	ret->base_counter = counter;
	ret->shift = shift - excess;
	return 0;
}

/* --- counters ------------------------------------------------------------ */

void tsa_unwrap_init(struct tsa_unwrap *u, u32 bits)
{
	u->last = 0;
	u->bits = bits && bits < 64 ? bits : 64;
	u->started = false;
}

tsa_hot u64 tsa_unwrap(struct tsa_unwrap *u, u64 raw)
{
	u64 mask = U64_MAX >> (64 - u->bits);
	u64 ahead = (raw - u->last) & mask;
	u64 back = (u->last - raw) & mask;

	if (!u->started) {
		u->started = true;
		u->last = raw & mask;
	} else if (back < ahead && back <= u->last) {
		u->last -= back;
	} else {
		u->last += ahead;
	}
	return u->last;
}

/* --- rules --------------------------------------------------------------- */

/* A point's place after the start of the first row's exposure. */
static int tsa_point_ns(const struct tsalign_rule *rule, u32 point, s64 *ret)
{
	switch (point) {
	case TSALIGN_POINT_SOE:
		*ret = 0;
		return 0;
	case TSALIGN_POINT_SOF:
		*ret = (s64)rule->exposure_ns;
		return 0;
	case TSALIGN_POINT_EOF:
		*ret = (s64)(rule->exposure_ns + rule->readout_ns);
		return 0;
	case TSALIGN_POINT_MID:
		*ret = (s64)((rule->exposure_ns + rule->readout_ns) / 2);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Does the way between two points lead over the exposure, the readout? */
static bool tsa_rule_needs(u32 from, u32 to, bool exposure)
{
	u32 edge = exposure ? TSALIGN_POINT_SOE : TSALIGN_POINT_EOF;

	if (from == to)
		return false;
	if (from == edge || to == edge)
		return true;
	/* Mid exposure needs its length; no readout is a global shutter. */
	return exposure &&
	       (from == TSALIGN_POINT_MID || to == TSALIGN_POINT_MID);
}

static const char *tsa_rule_why(const struct tsalign_rule *rule)
{
	s64 none;

	if (rule->stamped > TSALIGN_POINT_MID)
		return "stamped";
	if (rule->point > TSALIGN_POINT_MID)
		return "point";
	if (rule->delay_ns > TSA_DELAY_MAX_NS ||
	    rule->delay_ns < -TSA_DELAY_MAX_NS)
		return "delay_ns";
	if (rule->readout_ns > TSA_READOUT_MAX_NS)
		return "readout_ns";
	if (rule->exposure_ns > TSA_EXPOSURE_MAX_NS)
		return "exposure_ns";
	if (rule->stamped == rule->point)
		return NULL;
	if (tsa_point_ns(rule, rule->stamped, &none))
		return "stamped";
	if (tsa_point_ns(rule, rule->point, &none))
		return "point";
	if (!rule->exposure_ns && tsa_rule_needs(rule->stamped, rule->point, true))
		return "exposure_ns";
	/* From the middle row's exposure to the first row's: half a readout. */
	if (!rule->readout_ns &&
	    tsa_rule_needs(rule->stamped, rule->point, false))
		return "readout_ns";
	return NULL;
}

int tsa_rule_offset(const struct tsalign_rule *rule, s64 *ret_ns,
		    const char **ret_why)
{
	const char *why = tsa_rule_why(rule);
	s64 from = 0;
	s64 to = 0;

	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	if (rule->stamped != rule->point) {
		(void)tsa_point_ns(rule, rule->stamped, &from);
		(void)tsa_point_ns(rule, rule->point, &to);
	}
	*ret_ns = to - from - rule->delay_ns;
	return 0;
}

/* --- triggers ------------------------------------------------------------ */

int tsa_trigger_check(const struct tsalign_trigger *t, const char **ret_why)
{
	const char *why = NULL;
	u64 period;

	if (t->index >= TSALIGN_TRIGGERS_MAX)
		why = "index";
	else if (t->enable > 1)
		why = "enable";
	else if (t->enable && (!t->rate_mhz || t->rate_mhz > TSA_RATE_MAX_MHZ))
		why = "rate_mhz";
	if (!why && t->enable) {
		period = div64_u64(TSA_MHZ_NS, t->rate_mhz);
		if (t->phase_ns >= period)
			why = "phase_ns";
		else if (t->pulse_ns < TSA_PULSE_MIN_NS ||
			 t->pulse_ns >= period)
			why = "pulse_ns";
		else if (t->centred > 1)
			why = "centred";
		else if (t->exposure_ns > period ||
			 (t->centred && !t->exposure_ns))
			why = "exposure_ns";
	}
	if (!why)
		return 0;
	*ret_why = why;
	return -EINVAL;
}

/* k / rate in ns, without what is below one. */
static u64 tsa_trigger_grid(u64 rate_mhz, u64 k)
{
	u64 turns = div64_u64(k, rate_mhz);
	u64 rest = k - turns * rate_mhz;

	if (turns > U64_MAX / TSA_MHZ_NS - 1)
		return U64_MAX;
	/* rest < rate_mhz <= 10^6: the product is below 10^18. */
	return turns * TSA_MHZ_NS + div64_u64(rest * TSA_MHZ_NS, rate_mhz);
}

u64 tsa_trigger_next(const struct tsalign_trigger *t, u64 ref_ns, u64 *ret_k)
{
	u64 lead = t->centred ? t->exposure_ns / 2 : 0;
	u64 moved = tsa_add(ref_ns, lead);
	u64 turns;
	u64 grid;
	u64 k = 0;

	*ret_k = 0;
	if (!t->rate_mhz || t->rate_mhz > TSA_RATE_MAX_MHZ || moved == U64_MAX)
		return U64_MAX;
	if (moved >= t->phase_ns) {
		moved -= t->phase_ns;
		turns = div64_u64(moved, TSA_MHZ_NS);
		/* turns < 2 * 10^7, so k < 2 * 10^13. */
		k = turns * t->rate_mhz +
		    div64_u64((moved - turns * TSA_MHZ_NS) * t->rate_mhz,
			      TSA_MHZ_NS);
		/* The grid is rounded down as k is: at most one ahead. */
		while (tsa_trigger_grid(t->rate_mhz, k) <= moved)
			k++;
	}
	grid = tsa_add(tsa_trigger_grid(t->rate_mhz, k), t->phase_ns);
	*ret_k = k;
	return grid == U64_MAX ? U64_MAX : grid - lead;
}
