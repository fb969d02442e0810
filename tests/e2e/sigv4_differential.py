#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our SigV4 against one written here from Amazon's documentation.

usage: sigv4_differential.py [CASES [SEED]]

Builds tests/sigv4_probe in $O (build). Random requests are signed here and verified by it, signed by it and
compared with the signature computed here, and damaged in one place, after
which it must refuse them. Standard library only.
"""
import calendar
import hashlib
import hmac
import os
import random
import struct
import subprocess
import sys
import time
import urllib.parse

REGION, SERVICE = 'eu-central-1', 'kinesisvideo'
KEY, SECRET = 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
NOW = '20260830T123600Z'
NOW_S = calendar.timegm(time.strptime(NOW, '%Y%m%dT%H%M%SZ'))
SAFE = '-_.~'


def encode(text):
    return urllib.parse.quote(text, safe=SAFE)


def canonical_path(path):
    kept = []
    for segment in path.split('/'):
        if segment == '..':
            del kept[-1:]
        elif segment not in ('', '.'):
            kept.append(segment)
    out = '/' + '/'.join(kept)
    if path.endswith('/') and kept:
        out += '/'
    return urllib.parse.quote(out, safe='/' + SAFE)


def canonical_query(query, leave_out=()):
    pairs = []
    for piece in query.split('&'):
        if not piece:
            continue
        name, _, value = piece.partition('=')
        if name in leave_out:
            continue
        pairs.append((encode(urllib.parse.unquote_to_bytes(name)),
                      encode(urllib.parse.unquote_to_bytes(value))))
    return '&'.join('%s=%s' % p for p in sorted(pairs))


def canonical_headers(headers, signed):
    lines = []
    for name in signed:
        values = [' '.join(v.split()) for n, v in headers
                  if n.lower() == name]
        lines.append('%s:%s\n' % (name, ','.join(values)))
    return ''.join(lines)


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(method, path, query, headers, signed, payload_hash,
              timestamp, scope, leave_out=()):
    request = '\n'.join([method, canonical_path(path),
                         canonical_query(query, leave_out),
                         canonical_headers(headers, signed),
                         ';'.join(signed), payload_hash])
    to_sign = '\n'.join(['AWS4-HMAC-SHA256', timestamp, scope,
                         hashlib.sha256(request.encode('latin-1'))
                         .hexdigest()])
    key = ('AWS4' + SECRET).encode()
    for part in scope.split('/'):
        key = mac(key, part)
    return mac(key, to_sign).hex()


class Probe:
    def __init__(self, path, token):
        self.p = subprocess.Popen(
            [path, REGION, SERVICE, KEY, SECRET, token, str(NOW_S)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what, head, body):
        data = what + head + body
        self.p.stdin.write(struct.pack('>I', len(data)) + data)
        self.p.stdin.flush()
        return self.p.stdout.readline().decode().rstrip('\n')

    def close(self):
        self.p.stdin.close()
        if self.p.wait() != 0:
            sys.exit('the probe failed')


def head_of(method, path, query, headers):
    target = path + ('?' + query if query else '')
    lines = ['%s %s HTTP/1.1' % (method, target)]
    lines += ['%s: %s' % h for h in headers]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


class Maker:
    """Requests with all that canonicalisation has a rule for."""

    def __init__(self, rng, token):
        self.rng = rng
        self.token = token

    def word(self, alphabet, low, high):
        return ''.join(self.rng.choice(alphabet)
                       for _ in range(self.rng.randint(low, high)))

    def path(self):
        parts = [self.rng.choice(['', '.', '..', '%20', 'a%2Fb', 'putMedia',
                                  self.word("abcXYZ09-._~!$&'()*+,;=:@", 1, 8)])
                 for _ in range(self.rng.randint(0, 5))]
        return '/' + '/'.join(parts)

    def query(self):
        pieces = []
        for _ in range(self.rng.randint(0, 6)):
            text = self.word("abAB01-._~!'()*+,;:@/?%$", 0, 6)
            text = text.replace('%', self.rng.choice(['%2f', '%C3%A9', '%00',
                                                      '%7e', '%25']))
            pieces.append(text + self.rng.choice(['', '=', '=' + text]))
        return '&'.join(pieces)

    def headers(self):
        headers = [('Host', 'kvs.test:8443'), ('X-Amz-Date', NOW)]
        for _ in range(self.rng.randint(0, 4)):
            name = self.rng.choice(['X-Amzn-Stream-Name', 'x-b', 'X-B', 'x-a1',
                                    'Content-Type', 'X-B-C'])
            headers.append((name, self.word('ab \t"=,;\xe9', 0, 12).strip()))
        if self.token:
            headers.append(('X-Amz-Security-Token', self.token))
        self.rng.shuffle(headers)
        return headers

    def request(self):
        body = self.rng.choice([b'', b'{"StreamName":"front"}',
                                self.rng.randbytes(30)])
        headers = self.headers()
        payload = hashlib.sha256(body).hexdigest()
        stated = self.rng.choice([None, payload, 'UNSIGNED-PAYLOAD'])
        if stated:
            headers.append(('x-amz-content-sha256', stated))
            payload = stated
        return (self.rng.choice(['POST', 'GET', 'PUT']), self.path(),
                self.query(), headers, payload, body)


def check(condition, what, *details):
    if not condition:
        sys.exit('not ok - %s\n%s' % (
            what, '\n'.join(repr(d) for d in details)))


def header_case(probe, maker):
    rng = maker.rng
    method, path, query, headers, payload, body = maker.request()
    names = sorted({n.lower() for n, _ in headers})
    scope = '/'.join([NOW[:8], REGION, SERVICE, 'aws4_request'])

    # Signed by us: all headers.
    want = signature(method, path, query, headers, names, payload, NOW, scope)
    head = head_of(method, path, query, headers)
    value = ('AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, '
             'Signature=%s' % (KEY, scope, ';'.join(names), want))
    got = probe.ask(b's', head, body)
    check(got == value, 'signatures differ', head, body, value, got)

    # Signed here: some headers are left unsigned.
    names = [n for n in names if n in ('host', 'x-amz-date')
             or rng.random() < 0.8]
    want = signature(method, path, query, headers, names, payload, NOW, scope)
    value = ('AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, '
             'Signature=%s' % (KEY, scope, ';'.join(names), want))
    head = head_of(method, path, query,
                   headers + [('Authorization', value)])
    got = probe.ask(b'v', head, body)
    check(got == 'OK', 'not verified: ' + got, head, body)

    # One signature digit, or one byte of the body, off.
    at = rng.randrange(64)
    digit = rng.choice([c for c in '0123456789abcdef' if c != want[at]])
    bad = value[:-64] + want[:at] + digit + want[at + 1:]
    got = probe.ask(b'v', head_of(method, path, query, headers
                                  + [('Authorization', bad)]), body)
    check(got == 'MISMATCH', 'wrong signature: ' + got, head)
    if payload != 'UNSIGNED-PAYLOAD':
        got = probe.ask(b'v', head, body + b'!')
        check(got == 'MISMATCH', 'wrong body: ' + got, head)
    got = probe.ask(b'v', head_of(method, path, query, [
        (n, v + 'x' if n.lower() == 'host' else v) for n, v in headers
    ] + [('Authorization', value)]), body)
    check(got == 'MISMATCH', 'wrong host: ' + got, head)


def presigned_case(probe, maker):
    rng = maker.rng
    scope = '/'.join([NOW[:8], REGION, SERVICE, 'aws4_request'])
    params = [('X-Amz-ChannelARN', 'arn:aws:kinesisvideo:x:1:channel/a/1'),
              ('X-Amz-Algorithm', 'AWS4-HMAC-SHA256'),
              ('X-Amz-Credential', KEY + '/' + scope), ('X-Amz-Date', NOW),
              ('X-Amz-Expires', str(rng.randint(1, 604800))),
              ('X-Amz-SignedHeaders', 'host'),
              ('X-Amz-ClientId', maker.word('abc_.-', 1, 20))]
    if maker.token:
        params.append(('X-Amz-Security-Token', maker.token))
    rng.shuffle(params)
    query = '&'.join('%s=%s' % (n, encode(v)) for n, v in params)
    headers = [('Host', 'kvs.test')]
    empty = hashlib.sha256(b'').hexdigest()
    want = signature('GET', '/', query, headers, ['host'], empty, NOW, scope)
    pieces = query.split('&')
    pieces.insert(rng.randint(0, len(pieces)), 'X-Amz-Signature=' + want)
    head = head_of('GET', '/', '&'.join(pieces), headers)
    got = probe.ask(b'v', head, b'')
    check(got == 'OK', 'presigned: ' + got, head)
    bad = head.replace(b'X-Amz-Expires=', b'X-Amz-Expires=1')
    got = probe.ask(b'v', bad, b'')
    check(got in ('MISMATCH', 'INCOMPLETE'), 'presigned: ' + got, bad)


def build():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
    out = os.environ.get('O', 'build')
    probe = os.path.join(out, 'tests/sigv4_probe')
    subprocess.run(['make', 'O=' + out, probe], cwd=root, check=True,
                   stdout=subprocess.DEVNULL)
    return os.path.join(root, probe)


def main():
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng = random.Random(seed)
    path = build()
    for token in ('', 'IQoJb3JpZ2luX2VjEK//+=='):
        probe = Probe(path, token)
        maker = Maker(rng, token)
        for _ in range(cases // 2):
            header_case(probe, maker)
            presigned_case(probe, maker)
        probe.close()
    print('ok - %d random requests of seed %d agree' % (cases, seed))


main()
