/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/names.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* 1..@max characters, each alphanumeric or one of @others. */
static bool made_of(struct slice s, size_t max, const char *others)
{
	size_t i;

	if (!s.len || s.len > max)
		return false;
	for (i = 0; i < s.len; i++) {
		if (!is_alnum(s.ptr[i]) &&
		    (!s.ptr[i] || !strchr(others, s.ptr[i])))
			return false;
	}
	return true;
}

static bool has_upper(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
			return true;
	}
	return false;
}

bool name_stream_valid(struct slice s)
{
	return made_of(s, STREAM_NAME_CHARS_MAX, "_.-");
}

bool name_device_valid(struct slice s)
{
	return made_of(s, DEVICE_NAME_CHARS_MAX, "_.-");
}

bool name_media_type_valid(struct slice s)
{
	bool more = true;

	if (s.len > MEDIA_TYPE_CHARS_MAX)
		return false;
	while (more) {
		struct slice subtype;
		struct slice type;

		more = s.len && memchr(s.ptr, ',', s.len);
		subtype = slice_cut(&s, ',');
		type = slice_cut(&subtype, '/');
		if (!made_of(type, MEDIA_TYPE_CHARS_MAX, "_-.+") ||
		    !made_of(subtype, MEDIA_TYPE_CHARS_MAX, "_-.+"))
			return false;
	}
	return true;
}

bool name_kms_key_valid(struct slice s)
{
	return s.len && s.len <= KMS_KEY_ID_CHARS_MAX &&
	       !memchr(s.ptr, '\n', s.len) && !memchr(s.ptr, '\r', s.len) &&
	       !memchr(s.ptr, '\0', s.len);
}

bool name_version_valid(struct slice s)
{
	return made_of(s, VERSION_CHARS_MAX, "");
}

bool name_region_valid(struct slice s)
{
	return made_of(s, REGION_CHARS_MAX, "-") && !has_upper(s);
}

bool name_account_valid(struct slice s)
{
	uint64_t ignored;

	return s.len == 12 &&
	       parse_u64(s.ptr, s.len, UINT64_MAX, &ignored) == 0;
}

static bool arn_valid(const struct stream_arn *arn)
{
	return name_region_valid(arn->partition) &&
	       name_region_valid(arn->region) &&
	       name_account_valid(arn->account) &&
	       name_stream_valid(arn->name);
}

int stream_arn_parse(struct slice s, struct stream_arn *ret_arn)
{
	struct stream_arn arn;
	struct slice created;

	if (s.len > ARN_CHARS_MAX || !slice_is(slice_cut(&s, ':'), "arn"))
		return -EINVAL;
	arn.partition = slice_cut(&s, ':');
	if (!slice_is(slice_cut(&s, ':'), "kinesisvideo"))
		return -EINVAL;
	arn.region = slice_cut(&s, ':');
	arn.account = slice_cut(&s, ':');
	if (!slice_is(slice_cut(&s, '/'), "stream"))
		return -EINVAL;
	arn.name = slice_cut(&s, '/');
	created = s;
	if (!arn_valid(&arn) || created.len != STREAM_CREATED_CHARS ||
	    parse_u64(created.ptr, created.len, UINT64_MAX,
		      &arn.created_ms) < 0)
		return -EINVAL;
	*ret_arn = arn;
	return 0;
}

int stream_arn_format(struct buf *b, const struct stream_arn *arn)
{
	if (!arn_valid(arn) || arn->created_ms > STREAM_CREATED_MS_MAX)
		return -EINVAL;
	return buf_printf(b, "arn:%.*s:kinesisvideo:%.*s:%.*s:stream/%.*s/%013llu",
			  (int)arn->partition.len, arn->partition.ptr,
			  (int)arn->region.len, arn->region.ptr,
			  (int)arn->account.len, arn->account.ptr,
			  (int)arn->name.len, arn->name.ptr,
			  (unsigned long long)arn->created_ms);
}

void version_format(const uint8_t random[16], char out[VERSION_CHARS + 1])
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz";
	uint8_t rest[16];
	size_t i;
	size_t j;

	/* Long division by 62, one digit per round. */
	memcpy(rest, random, sizeof(rest));
	for (i = 0; i < VERSION_CHARS; i++) {
		unsigned int carry = 0;

		for (j = 0; j < sizeof(rest); j++) {
			carry = carry << 8 | rest[j];
			rest[j] = (uint8_t)(carry / 62);
			carry %= 62;
		}
		out[i] = digits[carry];
	}
	out[VERSION_CHARS] = '\0';
}
