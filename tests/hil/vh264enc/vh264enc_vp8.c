// SPDX-License-Identifier: GPL-2.0-only
#include "vh264enc_vp8.h"

#include <linux/kernel.h>
#include <linux/string.h>

#define EVEN 128u /* a bool without a guess */
#define START_CODE_BYTES 7
#define TAG_BYTES 3

/* Probabilities of an encoder that is all alike: see put_header(). */
#define P_NOT_EMPTY 1u /* of a macroblock to have no coefficients */
#define P_INTER 16u    /* of a macroblock to be sent, in between */
#define P_LAST 255u

#define TOKEN_TYPES 4
#define TOKEN_BANDS 8
#define TOKEN_CONTEXTS 3
#define TOKEN_NODES 11
#define TYPE_CHROMA 2
#define TYPE_LUMA 3 /* with its mean; the other two are not used */

/* 255 less the probability that a token's probability is set (13.4). */
static const u8 update_rest[TOKEN_TYPES * TOKEN_BANDS * TOKEN_CONTEXTS][8] = {
	[3] = {79, 9},
	[4] = {32, 14, 3},
	[5] = {6, 2, 2},
	[6] = {0, 11, 3},
	[7] = {21, 1, 1},
	[8] = {2},
	[9] = {0, 9, 1},
	[10] = {16, 2, 1},
	[11] = {1, 0, 1},
	[12] = {0, 7, 1},
	[13] = {4, 0, 1},
	[15] = {0, 2, 1},
	[16] = {4, 1, 1},
	[17] = {1, 0, 1},
	[18] = {0, 1, 2, 0, 1},
	[19] = {5, 0, 1, 0, 1},
	[20] = {1},
	[24] = {38},
	[25] = {30, 3, 14, 2, 0, 0, 1},
	[26] = {21, 5, 14, 5, 2, 0, 2, 1},
	[27] = {0, 1},
	[28] = {32, 1, 1},
	[29] = {17, 2, 1, 1},
	[30] = {0, 7, 1},
	[31] = {6, 1},
	[33] = {0, 2},
	[34] = {8, 1},
	[36] = {0, 2, 1},
	[37] = {3},
	[39] = {0, 1, 1},
	[40] = {2},
	[42] = {0, 1, 2},
	[43] = {5},
	[44] = {1},
	[48] = {69, 4, 5},
	[49] = {21, 4, 11, 1},
	[50] = {4, 4, 12, 2, 1, 0, 1},
	[51] = {0, 2, 1},
	[52] = {19, 2, 1},
	[53] = {4, 2, 2, 1, 1},
	[54] = {0, 1, 1},
	[55] = {1, 1, 1},
	[57] = {0, 1},
	[58] = {1, 1},
	[59] = {1},
	[61] = {1},
	[72] = {7},
	[73] = {5, 1, 3, 1},
	[74] = {7, 1, 6, 2},
	[75] = {0, 2, 2},
	[76] = {9, 2, 2},
	[77] = {3, 1, 4, 1, 1},
	[78] = {0, 1, 3},
	[79] = {7, 1, 2},
	[80] = {2, 0, 1, 1},
	[81] = {0, 4, 1},
	[82] = {10, 4, 1},
	[83] = {2, 2, 1},
	[84] = {0, 4, 2},
	[85] = {3, 2, 1},
	[86] = {0, 1},
	[87] = {0, 3},
	[88] = {6, 0, 1},
	[89] = {0, 0, 1},
	[90] = {0, 0, 2},
	[91] = {5},
	[94] = {1},
};

/* Dequantised step of the mean, by quantiser (14.1). */
static const u8 dc_steps[VP8_QP_MAX + 1] = {
	4,   5,	  6,   7,   8,	 9,   10,  10,	11,  12,  13,  14,  15,
	16,  17,  17,  18,  19,	 20,  20,  21,	21,  22,  22,  23,  23,
	24,  25,  25,  26,  27,	 28,  29,  30,	31,  32,  33,  34,  35,
	36,  37,  37,  38,  39,	 40,  41,  42,	43,  44,  45,  46,  46,
	47,  48,  49,  50,  51,	 52,  53,  54,	55,  56,  57,  58,  59,
	60,  61,  62,  63,  64,	 65,  66,  67,	68,  69,  70,  71,  72,
	73,  74,  75,  76,  76,	 77,  78,  79,	80,  81,  82,  83,  84,
	85,  86,  87,  88,  89,	 91,  93,  95,	96,  98,  100, 101, 102,
	104, 106, 108, 110, 112, 114, 116, 118, 122, 124, 126, 128, 130,
	132, 134, 136, 138, 140, 143, 145, 148, 151, 154, 157,
};
#define CHROMA_STEP_MAX 132

/* That a motion vector's probability is set (17.2). */
static const u8 vector_updates[2][19] = {
	{237, 246, 253, 253, 254, 254, 254, 254, 254, 254, 254, 254, 254, 254,
	 250, 250, 252, 254, 254},
	{231, 243, 245, 253, 254, 254, 254, 254, 254, 254, 254, 254, 254, 254,
	 251, 251, 254, 254, 254},
};

/* --- the bool coder (7.3) ------------------------------------------------- */

struct coder {
	struct vh264_out *out;
	size_t first; /* of its bytes: a carry stops there */
	u32 low;
	u32 range;
	int room; /* bits until a byte is full */
};

static void put(struct vh264_out *o, u8 byte)
{
	if (o->len == o->max) {
		o->overflow = true;
		return;
	}
	o->bytes[o->len++] = byte;
}

static void coder_begin(struct coder *c, struct vh264_out *o)
{
	c->out = o;
	c->first = o->len;
	c->low = 0;
	c->range = 255;
	c->room = 24;
}

static void carry(struct coder *c)
{
	size_t at = c->out->len;

	while (at > c->first && c->out->bytes[--at] == 0xff)
		c->out->bytes[at] = 0;
	if (at >= c->first && c->out->len > c->first)
		c->out->bytes[at]++;
}

static void shift(struct coder *c)
{
	if (c->low & BIT(31))
		carry(c);
	c->low <<= 1;
	if (--c->room)
		return;
	put(c->out, c->low >> 24);
	c->low &= 0xffffff;
	c->room = 8;
}

/* @zero: how probable it is that @bit is 0, of 256. */
static void put_bool(struct coder *c, u32 zero, u32 bit)
{
	u32 split = 1 + ((c->range - 1) * zero >> 8);

	if (bit) {
		c->low += split;
		c->range -= split;
	} else {
		c->range = split;
	}
	for (; c->range < 128; c->range <<= 1)
		shift(c);
}

static void put_literal(struct coder *c, u32 value, u32 bits)
{
	while (bits--)
		put_bool(c, EVEN, value >> bits & 1);
}

/* What is still inside. */
static void coder_end(struct coder *c)
{
	int i;

	for (i = 0; i < 32; i++)
		shift(c);
}

/* --- blocks --------------------------------------------------------------- */

/* A component: its blocks in the state, and its samples. */
struct component {
	u8 *blocks;
	u32 across; /* blocks */
	const u8 *samples;
	u32 stride;
	u32 step;
	u32 width;
	u32 height;
};

struct frame {
	const struct vh264_frame *f;
	u32 across; /* macroblocks */
	u32 count;
	int luma_step;
	int chroma_step;
	struct component parts[3];
};

size_t vvp8_state_bytes(u32 width, u32 height)
{
	return (size_t)vh264_mbs(width) * vh264_mbs(height) * 24;
}

static bool is_key(const struct vh264_frame *f)
{
	return f->kind != VH264_P;
}

static void frame_init(struct frame *fr, const struct vh264_params *p,
		       const struct vh264_picture *pic,
		       const struct vh264_frame *f, struct vvp8_state *state)
{
	u8 *blocks = state->blocks;
	int qp = clamp(f->qp, 0, VP8_QP_MAX);
	u32 c;

	fr->f = f;
	fr->across = vh264_mbs(p->width);
	fr->count = fr->across * vh264_mbs(p->height);
	fr->luma_step = dc_steps[qp];
	fr->chroma_step = min_t(int, dc_steps[qp], CHROMA_STEP_MAX);
	for (c = 0; c < 3; c++) {
		fr->parts[c] = (struct component){
			.blocks = blocks,
			.across = fr->across * (c ? 2 : 4),
			.samples = pic->plane[c],
			.stride = pic->stride[c],
			.step = c ? pic->chroma_step : 1,
			.width = c ? p->width / 2 : p->width,
			.height = c ? p->height / 2 : p->height,
		};
		blocks += fr->count * (c ? 4 : 16);
	}
}

static bool is_sent(const struct frame *fr, u32 mb)
{
	const struct vh264_frame *f = fr->f;

	return is_key(f) ||
	       (mb + fr->count - f->window_first) % fr->count < f->window_count;
}

/* Of the block at @x, @y; the last samples stand in for those beyond. */
static int mean(const struct component *c, u32 x, u32 y)
{
	u32 sum = 0;
	u32 i;
	u32 j;

	for (j = 4 * y; j < 4 * y + 4; j++) {
		const u8 *row =
			c->samples + (size_t)min(j, c->height - 1) * c->stride;

		for (i = 4 * x; i < 4 * x + 4; i++)
			sum += row[min(i, c->width - 1) * c->step];
	}
	return (sum + 8) / 16;
}

/* A coefficient of the mean, and the end of the block. */
static void put_tokens(struct coder *c, int level)
{
	static const u8 extra[][12] = {
		{159},
		{165, 145},
		{173, 148, 140},
		{176, 155, 140, 135},
		{180, 157, 141, 134, 130},
		{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129},
	};
	static const u16 least[] = {5, 7, 11, 19, 35, 67, 2048};
	static const struct {
		u8 bits;
		u8 count;
	} tokens[] = {{0x06, 3}, {0x1c, 5}, {0x3a, 6}, {0x3b, 6}, {0x3c, 6},
		      {0x3d, 6}, {0x7c, 7}, {0x7d, 7}, {0x7e, 7}, {0x7f, 7}};
	u32 size = abs(level);
	u32 cat = 0;
	u32 i;

	if (!size) {
		put_bool(c, EVEN, 0);
		return;
	}
	if (size < least[0]) {
		put_literal(c, tokens[size - 1].bits, tokens[size - 1].count);
	} else {
		while (size >= least[cat + 1])
			cat++;
		put_literal(c, tokens[4 + cat].bits, tokens[4 + cat].count);
		size -= least[cat];
		for (i = 0; extra[cat][i]; i++)
			;
		for (u32 n = 0; n < i; n++)
			put_bool(c, extra[cat][n], size >> (i - 1 - n) & 1);
	}
	put_bool(c, EVEN, level < 0);
	put_bool(c, EVEN, 0); /* no more in this block */
}

/* Sends the difference to @guess; what a decoder makes of it is kept. */
static void put_block(struct coder *c, struct component *part, u32 x, u32 y,
		      int guess, int step)
{
	int want = 8 * (mean(part, x, y) - guess);
	int level = (abs(want) + step / 2) / step;
	int residue;

	if (want < 0)
		level = -level;
	put_tokens(c, level);
	residue = (level * step + 4) >> 3;
	part->blocks[y * part->across + x] = clamp(guess + residue, 0, 255);
}

/* Luma: each block from the samples above and to the left of it (12.3). */
static void put_luma(struct coder *c, struct frame *fr, u32 mb)
{
	struct component *part = &fr->parts[0];
	u32 i;

	for (i = 0; i < 16; i++) {
		u32 x = mb % fr->across * 4 + i % 4;
		u32 y = mb / fr->across * 4 + i / 4;
		const u8 *at = &part->blocks[y * part->across + x];
		int above = y ? *(at - part->across) : 127;
		int left = x ? at[-1] : 129;

		put_block(c, part, x, y, (4 * above + 4 * left + 4) >> 3,
			  fr->luma_step);
	}
}

/* Chroma: one guess for four blocks, from the macroblocks around (12.2). */
static int guess_chroma(const struct component *part, u32 x, u32 y)
{
	const u8 *at = &part->blocks[y * part->across + x];
	int above = y ? 4 * (at[-(int)part->across] + at[1 - (int)part->across])
		      : 0;
	int left = x ? 4 * (at[-1] + at[(int)part->across - 1]) : 0;

	if (x && y)
		return (above + left + 8) >> 4;
	return x || y ? (above + left + 4) >> 3 : 128;
}

static void put_chroma(struct coder *c, struct frame *fr, u32 mb)
{
	u32 x = mb % fr->across * 2;
	u32 y = mb / fr->across * 2;
	u32 p;
	u32 i;

	for (p = 1; p < 3; p++) {
		int guess = guess_chroma(&fr->parts[p], x, y);

		for (i = 0; i < 4; i++)
			put_block(c, &fr->parts[p], x + i % 2, y + i / 2, guess,
				  fr->chroma_step);
	}
}

/* --- frames --------------------------------------------------------------- */

/*
 * Tokens that are used get even odds, in all contexts alike: then nothing
 * that was coded before matters. Key frames reset them, so each sets them.
 */
static void put_token_updates(struct coder *c, bool key)
{
	u32 row;
	u32 node;

	for (row = 0; row < ARRAY_SIZE(update_rest); row++) {
		u32 type = row / (TOKEN_BANDS * TOKEN_CONTEXTS);
		u32 band = row / TOKEN_CONTEXTS % TOKEN_BANDS;
		bool used = key && type >= TYPE_CHROMA && band < 2;

		for (node = 0; node < TOKEN_NODES; node++) {
			u32 rest = node < 8 ? update_rest[row][node] : 0;

			put_bool(c, 255 - rest, used);
			if (used)
				put_literal(c, EVEN, 8);
		}
	}
}

static void put_inter_odds(struct coder *c)
{
	u32 i;
	u32 j;

	put_literal(c, P_INTER, 8);
	put_literal(c, P_LAST, 8);
	put_literal(c, EVEN, 8); /* golden against alternate: neither is */
	put_literal(c, 0, 2);	 /* modes as they are by default */
	for (i = 0; i < ARRAY_SIZE(vector_updates); i++) {
		for (j = 0; j < ARRAY_SIZE(vector_updates[i]); j++)
			put_bool(c, vector_updates[i][j], 0);
	}
}

/* 9.2 to 9.11. */
static void put_header(struct coder *c, const struct vh264_frame *f)
{
	bool key = is_key(f);

	if (key)
		put_literal(c, 0, 2); /* BT.601, to be clamped */
	put_literal(c, 0, 1);	      /* segments */
	put_literal(c, 0, 1 + 6 + 3); /* the loop filter: off */
	put_literal(c, 0, 1);	      /* ... and no changes of it */
	put_literal(c, 0, 2);	      /* one partition of tokens */
	put_literal(c, clamp(f->qp, 0, VP8_QP_MAX), 7);
	put_literal(c, 0, 5); /* the same for all coefficients */
	if (!key) {
		put_literal(c, 0, 2); /* golden and alternate stay, ... */
		put_literal(c, 0, 4); /* ... nothing is copied there */
		put_literal(c, 0, 2); /* signs */
	}
	put_literal(c, 1, 1); /* odds stay for the next frames */
	if (!key)
		put_literal(c, 1, 1); /* the last frame is this one */
	put_token_updates(c, key);
	put_literal(c, 1, 1);
	put_literal(c, P_NOT_EMPTY, 8);
	if (!key)
		put_inter_odds(c);
}

/* As the frame before, at the same place (16.3). */
static void put_copied(struct coder *c, const struct frame *fr, u32 mb)
{
	static const u8 zero_odds[] = {7, 14, 135, 60, 159, 234};
	bool x = mb % fr->across != 0;
	bool y = mb >= fr->across;
	u32 around = 0;

	if (y && !is_sent(fr, mb - fr->across))
		around += 2;
	if (x && !is_sent(fr, mb - 1))
		around += 2;
	if (x && y && !is_sent(fr, mb - fr->across - 1))
		around += 1;
	put_bool(c, P_INTER, 1);
	put_bool(c, P_LAST, 0);
	put_bool(c, zero_odds[around], 0);
}

/* Blocks of 4 x 4, each guessed by the mean around it. */
static void put_sent(struct coder *c, bool key)
{
	u32 i;

	if (key) {
		put_bool(c, 145, 0);
	} else {
		put_bool(c, P_INTER, 0);
		put_bool(c, 112, 1);
		put_bool(c, 86, 1);
		put_bool(c, 37, 1);
	}
	for (i = 0; i < 16; i++)
		put_bool(c, key ? 231 : 120, 0);
	put_bool(c, key ? 142 : 162, 0);
}

static void put_modes(struct coder *c, const struct frame *fr)
{
	u32 mb;

	for (mb = 0; mb < fr->count; mb++) {
		bool sent = is_sent(fr, mb);

		put_bool(c, P_NOT_EMPTY, !sent);
		if (sent)
			put_sent(c, is_key(fr->f));
		else
			put_copied(c, fr, mb);
	}
}

static void put_start(struct vh264_out *o, const struct vh264_params *p)
{
	put(o, 0x9d);
	put(o, 0x01);
	put(o, 0x2a);
	put(o, p->width);
	put(o, p->width >> 8);
	put(o, p->height);
	put(o, p->height >> 8);
}

void vvp8_put_frame(struct vh264_out *o, const struct vh264_params *p,
		    u32 version, const struct vh264_picture *pic,
		    const struct vh264_frame *f, struct vvp8_state *state)
{
	size_t tag = o->len;
	struct coder c;
	struct frame fr;
	u32 part;
	u32 mb;

	frame_init(&fr, p, pic, f, state);
	for (part = 0; part < TAG_BYTES; part++)
		put(o, 0);
	if (is_key(f))
		put_start(o, p);
	coder_begin(&c, o);
	put_header(&c, f);
	put_modes(&c, &fr);
	coder_end(&c);
	if (o->overflow)
		return;
	part = o->len - c.first;
	part = part << 5 | 1 << 4 | (version & 3) << 1 | !is_key(f);
	o->bytes[tag] = part;
	o->bytes[tag + 1] = part >> 8;
	o->bytes[tag + 2] = part >> 16;
	coder_begin(&c, o);
	for (mb = 0; mb < fr.count; mb++) {
		if (!is_sent(&fr, mb))
			continue;
		put_luma(&c, &fr, mb);
		put_chroma(&c, &fr, mb);
	}
	coder_end(&c);
}

void vvp8_put_padding(struct vh264_out *o, size_t bytes)
{
	while (bytes--)
		put(o, 0);
}
