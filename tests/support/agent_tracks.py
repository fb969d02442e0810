# SPDX-License-Identifier: Apache-2.0
"""What an agent put (its --tap) and what GetMedia gave of it, by track. Shares no code with the product."""
import os

import matroska

TIME_BYTES = 40	# in front of each payload of a data track
FIELDS = {0x86: "codec", 0x536E: "name", 0x63A2: "private", 0xD7: "number", 0x83: "type"}


def documents(body):
    starts = [start for ident, start, _, _ in matroska.level1(body) if ident == matroska.EBML]
    return [body[a:b] for a, b in zip(starts, starts[1:] + [len(body)])]


def tracks_of(document):
    """{name: {field: value}}"""
    out = {}
    for ident, _, body, end in matroska.level1(document):
        if ident != matroska.TRACKS:
            continue
        for entry, _, b, e in matroska.elements(document, body, end):
            if entry != matroska.TRACK_ENTRY:
                continue
            track = {FIELDS[i]: document[lb:le] for i, _, lb, le in matroska.elements(document, b, e) if i in FIELDS}
            for field in ("number", "type"):
                track[field] = int.from_bytes(track[field], "big")
            for field in ("name", "codec"):
                track[field] = track[field].decode()
            out[track["name"]] = track
    return out


class Stream:
    """What GetMedia gave of a stream: blocks by track, and its fragments."""
    def __init__(self, path):
        docs = documents(open(path, "rb").read())
        self.tracks = tracks_of(docs[0])
        self.blocks = {name: [] for name in self.tracks}	# [(ms, payload)]
        self.fragments = []	# [(first ms, track numbers)]
        names = {t["number"]: name for name, t in self.tracks.items()}
        for doc in docs:
            for ident, start, _, end in matroska.level1(doc):
                if ident != matroska.CLUSTER:
                    continue
                cluster = doc[start:end]
                base = matroska.cluster_timecode(cluster)
                found = list(matroska.frames(cluster))
                self.fragments.append((base, {f[0] for f in found}))
                for number, rel, _, payload in found:
                    self.blocks[names[number]].append((base + rel, payload))


class Tap:
    """The agent's own record of a track."""
    def __init__(self, directory):
        self.put, self.raw = [], {}	# [(time ns, stamp ns, bytes)], stamp -> raw frame
        self.sources = []	# of each that was put: its raw frame; two may have one stamp
        data = open(os.path.join(directory, "raw"), "rb").read()
        at = 0
        for line in open(os.path.join(directory, "frames")):
            word, *values = line.split()
            values = [int(v) for v in values]
            if word == "put":
                self.put.append(tuple(values[:3]))
                self.sources.append(self.raw.get(values[1], b""))
                continue
            self.raw[values[0]] = data[at:at + values[1]]
            at += values[1]
        self.whole = b"".join(self.sources)


def same_times(blocks, put):
    """Whether blocks are what was put, at these times in ms. The first of a fragment may be 1 ms late:
    a fragment begins after all of the one before."""
    late = [ms - (ns + 500000) // 1000000 for (ms, _), (ns, _, _) in zip(blocks, put)]
    return len(blocks) == len(put) > 0 and all(d in (0, 1) for d in late) and sum(late) <= 1 + len(put) // 20


def record_fields(payload):
    """(time ns, raw stamp ns) in front of a data track's payload."""
    return int.from_bytes(payload[0:8], "big"), int.from_bytes(payload[16:24], "big")


def aligned_fields(payload):
    """The time there: on the Unix epoch and on CLOCK_BOOTTIME, and what it is worth."""
    assert payload[27:32] == bytes(5)
    at = {"unix": (0, 8), "sigma": (8, 12), "epoch": (12, 16), "by": (26, 27), "boot": (32, 40)}
    return {name: int.from_bytes(payload[a:b], "big") for name, (a, b) in at.items()}


def alaw_error(raw, decoded):
    """Largest error of 16-bit samples, as a share of the sample."""
    pairs = [(int.from_bytes(raw[i:i + 2], "little", signed=True),
              int.from_bytes(decoded[i:i + 2], "little", signed=True)) for i in range(0, len(raw), 2)]
    return max(abs(a - b) - abs(a) / 16 for a, b in pairs)
