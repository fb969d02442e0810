#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Kinesis Video Streams service in one file of standard library: an
independent peer for producers. It checks Signature Version 4 by itself, keeps
what PutMedia brings, acknowledges as the contract says, and misbehaves on
request. One line of JSON per event on stdout; the first says the port. An event
is said before the producer can know of it: who has seen its producer end finds
all that the producer was told. SIGINT: it reads what was sent, and ends.

  fake_kvs.py --cert CERT.pem --key KEY.pem [--out DIR] [options]
"""
import argparse
import datetime
import hashlib
import hmac
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse

LOCK = threading.Lock()
DRAIN_S = 60    # for what was sent, at SIGINT


def say(**event):
    with LOCK:
        print(json.dumps(event), flush=True)


# --- Signature Version 4 ------------------------------------------------------

def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def verify(args, method, target, headers, body_hash):
    """None, or (status, type, message)."""
    auth = headers.get('authorization')
    if not auth:
        return 403, 'MissingAuthenticationTokenException', 'no signature'
    scheme, _, rest = auth.partition(' ')
    parts = dict(p.strip().split('=', 1) for p in rest.split(','))
    if scheme != 'AWS4-HMAC-SHA256' or set(parts) != {
            'Credential', 'SignedHeaders', 'Signature'}:
        return 400, 'IncompleteSignatureException', 'malformed'
    access, date, region, service, end = parts['Credential'].split('/')
    stamp = headers.get('x-amz-date', '')
    when = datetime.datetime.strptime(stamp, '%Y%m%dT%H%M%SZ').replace(
        tzinfo=datetime.timezone.utc).timestamp()
    if access != args.access_key:
        return 403, 'InvalidClientTokenId', 'unknown access key'
    if (region, service, end) != (args.region, 'kinesisvideo', 'aws4_request') \
            or date != stamp[:8]:
        return 403, 'SignatureDoesNotMatch', 'scope'
    signed = parts['SignedHeaders'].split(';')
    for name in headers:
        if (name == 'host' or name.startswith('x-amz-')) and name not in signed:
            return 403, 'SignatureDoesNotMatch', name + ' is not signed'
    path, _, query = target.partition('?')
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = '\n'.join([
        method, urllib.parse.quote(path, safe='/-_.~'),
        '&'.join(urllib.parse.quote(k, safe='-_.~') + '=' +
                 urllib.parse.quote(v, safe='-_.~') for k, v in pairs),
        ''.join(n + ':' + ' '.join(headers[n].split()) + '\n' for n in signed),
        ';'.join(signed), body_hash])
    text = '\n'.join(['AWS4-HMAC-SHA256', stamp,
                      '/'.join([date, region, service, end]),
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ('AWS4' + args.secret).encode()
    for part in (date, region, service, end):
        key = mac(key, part)
    want = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(want, parts['Signature']):
        return 403, 'SignatureDoesNotMatch', 'signature'
    if abs(now(args) - when) > 900:
        return 400, 'RequestExpired', 'the clock is off'
    return None


def now(args):
    return time.time() + args.clock_skew


# --- Matroska, as far as acknowledgements need it -------------------------------

MASTERS = {0x18538067, 0x1f43b675, 0x1654ae6b, 0xae}  # Segment Cluster Tracks TrackEntry


class Matroska:
    """Feeds bytes, calls cluster(timecode) and block(track, ms, key, payload)."""

    def __init__(self, cluster, block):
        self.buf = bytearray()
        self.cluster = cluster
        self.block = block
        self.timecode = 0

    def vint(self, at, keep):
        if at >= len(self.buf):
            return None
        first = self.buf[at]
        n = 1
        while n <= 8 and not first & (0x80 >> (n - 1)):
            n += 1
        if n > 8:
            raise ValueError('bad vint')
        if at + n > len(self.buf):
            return None
        value = int.from_bytes(self.buf[at:at + n], 'big')
        if not keep:
            value &= (1 << (7 * n)) - 1
            if value == (1 << (7 * n)) - 1:
                value = -1
        return value, at + n

    def feed(self, data):
        self.buf += data
        while True:
            got = self.vint(0, True)
            if not got:
                return
            ident, at = got
            got = self.vint(at, False)
            if not got:
                return
            size, at = got
            if ident in (0x18538067, 0x1f43b675):  # go inside
                del self.buf[:at]
                continue
            if size < 0:
                raise ValueError('unknown size of %x' % ident)
            if at + size > len(self.buf):
                return
            body = bytes(self.buf[at:at + size])
            del self.buf[:at + size]
            if ident == 0xe7:
                self.timecode = int.from_bytes(body, 'big')
                self.cluster(self.timecode)
            elif ident == 0xa3:
                rel = int.from_bytes(body[1:3], 'big', signed=True)
                self.block(body[0] & 0x7f, self.timecode + rel,
                           bool(body[3] & 0x80), body[4:])


# --- TLS -------------------------------------------------------------------------

class Tls:
    """An SSL object is for one thread at a time; acknowledgements come late,
    from timers, while the request is being read."""

    def __init__(self, sock, context):
        sock.settimeout(10)
        self.sock = context.wrap_socket(sock, server_side=True)
        self.sock.settimeout(0)
        self.lock = threading.Lock()

    def attempt(self, call, *args):
        while True:
            with self.lock:
                try:
                    return call(*args)
                except ssl.SSLWantReadError:
                    wait = ([self.sock], [])
                except ssl.SSLWantWriteError:
                    wait = ([], [self.sock])
            select.select(wait[0], wait[1], [], 1)

    def recv(self, n):
        return self.attempt(self.sock.recv, n)

    def sendall(self, data):
        while data:
            data = data[self.attempt(self.sock.send, data):]

    def close(self):
        self.sock.close()


# --- HTTP -----------------------------------------------------------------------

class Peer:
    def __init__(self, sock, args, state):
        self.sock = sock
        self.args = args
        self.state = state
        self.buf = bytearray()

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buf += data

    def line(self):
        while b'\r\n' not in self.buf:
            self.more()
        i = self.buf.index(b'\r\n')
        text = bytes(self.buf[:i]).decode('latin-1')
        del self.buf[:i + 2]
        return text

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    def reply(self, status, body, kind=None, close=False):
        data = json.dumps(body).encode()
        date = time.strftime('%a, %d %b %Y %H:%M:%S GMT',
                             time.gmtime(now(self.args)))
        head = 'HTTP/1.1 %d X\r\nDate: %s\r\nContent-Type: application/json\r\n' \
               'x-amzn-RequestId: fake\r\nContent-Length: %d\r\n' % (
                   status, date, len(data))
        if kind:
            head += 'x-amzn-ErrorType: %s\r\n' % kind
        if close:
            head += 'Connection: close\r\n'
        self.sock.sendall((head + '\r\n').encode() + data)

    def serve(self):
        while self.request():
            pass

    def request(self):
        try:
            method, target, _ = self.line().split(' ')
        except EOFError:
            return False
        headers = {}
        while True:
            text = self.line()
            if not text:
                break
            name, _, value = text.partition(':')
            headers[name.lower()] = value.strip()
        chunked = headers.get('transfer-encoding', '').lower() == 'chunked'
        body = b'' if chunked else self.take(
            int(headers.get('content-length', 0)))
        bad = verify(self.args, method, target, headers,
                     hashlib.sha256(body).hexdigest())
        say(event='request', target=target, refused=bad and bad[1],
            at=round(time.monotonic(), 3))
        if not bad:
            bad = self.state.refusal(target)
        if bad:
            self.reply(bad[0], {'Message': bad[2]}, bad[1], close=chunked)
            return not chunked
        if target == '/putMedia':
            self.put_media(headers)
            return False
        return self.control(target, json.loads(body))

    def control(self, target, body):
        s = self.state
        if target == '/describeStream':
            if not s.exists:
                self.reply(404, {'Message': 'no such stream'},
                           'ResourceNotFoundException:http://x/')
                return True
            self.reply(200, {'StreamInfo': {
                'StreamName': body['StreamName'], 'Status': s.status(),
                'DataRetentionInHours': self.args.retention}})
        elif target == '/createStream':
            s.exists = True
            self.reply(200, {'StreamARN': 'arn:aws:kinesisvideo:x:1:stream/x/1'})
        elif target == '/getDataEndpoint':
            self.reply(200, {'DataEndpoint': 'https://localhost:%d' % s.port})
        elif target == '/bytes':
            self.reply(200, {'Data': 'x' * int(body.get('Count', 0))})
        else:
            self.reply(404, {'Message': target}, 'UnknownOperationException')
        # --drop-idle: the connection goes although it said keep-alive.
        return not self.args.drop_idle

    # --- PutMedia ---

    def ack(self, kind, timecode, delay=0.0, **extra):
        if delay:
            timer = threading.Timer(delay, self.ack, (kind, timecode), extra)
            timer.daemon = True
            timer.start()
            self.timers.append(timer)
            return
        ack = {'EventType': kind, 'FragmentTimecode': timecode,
               'FragmentNumber': '9134385233318143239268206260774%016d' %
                                 timecode}
        ack.update(extra)
        data = (json.dumps(ack, separators=(',', ':')) + '\n').encode()
        try:
            with self.send_lock:
                say(event='ack', kind=kind, timecode=timecode, session=self.session)
                self.sock.sendall(b'%x\r\n%s\r\n' % (len(data), data))
        except OSError as e:
            say(event='unsent', kind=kind, timecode=timecode, session=self.session, why=repr(e))

    def whole(self, timecode):
        """The fragment under way is complete."""
        if timecode is None:
            return
        args = self.args
        say(event='fragment', timecode=timecode, session=self.session,
            frames=len(self.frames),
            bytes=sum(len(f[3]) for f in self.frames),
            tracks=sorted({f[0] for f in self.frames}))
        if args.out:
            name = '%d-%d.frames' % (self.session, timecode)
            with open(os.path.join(args.out, name), 'wb') as f:
                for track, ms, key, payload in self.frames:
                    f.write(b'%d %d %d %d\n' % (track, ms, key, len(payload)))
                    f.write(payload)
        error = self.state.error_for_next_fragment()
        if error:
            self.ack('ERROR', timecode, args.ack_delay, ErrorId=error,
                     ErrorCode='FAKE_%d' % error)
            return
        self.ack('RECEIVED', timecode, args.ack_delay)
        if args.retention:
            self.ack('PERSISTED', timecode, args.ack_delay + 0.005)
            self.state.persisted.append(timecode)

    def put_media(self, headers):
        args = self.args
        self.session = self.state.next_session()
        self.send_lock = threading.Lock()
        self.timers = []
        self.frames = []
        self.open = None
        raw = open(os.path.join(args.out, '%d.mkv' % self.session), 'wb') \
            if args.out else None
        say(event='session', session=self.session,
            timecode_type=headers.get('x-amzn-fragment-timecode-type'),
            stream=headers.get('x-amzn-stream-name'),
            start=headers.get('x-amzn-producer-start-timestamp'))
        self.sock.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n'
                          b'x-amzn-RequestId: fake\r\n\r\n')

        def cluster(timecode):
            self.whole(self.open)
            self.open = timecode
            self.frames = []
            self.ack('BUFFERING', timecode, args.ack_delay)

        def block(*frame):
            self.frames.append(frame)

        mkv = Matroska(cluster, block)
        total = 0
        try:
            while True:
                size = int(self.line().split(';')[0], 16)
                if size == 0:
                    self.line()
                    break
                data = self.take(size)
                self.take(2)
                total += size
                if raw:
                    raw.write(data)
                    raw.flush()
                mkv.feed(data)
                if args.slow:
                    time.sleep(size / args.slow)
                if args.cut_after and total > args.cut_after and \
                        self.session <= args.cut_times:
                    say(event='cut', session=self.session)
                    for t in self.timers:
                        t.cancel()
                    self.sock.close()
                    return
            self.whole(self.open)
            for t in self.timers:
                t.join()
            say(event='end', session=self.session, bytes=total)
            with self.send_lock:
                self.sock.sendall(b'0\r\n\r\n')
        except (EOFError, OSError, ValueError) as e:
            say(event='broken', session=self.session, why=repr(e))


class State:
    def __init__(self, args):
        self.args = args
        self.exists = not args.missing
        self.sessions = 0
        self.describes = 0
        self.fragments = 0
        self.refused = {}
        self.persisted = []
        self.port = 0

    def next_session(self):
        with LOCK:
            self.sessions += 1
            return self.sessions

    def status(self):
        self.describes += 1
        return 'ACTIVE' if self.describes > self.args.creating else 'CREATING'

    def error_for_next_fragment(self):
        with LOCK:
            self.fragments += 1
            for item in self.args.error:
                at, _, error = item.partition(':')
                if int(at) == self.fragments:
                    return int(error)
        return None

    def refusal(self, target):
        """--refuse TARGET:STATUS:TYPE:TIMES"""
        for item in self.args.refuse:
            path, status, kind, times = item.split(':')
            with LOCK:
                n = self.refused.get(item, 0)
                if path == target and n < int(times):
                    self.refused[item] = n + 1
                    return int(status), kind, 'asked to refuse'
        return None


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--cert', required=True)
    a.add_argument('--key', required=True)
    a.add_argument('--port', type=int, default=0)
    a.add_argument('--out')
    a.add_argument('--region', default='us-west-2')
    a.add_argument('--access-key', default='AKIDEXAMPLE')
    a.add_argument('--secret', default='secretsecret')
    a.add_argument('--retention', type=int, default=2)
    a.add_argument('--missing', action='store_true',
                   help='the stream does not exist at first')
    a.add_argument('--creating', type=int, default=0,
                   help='DescribeStream says CREATING so many times')
    a.add_argument('--ack-delay', type=float, default=0.0)
    a.add_argument('--slow', type=float, default=0.0,
                   help='bytes per second that are read')
    a.add_argument('--cut-after', type=int, default=0,
                   help='close after so many bytes of a session')
    a.add_argument('--cut-times', type=int, default=1)
    a.add_argument('--clock-skew', type=float, default=0.0)
    a.add_argument('--drop-idle', action='store_true')
    a.add_argument('--error', action='append', default=[],
                   help='N:ID: error ID for the N-th fragment')
    a.add_argument('--refuse', action='append', default=[],
                   help='PATH:STATUS:TYPE:TIMES')
    a.add_argument('--tls', choices=('1.1', '1.2', '1.3'),
                   help='speak this version only')
    args = a.parse_args()
    state = State(args)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if args.tls:
        version = ssl.TLSVersion['TLSv' + args.tls.replace('.', '_')]
        context.minimum_version = context.maximum_version = version
        # OpenSSL offers 1.1 on its lowest level only.
        context.set_ciphers('ALL:@SECLEVEL=0')
    context.load_cert_chain(args.cert, args.key)
    listener = socket.create_server(('127.0.0.1', args.port))
    state.port = listener.getsockname()[1]
    say(event='listening', port=state.port)

    def serve(sock):
        try:
            tls = Tls(sock, context)
            Peer(tls, args, state).serve()
            tls.close()
        except (OSError, EOFError) as e:
            say(event='connection', why=repr(e))

    threads = []
    try:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads.append(threading.Thread(target=serve, args=(sock,),
                                            daemon=True))
            threads[-1].start()
    except KeyboardInterrupt:
        # SIGINT: no more, but what was sent is read to its end and told.
        listener.close()
        end = time.monotonic() + DRAIN_S
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))
        say(event='stopped', open=sum(t.is_alive() for t in threads))


if __name__ == '__main__':
    main()
