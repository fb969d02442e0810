# SPDX-License-Identifier: Apache-2.0
"""/dev/tsalign for the tests: include/uapi/linux/tsalign.h by hand."""

import ctypes
import fcntl
import mmap
import os
import select
import struct

MAGIC = 0xB7
PAGE = struct.Struct("=8I4Q2Q2q6Q")
PAGE_FIELDS = ("abi seq stream state reference counter point shift mult base_counter base_ns epoch "
               "sigma_ns sigma_ppb delay_ns drift_ppb jitter_ns updated_ns samples outliers lost "
               "mispaired").split()
EVENT = struct.Struct("=IHHII6Q")
EVENT_FIELDS = "stream type flags cpu cause host_ns counter stamp_ns aligned_ns sigma_ns epoch".split()
STREAM = struct.Struct("=II32siIIIQ8I")
RULE = struct.Struct("=IIIIqQQI7I")
SUBMIT = struct.Struct("=IIIIQI5I")
TRIGGER = struct.Struct("=II4QII3Q8I")
INFO = struct.Struct("=6I10I")
PAIR = struct.Struct("=QQ")

FREE, WAITING, COARSE, LOCKED, HOLDOVER, GONE = range(6)
SAMPLE, EPOCH, STREAM_CAME, STREAM_GONE, LOST, FIRED = range(1, 7)
OUTLIER, ERROR, STROBE, INJECTED = 1, 2, 4, 8
V4L2, GPIO, TRIGGER_KIND, PHC, PPS, FSYNC, DEVICE, KERNEL = range(1, 9)
NO_ID = 0xFFFFFFFF


def ioc(direction, nr, size):
    return direction << 30 | size << 16 | MAGIC << 8 | nr


IOC_INFO = ioc(2, 0, INFO.size)
IOC_STREAM = ioc(3, 1, STREAM.size)
IOC_GET_RULE = ioc(3, 2, RULE.size)
IOC_GET_TRIGGER = ioc(3, 3, TRIGGER.size)
IOC_CREATE = ioc(3, 16, STREAM.size)
IOC_SUBMIT = ioc(1, 17, SUBMIT.size)
IOC_SET_RULE = ioc(1, 18, RULE.size)
IOC_REFERENCE = ioc(1, 19, 4)
IOC_TRIGGER = ioc(3, 20, TRIGGER.size)
ALL_IOC = [IOC_INFO, IOC_STREAM, IOC_GET_RULE, IOC_GET_TRIGGER, IOC_CREATE, IOC_SUBMIT,
           IOC_SET_RULE, IOC_REFERENCE, IOC_TRIGGER]


class Record(dict):
    __getattr__ = dict.__getitem__


class Page:
    def __init__(self, fd, stream):
        self.map = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ,
                             offset=stream * mmap.PAGESIZE)

    def read(self):
        for _ in range(64):
            one = PAGE.unpack_from(self.map)
            two = PAGE.unpack_from(self.map)
            if one == two and one[1] % 2 == 0:
                return Record(zip(PAGE_FIELDS, one))
        raise AssertionError("a page that is never at rest")

    def apply(self, counter):
        page = self.read()
        return page.base_ns + ((counter - page.base_counter) * page.mult >> page.shift)


class Device:
    def __init__(self, flags=os.O_RDWR):
        self.fd = os.open("/dev/tsalign", flags | os.O_CLOEXEC)

    def close(self):
        os.close(self.fd)

    def call(self, request, data):
        buffer = bytearray(data)
        fcntl.ioctl(self.fd, request, buffer, True)
        return bytes(buffer)

    def info(self):
        return INFO.unpack(self.call(IOC_INFO, bytes(INFO.size)))

    def stream(self, stream):
        data = STREAM.unpack(self.call(IOC_STREAM, STREAM.pack(stream, 0, b"", *[0] * 13)))
        return Record(id=data[0], kind=data[1], name=data[2].rstrip(b"\0").decode(), minor=data[3],
                      strobe=data[6], nominal_mhz=data[7])

    def find(self, name):
        for i in range(64):
            try:
                if self.stream(i).name == name:
                    return i
            except FileNotFoundError:
                continue
        raise AssertionError(f"no stream {name}")

    def create(self, kind, name, counter, bits, mhz):
        data = STREAM.pack(0, kind, name.encode(), 0, counter, bits, 0, mhz, *[0] * 8)
        return STREAM.unpack(self.call(IOC_CREATE, data))[0]

    def submit(self, stream, pairs, clock=7, error_ns=0, flags=0):
        block = b"".join(PAIR.pack(*p) for p in pairs)
        array = ctypes.create_string_buffer(block, len(block)) if block else None
        self.call(IOC_SUBMIT, SUBMIT.pack(stream, len(pairs), clock, error_ns,
                                          ctypes.addressof(array) if array else 0, flags, *[0] * 5))

    def rule(self, stream):
        return list(RULE.unpack(self.call(IOC_GET_RULE, RULE.pack(stream, *[0] * 14))))

    def set_rule(self, fields):
        self.call(IOC_SET_RULE, RULE.pack(*fields))

    def reference(self, kind, stream=0):
        self.call(IOC_REFERENCE, struct.pack("=I", stream << 8 | kind))

    def trigger(self, index, enable=0, rate_mhz=0, phase_ns=0, pulse_ns=0, exposure_ns=0, centred=0):
        data = TRIGGER.pack(index, enable, rate_mhz, phase_ns, pulse_ns, exposure_ns, centred, 0,
                            0, 0, 0, *[0] * 8)
        return self._trigger(self.call(IOC_TRIGGER, data))

    def get_trigger(self, index):
        return self._trigger(self.call(IOC_GET_TRIGGER, TRIGGER.pack(index, *[0] * 18)))

    @staticmethod
    def _trigger(data):
        f = TRIGGER.unpack(data)
        return Record(enable=f[1], rate_mhz=f[2], stream=f[7], fired=f[8], late=f[9], error_ns=f[10])

    def events(self, timeout=0):
        """All that is there; waits so long for the first."""
        ret = []
        while select.select([self.fd], [], [], timeout)[0]:
            timeout = 0
            data = os.read(self.fd, 256 * EVENT.size)
            assert len(data) % EVENT.size == 0
            ret += [Record(zip(EVENT_FIELDS, f)) for f in EVENT.iter_unpack(data)]
        return ret
