/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/aws_profile.h"

#include <errno.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trim(struct slice s)
{
	while (s.len && is_space(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* "[name]", "[profile name]": does it open the profile wanted? */
static bool section_is(struct slice inside, struct slice name, bool config)
{
	struct slice word;

	inside = trim(inside);
	if (!config || slice_eq(name, SLICE("default")))
		return slice_eq(inside, name);
	word = slice_cut(&inside, ' ');
	return slice_eq(word, SLICE("profile")) &&
	       slice_eq(trim(inside), name);
}

/* Everything behind " #" or " ;" is a comment. */
static struct slice without_comment(struct slice value)
{
	size_t i;

	for (i = 1; i < value.len; i++) {
		if ((value.ptr[i] == '#' || value.ptr[i] == ';') &&
		    is_space(value.ptr[i - 1])) {
			value.len = i;
			break;
		}
	}
	return trim(value);
}

static void set_value(struct aws_profile *p, struct slice key,
		      struct slice value)
{
	const struct {
		const char *key;
		struct slice *value;
	} settings[] = {
		{ "aws_access_key_id", &p->access_key_id },
		{ "aws_secret_access_key", &p->secret_access_key },
		{ "aws_session_token", &p->session_token },
		{ "region", &p->region },
		{ "endpoint_url", &p->endpoint_url },
		{ "ca_bundle", &p->ca_bundle },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (slice_eq_nocase(key, slice_of(settings[i].key)))
			*settings[i].value = value;
	}
}

/* Return: 1 (a section head; *ret_ours says of which), 0, -EBADMSG. */
static int read_line(struct slice line, struct slice name, bool config,
		     bool ours, struct aws_profile *p, bool *ret_ours)
{
	struct slice text = trim(line);
	struct slice key;

	if (!text.len || text.ptr[0] == '#' || text.ptr[0] == ';')
		return 0;
	if (text.ptr[0] == '[') {
		text.ptr++;
		text.len--;
		if (!memchr(text.ptr, ']', text.len))
			return -EBADMSG;
		*ret_ours = section_is(slice_cut(&text, ']'), name, config);
		return 1;
	}
	if (is_space(line.ptr[0]))
		return 0;
	if (!memchr(text.ptr, '=', text.len))
		return -EBADMSG;
	key = trim(slice_cut(&text, '='));
	if (ours)
		set_value(p, key, without_comment(trim(text)));
	return 0;
}

int aws_profile_find(struct slice text, struct slice name, bool config,
		     struct aws_profile *ret_profile, unsigned int *ret_line)
{
	struct aws_profile p = { 0 };
	unsigned int number = 0;
	bool found = false;
	bool ours = false;

	while (text.len) {
		struct slice line = slice_cut(&text, '\n');
		int r;

		number++;
		r = read_line(line, name, config, ours, &p, &ours);
		if (r < 0) {
			*ret_line = number;
			return r;
		}
		found |= ours;
	}
	if (!found)
		return -ENOENT;
	*ret_profile = p;
	return 0;
}
