#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libkvsproducer (through tests/producer_put) against a service that is not
ours: signatures, Matroska and acknowledgements are checked by other code.

  producer_against_fake.py BUILD [CASE...]
"""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

BUILD = sys.argv[1]
ONLY = sys.argv[2:]
HERE = os.path.dirname(os.path.abspath(__file__))
FAKE = os.path.join(HERE, '..', 'support', 'fake_kvs.py')
PUT = os.path.join(BUILD, 'tests', 'producer_put')
FAILED = []


class Fake:
    def __init__(self, folder, *options):
        self.out = tempfile.mkdtemp(dir=folder)
        self.events = []
        self.process = subprocess.Popen(
            [sys.executable, FAKE, '--cert', folder + '/cert.pem',
             '--key', folder + '/key.pem', '--out', self.out, *options],
            stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())['port']
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def of(self, kind):
        return [e for e in self.events if e['event'] == kind]

    def stop(self):
        """Once the producer has ended; then all that it did is in events."""
        self.process.send_signal(signal.SIGINT)
        self.reader.join(120)
        self.process.kill()
        self.process.wait()
        check('it ends', self.of('stopped'), self.events[-3:])

    def frames(self):
        """{timecode: [payload, ...]} of what was received, latest session wins."""
        found = {}
        for path in sorted(glob.glob(self.out + '/*.frames'), key=lambda p: int(
                os.path.basename(p).split('-')[0])):
            timecode = int(os.path.basename(path)[:-7].split('-')[1])
            payloads = []
            with open(path, 'rb') as f:
                while True:
                    head = f.readline()
                    if not head:
                        break
                    payloads.append(f.read(int(head.split()[3])))
            found[timecode] = payloads
        return found


class Run:
    def __init__(self, folder, fake, *options, seconds=60):
        p = subprocess.run(
            [PUT, '--endpoint', 'https://localhost:%d' % fake.port,
             '--ca', folder + '/cert.pem', *options],
            stdout=subprocess.PIPE, text=True, timeout=seconds)
        self.code = p.returncode
        self.events = [json.loads(line) for line in p.stdout.splitlines()]
        ends = [e for e in self.events if e['event'] == 'end']
        self.end = ends[0] if ends else {}

    def of(self, kind):
        return [e for e in self.events if e['event'] == kind]


def numbers(frames):
    return [int.from_bytes(p[:4], 'big') for t in sorted(frames)
            for p in frames[t]]


def check(what, condition, *detail):
    if not condition:
        raise AssertionError('%s: %s' % (what, detail))


def plain(folder):
    """creates the stream, uploads, every frame arrives once and whole"""
    fake = Fake(folder, '--missing', '--creating', '1')
    run = Run(folder, fake, '--frames', '150', '--interval-us', '5000')
    fake.stop()
    check('exit', run.code == 0, run.end)
    check('frames', numbers(fake.frames()) == list(range(150)))
    check('sizes', all(len(p) == 10000 for f in fake.frames().values()
                       for p in f))
    targets = [e['target'] for e in fake.of('request')]
    check('calls', targets == ['/describeStream', '/createStream',
                               '/describeStream', '/describeStream',
                               '/getDataEndpoint', '/putMedia'], targets)
    check('no refusal', not [e for e in fake.of('request') if e['refused']])
    check('one copy', run.end['copies'] == 150, run.end)
    check('absolute', fake.of('session')[0]['timecode_type'] == 'ABSOLUTE')
    # The receipt of the last fragment must not wait for a next one.
    check('end', len(fake.of('end')) == 1, fake.events[-3:])


def cut(folder):
    """goes on after cut connections with what was not acknowledged"""
    fake = Fake(folder, '--cut-after', '1000000', '--cut-times', '3')
    run = Run(folder, fake, '--frames', '600', '--interval-us', '10000',
              '--finish-ms', '30000')
    fake.stop()
    check('exit', run.code == 0, run.end)
    check('cut', len(fake.of('cut')) == 3)
    check('reconnects', run.end['reconnects'] == 3, run.end)
    check('frames', numbers(fake.frames()) == list(range(600)))
    check('nothing dropped', run.end['dropped'] == 0)
    # What was known to be safe when a session began is not in it. (A fragment
    # whose acknowledgement was lost in a cut may come more than once.)
    known, opened, lost = {}, 0, 0
    for e in run.events:
        opened += e['event'] == 'connected'
        lost += e['event'] == 'disconnected'
        if e['event'] == 'persisted':
            known[e['timecode']] = max(opened, lost + 1)
    check('known', len(known) == run.end['sealed'], known)
    for e in fake.of('fragment'):
        check('not sent again', e['session'] <= known[e['timecode']], e)


def slow_acks(folder):
    """acknowledgements that come 60 s late stall nobody"""
    fake = Fake(folder, '--ack-delay', '60')
    run = Run(folder, fake, '--frames', '300', '--interval-us', '33000',
              '--finish-ms', '90000', seconds=150)
    fake.stop()
    check('exit', run.code == 0, run.end)
    check('one session', len(fake.of('session')) == 1)
    # A put that waits for one takes nearly a minute.
    check('put never waited', run.end['longest_put_us'] < 20000000, run.end)
    check('frames', numbers(fake.frames()) == list(range(300)))


def full_drop(folder):
    """a full store loses its oldest fragments, whole, counted and told"""
    fake = Fake(folder, '--slow', '200000')
    run = Run(folder, fake, '--frames', '300', '--bytes', '30000',
              '--interval-us', '3000', '--store', str(2 << 20),
              '--finish-ms', '60000', seconds=90)
    fake.stop()
    end = run.end
    check('exit', run.code == 0, end)
    check('dropped', end['dropped'] > 0, end)
    check('told', len(run.of('dropped')) == end['dropped'])
    check('sum', end['persisted'] + end['dropped'] == end['sealed'], end)
    frames = fake.frames()
    for e in run.of('persisted'):
        got = [int.from_bytes(p[:4], 'big') for p in frames[e['timecode']]]
        check('whole', got == list(range(got[0], got[0] + len(got))), got)


def full_wait(folder):
    """with KVS_FULL_WAIT put_frame waits and nothing is lost"""
    fake = Fake(folder, '--slow', '2000000')
    run = Run(folder, fake, '--frames', '300', '--bytes', '30000', '--wait',
              '--interval-us', '0', '--store', str(2 << 20),
              '--finish-ms', '60000', seconds=90)
    fake.stop()
    check('exit', run.code == 0, run.end)
    check('frames', numbers(fake.frames()) == list(range(300)))
    check('waited', run.end['longest_put_us'] > 10000, run.end)


def refused(folder):
    """a refusal is told, with its name, and not retried soon"""
    fake = Fake(folder, '--refuse', '/putMedia:403:AccessDeniedException:99')
    run = Run(folder, fake, '--frames', '60', '--finish-ms', '6000')
    fake.stop()
    check('exit', run.code == 3, run.code)
    check('left', run.end['left'] == run.end['sealed'], run.end)
    check('once', [e['target'] for e in fake.of('request')].count('/putMedia')
          == 1)
    event = run.of('refused')[0]
    check('name', 'AccessDeniedException' in event['text'] and
          event['error'] == 403 and event['delay_ms'] >= 30000, event)


def bad_key(folder):
    """a wrong secret is a refusal of the first call"""
    fake = Fake(folder, '--secret', 'another')
    run = Run(folder, fake, '--frames', '30', '--finish-ms', '2000')
    fake.stop()
    check('refused', 'SignatureDoesNotMatch' in run.of('refused')[0]['text'])
    check('no tight retry', len(fake.of('request')) == 1)


def clock(folder):
    """a clock two hours off is told, and signatures use the service's"""
    fake = Fake(folder, '--clock-skew', '7200')
    run = Run(folder, fake, '--frames', '90', '--finish-ms', '20000')
    fake.stop()
    check('exit', run.code == 0, run.end)
    check('told', 'clock' in run.of('refused')[0]['text'])
    check('persisted', run.end['persisted'] == 3, run.end)


def errors(folder):
    """error acknowledgements: one fragment is given up, another sent again"""
    fake = Fake(folder, '--error', '2:4006', '--error', '4:5001')
    run = Run(folder, fake, '--frames', '240', '--interval-us', '10000',
              '--finish-ms', '30000')
    fake.stop()
    end = run.end
    check('exit', run.code == 0, end)
    check('told', sorted(e['error'] for e in run.of('error_ack')) ==
          [4006, 5001], run.of('error_ack'))
    check('given up', end['dropped'] == 1 and end['persisted'] == 7, end)
    check('again', len(fake.of('session')) == 2)


def no_server(folder):
    """without a service frames are kept; backoff grows; finish() says so"""
    class Nobody:
        port = 1
    run = Run(folder, Nobody(), '--frames', '90', '--finish-ms', '5000')
    check('exit', run.code == 3 and run.end['left'] == 3, run.end)
    tries = run.of('disconnected')
    check('tries', 2 <= len(tries) <= 60, len(tries))


def foreign_certificate(folder):
    """a service with a certificate of someone else gets nothing"""
    other = tempfile.mkdtemp(dir=folder)
    make_certificate(other)
    fake = Fake(other)
    run = Run(folder, fake, '--frames', '30', '--finish-ms', '2000')
    fake.stop()
    check('exit', run.code == 3)
    check('nothing', not fake.of('request'))
    check('told', 'certificate' in run.of('disconnected')[0]['text'],
          run.of('disconnected')[0])


def h264(folder):
    """Annex B becomes AVCC with avcC, and each frame carries its time"""
    sps = bytes.fromhex('6742c01eda0280f680')
    pps = bytes.fromhex('68ce3c80')
    idr = b'\x65' + bytes(range(1, 200))
    unit = b'\0\0\0\1\x09\x10\0\0\0\1' + sps + b'\0\0\0\1' + pps + \
        b'\0\0\1' + idr
    path = os.path.join(folder, 'unit.h264')
    with open(path, 'wb') as f:
        f.write(unit)
    fake = Fake(folder)
    run = Run(folder, fake, '--h264', path, '--frames', '60')
    fake.stop()
    check('exit', run.code == 0, run.end)
    with open(glob.glob(fake.out + '/*.mkv')[0], 'rb') as f:
        document = f.read()
    check('avcC', b'\x01' + sps[1:4] + b'\xff\xe1\x00\x09' + sps +
          b'\x01\x00\x04' + pps in document)
    frames = [p for f in fake.frames().values() for p in f]
    check('count', len(frames) == 60, len(frames))
    for p in frames:
        units = []
        while p:
            n = int.from_bytes(p[:4], 'big')
            units.append(p[4:4 + n])
            p = p[4 + n:]
        check('units', [u[0] & 31 for u in units] == [6, 5], units)
        check('slice', units[1] == idr)


def make_certificate(folder):
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
         '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
         '-keyout', folder + '/key.pem', '-out', folder + '/cert.pem'],
        check=True, stderr=subprocess.DEVNULL)


CASES = [plain, cut, full_drop, full_wait, refused, bad_key, clock, errors,
         no_server, foreign_certificate, h264, slow_acks]


def main():
    if not os.path.exists(PUT):
        print('%s is missing: make first' % PUT)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        for case in CASES:
            if ONLY and case.__name__ not in ONLY:
                continue
            name = '%s: %s' % (case.__name__, case.__doc__)
            try:
                case(folder)
                print('ok - ' + name, flush=True)
            except (AssertionError, subprocess.TimeoutExpired, IndexError,
                    KeyError) as e:
                FAILED.append(name)
                print('not ok - %s: %s' % (name, e), flush=True)
    print('%d failed' % len(FAILED))
    return 1 if FAILED else 0


if __name__ == '__main__':
    sys.exit(main())
