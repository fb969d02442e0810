/* SPDX-License-Identifier: Apache-2.0 */
/* Why a stream's key cannot be used, as producers and readers are told. Pure. */
#ifndef CORE_KEY_ERROR_H
#define CORE_KEY_ERROR_H

#include "proto/ack.h"

/* @error: of catalog_stream.key_error. Return: one of 4500 to 4506. */
enum ack_error key_error_ack(int error);

#endif
