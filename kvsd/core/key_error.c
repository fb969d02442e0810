/* SPDX-License-Identifier: Apache-2.0 */
#include "core/key_error.h"

#include <errno.h>

enum ack_error key_error_ack(int error)
{
	switch (error) {
	case -EACCES:
	case -EPERM:
		return ACK_KMS_KEY_ACCESS_DENIED;
	case -EKEYREVOKED:
		return ACK_KMS_KEY_DISABLED;
	case -EINVAL:
		return ACK_KMS_KEY_VALIDATION_ERROR;
	case -EKEYREJECTED:
		return ACK_KMS_KEY_INVALID_USAGE;
	case -ENODATA:
		return ACK_KMS_KEY_INVALID_STATE;
	case -ENOKEY:
		return ACK_KMS_KEY_NOT_FOUND;
	default:
		return ACK_KMS_KEY_UNAVAILABLE;
	}
}
