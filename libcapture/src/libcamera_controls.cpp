/* SPDX-License-Identifier: Apache-2.0 */
#include "src/libcamera_controls.hpp"

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <string>

#include <libcamera/control_ids.h>

using namespace libcamera;

/* Real numbers are given in thousandths. */
static constexpr double real_unit = 1000;

LibcameraControls::LibcameraControls()
    : all_(controls::controls), pending_(controls::controls)
{
}

int libcamera_refuse(const struct capture_settings *settings, const char *name,
		     int error)
{
	struct capture_settings_error *e = settings ? settings->error : nullptr;

	if (e) {
		(void)snprintf(e->name, sizeof(e->name), "%s", name);
		e->error = error;
	}
	return error;
}

/* "ExposureTime" and "exposure_time" are one. */
static std::string letters(const char *name)
{
	std::string out;

	for (; *name; name++)
		if (isalnum((unsigned char)*name))
			out += (char)tolower((unsigned char)*name);
	return out;
}

static const ControlId *find(const ControlInfoMap &known, const char *name)
{
	const std::string wanted = letters(name);

	for (const auto &control : known)
		if (letters(control.first->name().c_str()) == wanted)
			return control.first;
	return nullptr;
}

/* Whether @v is a number, in the unit of a setting. */
static bool number_of(const ControlValue &v, int64_t *ret_number)
{
	if (v.isNone() || v.isArray())
		return false;
	switch (v.type()) {
	case ControlTypeBool:
		*ret_number = v.get<bool>();
		return true;
	case ControlTypeByte:
		*ret_number = v.get<uint8_t>();
		return true;
	case ControlTypeInteger32:
		*ret_number = v.get<int32_t>();
		return true;
	case ControlTypeInteger64:
		*ret_number = v.get<int64_t>();
		return true;
	case ControlTypeFloat:
		/* What is farther off than this nobody sets. */
		*ret_number = llround(std::fmin(
			std::fmax(v.get<float>() * real_unit, -1e15), 1e15));
		return true;
	default:
		return false;
	}
}

static bool is_in_range(const ControlInfo &info, int64_t value)
{
	int64_t limit;

	if (number_of(info.min(), &limit) && value < limit)
		return false;
	if (number_of(info.max(), &limit) && value > limit)
		return false;
	if (info.values().empty())
		return true;
	for (const ControlValue &v : info.values())
		if (number_of(v, &limit) && value == limit)
			return true;
	return false;
}

static int value_of(const ControlId &id, int64_t value, ControlValue *ret_value)
{
	switch (id.type()) {
	case ControlTypeBool:
		if (value < 0 || value > 1)
			return -ERANGE;
		ret_value->set<bool>(value != 0);
		return 0;
	case ControlTypeByte:
		if (value < 0 || value > UINT8_MAX)
			return -ERANGE;
		ret_value->set<uint8_t>((uint8_t)value);
		return 0;
	case ControlTypeInteger32:
		if (value < INT32_MIN || value > INT32_MAX)
			return -ERANGE;
		ret_value->set<int32_t>((int32_t)value);
		return 0;
	case ControlTypeInteger64:
		ret_value->set<int64_t>(value);
		return 0;
	case ControlTypeFloat:
		ret_value->set<float>((float)((double)value / real_unit));
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* Those that are more than one number, which their type does not tell. */
static bool is_compound(const ControlId &id)
{
	static const std::array<unsigned int, 4> compounds = {
		controls::FrameDurationLimits.id(), /* by the rate */
		controls::ColourGains.id(),
		controls::ColourCorrectionMatrix.id(),
		controls::SensorBlackLevels.id(),
	};

	for (unsigned int c : compounds)
		if (c == id.id())
			return true;
	return false;
}

int LibcameraControls::set(const ControlInfoMap &known,
			   const struct capture_control_setting &setting)
{
	/* V4L2's numbers mean nothing to it. */
	const ControlId *id = setting.id || !setting.name
				      ? nullptr
				      : find(known, setting.name);
	ControlValue value;
	int r;

	if (!id)
		return -ENXIO;
	if (is_compound(*id) || setting.item)
		return -EOPNOTSUPP;
	r = value_of(*id, setting.value, &value);
	if (r < 0)
		return r;
	if (!is_in_range(known.at(id->id()), setting.value))
		return -ERANGE;
	all_.set(id->id(), value);
	pending_.set(id->id(), value);
	return 0;
}

int LibcameraControls::apply(const ControlInfoMap &known,
			     const struct capture_settings *settings)
{
	char by_id[16];

	for (size_t i = 0; settings && i < settings->control_count; i++) {
		const struct capture_control_setting &c = settings->controls[i];
		int r = set(known, c);

		if (r == 0)
			continue;
		(void)snprintf(by_id, sizeof(by_id), "0x%x", c.id);
		return libcamera_refuse(settings,
					c.id || !c.name ? by_id : c.name, r);
	}
	return 0;
}

void LibcameraControls::set_frame_time(int64_t us)
{
	const std::array<int64_t, 2> limits = {us, us};

	all_.set(controls::FrameDurationLimits, Span<const int64_t, 2>(limits));
}

const ControlList *LibcameraControls::start()
{
	pending_ = all_;
	return all_.empty() ? nullptr : &all_;
}

void LibcameraControls::give(ControlList &request)
{
	if (pending_.empty())
		return;
	request.merge(pending_);
	pending_.clear();
}
