# SPDX-License-Identifier: Apache-2.0
"""A small EBML reader and a Matroska writer for the tests.

Independent of the service and of kvs_client: what one of them gets wrong the
other must not share. Writes well-formed and, on request, malformed bytes.
"""

import zlib

EBML, SEGMENT, SEEKHEAD, INFO = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966
TRACKS, CLUSTER, CUES, TAGS = 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1254C367
VOID, CRC32 = 0xEC, 0xBF
TIMECODE, POSITION, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = (0xE7, 0xA7, 0xA3,
                                                        0xA0, 0xA1)
TAG, SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x7373, 0x67C8, 0x45A3, 0x4487
TRACK_ENTRY, TRACK_NUMBER, TRACK_TYPE = 0xAE, 0xD7, 0x83
LEVEL1 = {SEEKHEAD, INFO, TRACKS, CLUSTER, CUES, TAGS, 0x1043A770, 0x1941A469}

VIDEO, AUDIO, DATA = 1, 2, 0x21


class Malformed(Exception):
    """The bytes are not what EBML allows here."""


# --- reading -----------------------------------------------------------------
def read_id(data, pos):
    first = data[pos]
    width = 1
    while width <= 4 and not first & (0x80 >> (width - 1)):
        width += 1
    if width > 4 or pos + width > len(data):
        raise Malformed(f"element id at {pos}")
    return int.from_bytes(data[pos:pos + width], "big"), pos + width


def read_size(data, pos):
    """(size or None for unknown, next position)"""
    first = data[pos]
    width = 1
    while width <= 8 and not first & (0x80 >> (width - 1)):
        width += 1
    if width > 8 or pos + width > len(data):
        raise Malformed(f"element size at {pos}")
    value = int.from_bytes(data[pos:pos + width], "big")
    mask = (1 << (7 * width)) - 1
    value &= mask
    return (None if value == mask else value), pos + width


def element(data, pos):
    """(id, body position, size or None)"""
    ident, pos = read_id(data, pos)
    size, pos = read_size(data, pos)
    return ident, pos, size


def elements(data, pos, end):
    """(id, start, body, end) of the children; none of unknown size."""
    while pos < end:
        ident, body, size = element(data, pos)
        if size is None or body + size > end:
            raise Malformed(f"child {ident:x} at {pos} of size {size}")
        yield ident, pos, body, body + size
        pos = body + size


def level1(data, pos=0):
    """(id, start, body, end) of an MKV document's top and second level: the
    EBML header, the Segment's head (end = body), then what is in it."""
    segment_end = len(data)
    while pos < len(data):
        ident, body, size = element(data, pos)
        if ident == SEGMENT:
            if size is not None:
                segment_end = min(len(data), body + size)
            end = body
        elif ident == CLUSTER and size is None:
            end = body
            while end < segment_end:
                child, child_body, child_size = element(data, end)
                if child in LEVEL1 or child in (EBML, SEGMENT):
                    break
                end = child_body + child_size
        else:
            end = body + size
        if end > len(data):
            raise Malformed(f"element {ident:x} at {pos} is cut")
        yield ident, pos, body, end
        pos = end


def split_upload(data):
    """An MKV file as PutMedia sees it: (header, [(id, bytes)...]), where the
    header ends at the first Cluster."""
    header_end = None
    parts = []
    for ident, start, _, end in level1(data):
        if ident == CLUSTER and header_end is None:
            header_end = start
        if header_end is not None:
            parts.append((ident, data[start:end]))
    return data[:header_end], parts


def tag_pairs(data):
    """[(name, value)] of one whole Tags element."""
    ident, body, size = element(data, 0)
    if ident != TAGS or body + size != len(data):
        raise Malformed("not one Tags element")
    out = []
    for kind, _, b, e in elements(data, body, body + size):
        if kind != TAG:
            continue
        for sub, _, sb, se in elements(data, b, e):
            if sub != SIMPLE_TAG:
                continue
            name = value = None
            for leaf, _, lb, le in elements(data, sb, se):
                if leaf == TAG_NAME:
                    name = data[lb:le].decode()
                elif leaf == TAG_STRING:
                    value = data[lb:le].decode()
            out.append((name, value))
    return out


def cluster_timecode(data):
    _, body, size = element(data, 0)
    end = len(data) if size is None else body + size
    for ident, _, b, e in elements(data, body, end):
        if ident == TIMECODE:
            return int.from_bytes(data[b:e], "big")
    raise Malformed("a Cluster without Timecode")


def frames(data):
    """[(track, relative timecode, flags, payload)] of a Cluster, no lacing."""
    _, body, size = element(data, 0)
    end = len(data) if size is None else body + size
    out = []

    def block(b, e):
        track, at = read_size(data, b)
        rel = int.from_bytes(data[at:at + 2], "big", signed=True)
        return track, rel, data[at + 2], data[at + 3:e]

    for ident, _, b, e in elements(data, body, end):
        if ident == SIMPLE_BLOCK:
            out.append(block(b, e))
        elif ident == BLOCK_GROUP:
            out += [block(gb, ge) for g, _, gb, ge in elements(data, b, e)
                    if g == BLOCK]
    return out


# --- writing -----------------------------------------------------------------
def id_bytes(ident):
    return ident.to_bytes((ident.bit_length() + 7) // 8, "big")


def vint(value, width=None):
    if width is None:
        width = 1
        while value >= (1 << (7 * width)) - 1:
            width += 1
    return ((1 << (7 * width)) | value).to_bytes(width, "big")


def unknown(width=1):
    return ((1 << (7 * width)) | ((1 << (7 * width)) - 1)).to_bytes(width,
                                                                    "big")


def el(ident, body, width=None):
    return id_bytes(ident) + vint(len(body), width) + body


def uint(ident, value, width=None):
    width = width or max(1, (value.bit_length() + 7) // 8)
    return el(ident, value.to_bytes(width, "big"))


def text(ident, value):
    return el(ident, value.encode())


def void(size):
    return el(VOID, bytes(size))


def with_crc(ident, body):
    """A master whose first child is the CRC-32 of the others."""
    crc = zlib.crc32(body).to_bytes(4, "little")
    return el(ident, el(CRC32, crc) + body)


def ebml_header(doc_type="matroska", version=4):
    return el(EBML, uint(0x4286, 1) + uint(0x42F7, 1) + uint(0x42F2, 4) +
              uint(0x42F3, 8) + text(0x4282, doc_type) +
              uint(0x4287, version) + uint(0x4285, 2))


def track(number=1, kind=VIDEO, codec="V_MPEG4/ISO/AVC", private=None,
          width=640, height=480, extra=b""):
    body = (uint(TRACK_NUMBER, number) + uint(0x73C5, number) +
            uint(TRACK_TYPE, kind) + text(0x86, codec) + extra)
    if private is not None:
        body += el(0x63A2, private, 4)
    if kind == VIDEO:
        body += el(0xE0, uint(0xB0, width) + uint(0xBA, height))
    elif kind == AUDIO:
        body += el(0xE1, el(0xB5, b"\x45\xfa\x00\x00") + uint(0x9F, 1))
    return el(TRACK_ENTRY, body)


def info(scale=1000000):
    return el(INFO, uint(0x2AD7B1, scale, 8) + text(0x4D80, "test") +
              text(0x5741, "test"))


def header(tracks=None, scale=1000000, before=b"", after=b""):
    """EBML header, Segment of unknown size, Info, Tracks."""
    tracks = [track()] if tracks is None else tracks
    return (ebml_header() + id_bytes(SEGMENT) + unknown(8) + before +
            info(scale) + el(TRACKS, b"".join(tracks), 4) + after)


def simple_block(payload, rel=0, number=1, flags=0x80, width=None):
    return el(SIMPLE_BLOCK, vint(number) + rel.to_bytes(2, "big",
                                                        signed=True) +
              bytes([flags]) + payload, width)


def cluster(timecode, blocks, known=True, crc=False, pad=0):
    """blocks: bytes of blocks, or a list of (payload, rel[, track])."""
    if not isinstance(blocks, bytes):
        blocks = b"".join(simple_block(*b) for b in blocks)
    body = uint(TIMECODE, timecode, 8) + (void(pad) if pad else b"") + blocks
    if crc:
        return with_crc(CLUSTER, body)
    if not known:
        return id_bytes(CLUSTER) + unknown(1) + body
    return el(CLUSTER, body, 4)


def tags(pairs):
    return el(TAGS, b"".join(
        el(TAG, el(SIMPLE_TAG, text(TAG_NAME, name) +
                   text(TAG_STRING, value))) for name, value in pairs), 4)


END_OF_FRAGMENT = tags([("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])


def fragment(rng, timecode, size=4000, **options):
    """A Cluster of two blocks of random bytes, 500 ms apart."""
    half = size // 2
    return cluster(timecode, [(rng.randbytes(half), 0),
                              (rng.randbytes(size - half), 500)], **options)


def pic_style(data):
    """The same media as the C producer would send it: Segment and Clusters of
    unknown size. Returns (header, [cluster...])."""
    head = b""
    clusters = []
    for ident, start, body, end in level1(data):
        if ident == SEGMENT:
            head += id_bytes(SEGMENT) + unknown(8)
        elif ident in (EBML, INFO, TRACKS):
            head += data[start:end]
        elif ident == CLUSTER:
            clusters.append(cluster(
                cluster_timecode(data[start:end]),
                b"".join(simple_block(p, rel, t, flags & 0x80, 8)
                         for t, rel, flags, p in frames(data[start:end])),
                known=False))
    return head, clusters


def make_h264(seconds=6, size="320x180", rate=15, gop=30, audio=False,
              extra=()):
    """Real H.264 (and AAC) in Matroska, made by ffmpeg: one Cluster per key
    frame."""
    from kvsd_server import run_tool
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
            f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    if audio:
        argv += ["-f", "lavfi", "-i",
                 f"sine=frequency=440:duration={seconds}:sample_rate=48000"]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(gop),
             "-keyint_min", str(gop), "-sc_threshold", "0", "-bf", "0",
             "-pix_fmt", "yuv420p", "-threads", "1"]
    if audio:
        argv += ["-c:a", "aac", "-b:a", "48k"]
    argv += ["-cluster_time_limit", str(int(1000 * gop / rate) + 500),
             "-cluster_size_limit", "8000000", *extra, "-f", "matroska", "pipe:1"]
    status, out, err = run_tool(argv)
    if status:
        raise RuntimeError(f"ffmpeg: {err}")
    return out
