# SPDX-License-Identifier: Apache-2.0
"""Framed records as capture/record.h documents them; shares no code with the product."""
import struct

TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    """Castagnoli."""
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ TABLE[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def record(payload, sequence, ticks, hz, fourcc=b"CU08", flags=0, more=b""):
    """@more: what a later version has at the end of its header."""
    head = struct.pack("<4sBBH4sIIQQI", b"KVSR", 1, 44 + len(more), flags, fourcc, len(payload), sequence, ticks, hz,
                       crc32c(payload))
    return head + struct.pack("<I", crc32c(head + bytes(4) + more)) + more + payload
