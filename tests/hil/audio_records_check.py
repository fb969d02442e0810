#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""audio_records_check.py PROBE: sources that are no cameras, judged in the guest.

Audio through snd-aloop, sample by sample; records from a sensor's host that is written here, after
capture/record.h and nothing else; scans of iio_dummy. Needs root, snd-aloop, iio_dummy,
iio-trig-hrtimer.
"""
import array
import fcntl
import glob
import json
import math
import os
import pty
import random
import socket
import struct
import subprocess
import sys
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from records import record  # noqa: E402

PROBE = sys.argv[1]
warnings.simplefilter("ignore", DeprecationWarning)
RATE = 48000
FRAME = 4800
CAPTURE, PLAYBACK = "hw:Loopback,1", "hw:Loopback,0"
bad = 0


def need(what, ok):
    global bad
    bad += not ok
    print("ok" if ok else "not ok", "-", what, flush=True)


def start(*args):
    """The probe, up to the moment when its source is on; and the lines before."""
    p = subprocess.Popen([PROBE, "frames", *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = []
    for line in p.stdout:
        lines.append(json.loads(line))
        if "started" in lines[-1] or "error" in lines[-1]:
            break
    return p, lines


def finish(p, lines):
    lines += [json.loads(line) for line in p.stdout]
    p.wait()
    return lines


def frames_of(lines):
    return [i for i in lines if "sequence" in i]


def stats_of(lines):
    return next((i for i in lines if "frames" in i), {})


def error_of(*args):
    lines = finish(*start(*args))
    return next((i["errno"] for i in lines if "error" in i), None)


def read_s16(path):
    a = array.array("h")
    with open(path, "rb") as f:
        a.frombytes(f.read())
    return a


# --- audio ------------------------------------------------------------------

def listen(channels, count, *options, played=3 * RATE, samples=FRAME):
    """A capture of the played signal; again if this machine was too slow to keep up."""
    for _ in range(4):
        p, lines = start("alsa", CAPTURE, f"rate={RATE}", f"channels={channels}", f"samples={samples}",
                         f"count={count}", "raw=raw.s16", *options)
        if "error" in lines[-1]:
            break
        player = subprocess.run([PROBE, "play", PLAYBACK, str(RATE), str(channels), str(played)],
                                stdout=subprocess.PIPE, text=True)
        lines = finish(p, lines)
        if "stall_ms=1500" in options or (not player.stdout and not stats_of(lines).get("overruns")):
            break
        print("   again: too slow to keep up", flush=True)
    return lines, read_s16("raw.s16")


def check_ring():
    """What the card holds for a user who gets no CPU: a second, where it can."""
    p, lines = start("alsa", CAPTURE, f"rate={RATE}", "channels=1", "samples=480", "count=2", "raw=raw.s16")
    text = open("/proc/asound/card0/pcm1c/sub0/hw_params").read()
    player = subprocess.run([PROBE, "play", PLAYBACK, str(RATE), "1", str(RATE)], stdout=subprocess.PIPE, text=True)
    finish(p, lines)
    got = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    need(f"the card wakes for each frame ({got.get('period_size')}) and holds a second ({got.get('buffer_size')})",
         got.get("period_size") == "480" and int(got.get("buffer_size", 0)) >= RATE and player.returncode == 0)


def sine(phase):
    """src/pattern.c's, in its own integers: what was played is known to the bit."""
    quarter, x = phase >> 30, phase & 0x3FFFFFFF
    if quarter & 1:
        x = (1 << 30) - x
    x >>= 10
    square = x * x >> 20
    y = 1646922 - (square * 674475 >> 20) + ((square * square >> 20) * 76242 >> 20)
    y = min(y * x >> 20, 1 << 20) * 16384 >> 20
    return -y if quarter & 2 else y


def tone(n, channels):
    """What was played, from its first sample on: the marker, then 440 Hz at half scale."""
    out = []
    for i in range(n):
        v = (12345, -12345)[i] if i < 2 else sine((i * 440 % RATE << 32) // RATE)
        out += [v] * channels
    return out


def loop(channels):
    lines, heard = listen(channels, 25)
    frames = frames_of(lines)
    need(f"{channels} channels: 25 frames", len(frames) == 25)
    begin = next((i for i, v in enumerate(heard) if v), len(heard))
    want = tone((len(heard) - begin) // channels, channels)
    need(f"{channels} channels: begins with the signal's first sample", begin % channels == 0
         and list(heard[begin:begin + 2 * channels]) == want[:2 * channels])
    got = heard[begin:]
    need(f"{channels} channels: at least a second of it, every sample in its place",
         len(got) >= RATE * channels and list(got) == want)
    ideal = [16384 * math.sin(2 * math.pi * 440 * i / RATE) for i in range(2, 1202)]
    need("the signal is a sine", all(abs(a - b) <= 16 for a, b in zip(ideal, got[2 * channels::channels])))
    need("ticks count samples", [f["ticks"] for f in frames] == [i * FRAME for i in range(len(frames))])
    need("sequence counts frames", [f["sequence"] for f in frames] == list(range(len(frames))))
    need("the clock is monotonic, of the first sample, at the card's rate",
         all((f["clock"], f["point"], f["hz"]) == ("monotonic", "first", RATE) for f in frames))
    drift = [f["stamp_ns"] - frames[0]["stamp_ns"] - f["ticks"] * 10**9 // RATE for f in frames]
    need(f"stamps go with the samples ({max(map(abs, drift)) / 1e6:.1f} ms at most)", max(map(abs, drift)) < 150e6)
    late = [f["now_ns"] - f["stamp_ns"] for f in frames]
    # The frame's own length is before the instant at which it can be read.
    need(f"stamps are of the first sample ({min(late) / 1e6:.0f} ms before it was read at least)",
         min(late) > (FRAME / RATE - 0.03) * 1e9)


def hear(name):
    """What comes out while a player of a format runs: its lines, and samples."""
    player = subprocess.Popen([PROBE, "play", PLAYBACK, str(RATE), "2", str(3 * RATE), name], stdout=subprocess.PIPE, text=True)
    player.stdout.readline()  # it plays: the card is bound to its format
    time.sleep(0.1)  # past what the signal begins with
    lines = finish(*start("alsa", CAPTURE, f"rate={RATE}", "channels=2", f"samples={FRAME}", "count=4", "raw=raw.s16"))
    player.wait()
    return stats_of(lines), read_s16("raw.s16")


def other_formats():
    """The playing side binds the card to its format: what is heard are the upper 16 bits, each one."""
    period = 1200  # 11 periods of 440 Hz
    want = tone(3 * period + FRAME, 2)[2 * period:]
    for name, bits in (("S32_LE", 32), ("S16_BE", 16)):
        for _ in range(4):
            stats, heard = hear(name)
            right = any(list(heard[:2 * FRAME]) == want[2 * i:2 * (i + FRAME)] for i in range(period))
            if right:
                break
            print("   again: too slow to keep up", flush=True)
        need(f"{name}: taken as {stats.get('bits')} bits, each sample converted once",
             stats.get("bits") == bits and stats["touched"] == len(heard) * (bits // 8 + 2))
        need(f"{name}: the upper 16 bits, sample by sample", right)


def snr(want, got):
    signal = sum(v * v for v in want)
    noise = sum((a - b) ** 2 for a, b in zip(want, got))
    return 10 * math.log10(signal / noise) if noise else 999


def decode(*args):
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *args, "-f", "s16le", "-"], stdout=subprocess.PIPE)
    return array.array("h", r.stdout[:len(r.stdout) & ~1])


def codecs():
    for codec, least in (("alaw", 35), ("ulaw", 35), ("aac", 35)):
        lines, heard = listen(2, 100 if codec == "aac" else 20, f"codec={codec}", "packets=packets",
                              samples=960 if codec == "aac" else FRAME)
        if codec == "aac":
            got = decode("-f", "aac", "-i", "packets")[2 * 1024:]
        else:
            got = decode("-f", {"alaw": "alaw", "ulaw": "mulaw"}[codec], "-ar", str(RATE), "-ac", "2", "-i", "packets")
        need(f"{codec}: as long as what was heard", len(heard) <= len(got) <= len(heard) + 2 * 2048)
        ratio = snr(heard, got) if any(heard) and got else 0
        need(f"{codec}: {ratio:.1f} dB", ratio >= least)
        stamps = [i["packet_stamp_ns"] for i in lines if "packet_stamp_ns" in i]
        need(f"{codec}: stamps rise", len(stamps) > 5 and stamps == sorted(set(stamps)))
        first = frames_of(lines)[0]["stamp_ns"] if frames_of(lines) else 0
        delay = 1024 * 10**9 // RATE if codec == "aac" else 0
        need(f"{codec}: the first is stamped {delay} ns before the first sample",
             bool(stamps) and first - stamps[0] == delay)


def laws():
    """All 65536 inputs: ffmpeg knows each code, and its own differ at decision values alone."""
    everything = array.array("h", range(-32768, 32768))
    for law, name in (("a", "alaw"), ("u", "mulaw")):
        ours = subprocess.run([PROBE, "law", law], stdout=subprocess.PIPE).stdout
        theirs = subprocess.run(["ffmpeg", "-v", "error", "-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-", "-f", name, "-"],
                                input=everything.tobytes(), stdout=subprocess.PIPE).stdout
        need(f"G.711 {name}: 65536 codes", len(ours) == len(theirs) == 65536)
        with open("law", "wb") as f:
            f.write(ours + theirs)
        values = decode("-f", name, "-ar", "8000", "-ac", "1", "-i", "law")
        mine, other = values[:65536], values[65536:]
        # ffmpeg decides half-way between outputs, G.711 between segments at powers of two.
        close = [abs(abs(m - x) - abs(o - x)) <= 256 for x, m, o in zip(everything, mine, other) if m != o]
        need(f"G.711 {name}: {len(close)} differ from ffmpeg's, each within 128 of a decision value",
             len(close) < 1000 and all(close))
        try:
            import audioop
        except ImportError:  # Python 3.13
            continue
        reference = getattr(audioop, f"lin2{law}law")(everything.tobytes(), 2)
        differ = [x for x, a, b in zip(everything, ours, reference) if a != b]
        # Its mu-law of negative numbers is that of a step of 14 bits less; A-law is as G.191 has it.
        need(f"G.711 {name}: {len(differ)} differ from Python's",
             not differ if law == "a" else all(x < 0 and reference[x + 32768] == ours[x + 32764] for x in differ))


def overrun():
    lines, heard = listen(1, 30, "stall_after=8", "stall_ms=1500", played=4 * RATE)
    frames, stats = frames_of(lines), stats_of(lines)
    epochs = [f["epoch"] for f in frames]
    need("a reader that sleeps: 30 frames all the same", len(frames) == 30)
    need("counted, and the next epoch", stats.get("overruns", 0) >= 1 and epochs[0] == 0
         and epochs == sorted(epochs) and epochs[-1] == stats.get("overruns"))
    at = epochs.index(1) if 1 in epochs else 1
    gap = frames[at]["sequence"] - frames[at - 1]["sequence"] - 1
    # The card stops when its buffer is full: some of the 15 frames of the sleep were in it.
    need(f"what is gone is counted: {stats.get('lost')} frames, {gap} of them at once",
         stats.get("lost", 0) >= gap >= 3)
    need("samples are counted from the new start", frames[at]["ticks"] == 0)
    need("stamps go on", all(a["stamp_ns"] < b["stamp_ns"] for a, b in zip(frames, frames[1:])))
    after = list(heard[at * FRAME:(at + 2) * FRAME])
    period = 1200  # 11 periods of 440 Hz
    want = tone(3 * period + len(after), 1)[period:]
    need("and are right from its first on", any(after == want[i:i + len(after)] for i in range(period)))


def refusals():
    need("33 channels: out of range", "range" in (error_of("alsa", CAPTURE, "channels=33") or ""))
    need("no such card", error_of("alsa", "hw:17,0") is not None)
    p, lines = start("alsa", CAPTURE + ",0", f"rate={RATE}", "channels=1", "count=1000000")
    need("a card that is in use: busy",
         "busy" in (error_of("alsa", CAPTURE + ",0", f"rate={RATE}", "channels=1") or "").lower())
    os.system("echo snd_aloop.0 > /sys/bus/platform/drivers/snd_aloop/unbind")
    lines = finish(p, lines)
    need("a card that is pulled out: no such device",
         any("No such device" in i.get("errno", "") for i in lines))


# --- records ----------------------------------------------------------------

def numbered(sequence, payload, length=44):
    return record(payload, sequence, 1000 * sequence, 40000000, more=b"\xee" * (length - 44))


def traffic(seed, datagrams):
    """Pieces to send, the records that must come out, and how many are lost."""
    r = random.Random(seed)
    pieces, good, lost, last = [], [], 0, None
    sequence = 0
    for _ in range(200):
        payload = r.randbytes(r.choice((0, 1, 100, 1000, 1400)))
        whole = numbered(sequence, payload, r.choice((44, 44, 60)))
        sequence += 1
        fate = r.random()
        if fate < 0.1:  # damaged on the way
            at = r.randrange(len(whole))
            pieces.append(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
        elif fate < 0.2:
            continue  # never sent
        elif fate < 0.3:
            pieces.append(whole[:r.randrange(len(whole))])  # cut
        else:
            pieces.append(whole)
            good.append(whole)
            lost += sequence - 1 - (last if last is not None else sequence - 2) - 1
            last = sequence - 1
        if not datagrams and r.random() < 0.3:
            pieces.append(r.randbytes(r.randrange(200)))
    # The last one frees what a cut record before it had swallowed.
    for _ in range(3):
        whole = numbered(sequence, b"end")
        pieces.append(whole)
        good.append(whole)
        lost += sequence - last - 1
        last = sequence
        sequence += 1
    return pieces, good, lost


def records(name, path, send, datagrams=False, filled=False):
    pieces, good, lost = traffic(name, datagrams)
    p, lines = start("records", path, f"count={len(good)}", "raw=records.raw")
    if "error" in lines[-1]:
        need(f"{name}: {lines[-1]}", False)
        return
    send(pieces)
    lines = finish(p, lines)
    frames, stats = frames_of(lines), stats_of(lines)
    need(f"{name}: {len(good)} records of {len(pieces)} pieces", len(frames) == len(good))
    with open("records.raw", "rb") as f:
        need(f"{name}: byte by byte", f.read() == b"".join(good))
    need(f"{name}: {lost} lost", stats.get("lost") == lost)
    skipped = sum(map(len, pieces)) - sum(map(len, good))
    need(f"{name}: {stats.get('skipped')} bytes skipped", stats.get("skipped") == skipped
         or filled and stats.get("skipped") > skipped)
    need(f"{name}: ticks, and stamps of the arrival",
         all((f["ticks"], f["hz"], f["point"]) == (1000 * f["sequence"], 40000000, "arrival") for f in frames))


def by_tty():
    master, slave = pty.openpty()
    path = os.ttyname(slave)

    def settings():
        # TCGETS2: flags, line, characters, speeds.
        return struct.unpack("<4I20B2I", fcntl.ioctl(slave, 0x802C542A, bytes(44)))
    before = settings()

    def send(pieces):
        t = settings()
        need("tty: raw, at the rate asked for", t[1] == t[3] == 0 and t[-2:] == (921600, 921600))
        for piece in pieces:
            while piece:
                piece = piece[os.write(master, piece):]
    records("tty", f"tty:{path}:921600", send)
    need("tty: put back as it was", before[-2:] != (921600, 921600) and settings() == before)
    os.close(master)
    os.close(slave)


def by_pipe():
    os.mkfifo("radar")

    def send(pieces):
        half = len(pieces) // 2
        for part in (pieces[:half], pieces[half:]):  # a host that is restarted
            with open("radar", "wb", buffering=0) as f:
                f.write(b"".join(part))
    records("pipe", "pipe:radar", send)


SPI_MODE, SPI_BITS, SPI_HZ = (1, "B"), (3, "B"), (4, "<I")  # of spidev's ioctls: number, what it takes


def spi_get(fd, what):
    number, kind = what
    return struct.unpack(kind, fcntl.ioctl(fd, 0x80006B00 | struct.calcsize(kind) << 16 | number, bytes(struct.calcsize(kind))))[0]


def spi_set(fd, what, value):
    number, kind = what
    fcntl.ioctl(fd, 0x40006B00 | struct.calcsize(kind) << 16 | number, struct.pack(kind, value))


def by_spi():
    # Held open: with its last user the kernel itself forgets them.
    fd = os.open("/dev/spidev0.0", os.O_RDWR)
    spi_set(fd, SPI_HZ, 500000)
    spi_set(fd, SPI_MODE, 1)

    def settings():
        return [spi_get(fd, what) for what in (SPI_HZ, SPI_BITS, SPI_MODE)]
    before = settings()

    def send(pieces):
        need("SPI: read at the speed asked for, in its own mode", settings() == [1000000, 8, 1])
        with open("/sys/kernel/debug/spiradar/stream", "wb", buffering=0) as f:
            # A device that has nothing to say is read all the same.
            for part in (pieces[:100], pieces[100:]):
                whole = b"".join(part)
                need("SPI: the device takes what it will say", f.write(whole) == len(whole))
    records("SPI", "spi:/dev/spidev0.0:1000000", send, filled=True)
    need(f"SPI: put back as it was: {before}", before[0] == 500000 and settings() == before)
    os.close(fd)


def by_udp(family, host, path):
    def send(pieces):
        s = socket.socket(family, socket.SOCK_DGRAM)
        for piece in pieces:
            s.sendto(piece, (host, 5600))
    records(f"UDP {host}", path, send, datagrams=True)


# --- industrial I/O ---------------------------------------------------------

def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def iio():
    os.mkdir("/sys/kernel/config/iio/triggers/hrtimer/t0")
    os.mkdir("/sys/kernel/config/iio/devices/dummy/gyro")
    write("/sys/bus/iio/devices/iio:device0/trigger/current_trigger", "t0")
    attributes = ["/sys/bus/iio/devices/trigger0/sampling_frequency",
                  "/sys/bus/iio/devices/iio:device0/current_timestamp_clock"]
    before = [open(a).read() for a in attributes]
    p, lines = start("iio", "gyro", "rate=500", "samples=50", "count=10", "raw=iio.raw")
    during = [open(a).read() for a in attributes]
    lines = finish(p, lines)
    need(f"iio: {before} while it runs: {during}, put back",
         [float(during[0]), during[1]] == [500.0, "monotonic\n"] != before == [open(a).read() for a in attributes])
    kernel = {}
    for f in glob.glob("/sys/bus/iio/devices/iio:device0/scan_elements/in_*_type"):
        stem = f[:-len("_type")]
        kernel[int(open(stem + "_index").read())] = [os.path.basename(stem)[len("in_"):], open(f).read().strip()]
    scan = lines[0]["scan"]
    need(f"iio: the scan's elements and types are the kernel's: {scan}",
         [[name, how] for name, _, how in scan] == [kernel[i] for i in sorted(kernel)])
    need("iio: and their places", [at for _, at, _ in scan] == [0, 2, 4, 6, 8])
    frames = frames_of(lines)
    need("iio: 10 frames of 50 scans", len(frames) == 10 and all(f["bytes"] == 50 * 16 for f in frames))
    with open("iio.raw", "rb") as f:
        raw = f.read()
    scans = [struct.unpack_from("<4hq", raw, i) for i in range(0, len(raw) - 15, 16)]
    need("iio: every scan has the dummy's values", len(scans) == 500 and all(s[:4] == (7, -33, -2, 344) for s in scans))
    need("iio: stamps are the first scan's, of the monotonic clock", len(scans) == 500 and all(
        f["stamp_ns"] == scans[50 * i][4] and f["clock"] == "monotonic" and f["point"] == "first"
        for i, f in enumerate(frames)))
    need("iio: timestamps rise", all(a[4] < b[4] for a, b in zip(scans, scans[1:])))
    need("iio: ticks count scans", [(f["ticks"], f["hz"]) for f in frames] == [(50 * i, 500) for i in range(len(frames))])
    lines = finish(*start("iio", "iio:device0", "rate=100", "channels=1", "samples=5", "count=2", "raw=iio.raw"))
    with open("iio.raw", "rb") as f:
        need("iio: the first channel alone", lines[0].get("channels") == 1 and f.read(2) == b"\7\0")
    swept = subprocess.run([os.path.join(os.path.dirname(PROBE), "fault_sources")], env={**os.environ, "FAULT_IIO": "gyro"},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    need("iio: survives any failed call", "[       OK ] iio_survives_any_failed_call" in swept.stdout)
    need("iio: no such device", "No such device" in (error_of("iio", "nothing") or ""))


os.chdir("/tmp")
laws()
loop(1)
loop(2)
check_ring()
other_formats()
codecs()
overrun()
by_tty()
by_pipe()
by_spi()
by_udp(socket.AF_INET, "127.0.0.1", "udp:127.0.0.1:5600")
by_udp(socket.AF_INET6, "::1", "udp:[::]:5600")
iio()
refusals()
sys.exit(1 if bad else 0)
