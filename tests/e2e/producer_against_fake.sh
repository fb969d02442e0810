#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libkvsproducer against tests/support/fake_kvs.py. O= is the build folder.
exec python3 tests/e2e/producer_against_fake.py "${O:-build}" "$@"
