// SPDX-License-Identifier: Apache-2.0
// http_differential.cjs PROBE [CASES [SEED]]: our HTTP parser against llhttp,
// which is node's own. Whatever we accept llhttp must accept too, with the
// same fields, payload and end; two readers that see different messages in the
// same bytes let a request be smuggled past one of them. We may refuse more.
'use strict';
const {spawnSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {HTTPParser, methods} = require('_http_common');

const TRAILER_ERRORS = new Set(['HPE_INVALID_CONTENT_LENGTH',
                                'HPE_UNEXPECTED_CONTENT_LENGTH',
                                'HPE_INVALID_TRANSFER_ENCODING']);

const corpus = path.join(__dirname, '../fuzz/corpus/fuzz_http');

let state = 1;

// xorshift32: the same cases for the same seed on every machine.
function random(bound) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % bound;
}

function pick(list) {
  return list[random(list.length)];
}

const HOST = 'Host: a\r\n';
const POST = 'POST /putMedia HTTP/1.1\r\n' + HOST;
const CHUNKED = POST + 'Transfer-Encoding: chunked\r\n\r\n';
const seeds = [
  ['q', 'GET /?a=1&b=%20 HTTP/1.1\r\n' + HOST + '\r\n'],
  ['q', POST + 'Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n'],
  ['q', POST + 'Content-Length: 5\r\nConnection: close\r\n\r\nhel'],
  ['q', CHUNKED + '5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n'],
  ['q', CHUNKED + 'a;x="y\\"z";w=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n'],
  ['q', CHUNKED + '0005\r\nhello\r\n1\r\n!\r\n'],
  ['q', 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'],
  ['q', '\r\nDELETE /x HTTP/1.1\r\n' + HOST + 'X: \t a \r\nY:\r\n\r\n'],
  ['s', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1'],
  ['s', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '3\r\nabc\r\n0\r\n\r\n'],
  ['s', 'HTTP/1.1 200\r\n\r\nuntil the end'],
  ['s', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ['s', 'HTTP/1.0 204 No Content\r\n\r\n'],
].map(([type, text]) => ({type, bytes: Buffer.from(text, 'latin1')}));

for (const name of fs.readdirSync(corpus).sort()) {
  const bytes = fs.readFileSync(path.join(corpus, name));
  const type = String.fromCharCode(bytes[0]);
  if (type === 'q' || type === 's')
    seeds.push({type, bytes: bytes.subarray(1)});
  else
    seeds.push({type: 'q', bytes: Buffer.concat([Buffer.from(CHUNKED),
                                                 bytes.subarray(1)])});
}

const insertions = [
  '\r', '\n', '\r\n', ' ', '\t', ':', ';', ',', '=', '"', '\\', '\0', '\x7f',
  '\x80', '0', '1', 'a', 'F', '+', '-', '_', '(', '/', '#', '?', '%',
  'Content-Length: 3\r\n', 'Content-Length: 0\r\n', 'content-length:3\r\n',
  'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n',
  'transfer-encoding: gzip, chunked\r\n', 'Connection: close\r\n',
  'Connection: keep-alive\r\n', 'Expect: 100-continue\r\n', HOST,
  'X : y\r\n', ' folded\r\n', 'X: y\r\n', '0\r\n\r\n', '1\r\nz\r\n',
  'chunked', 'HTTP/1.1', 'HTTP/1.0', ';a=b', ';a', ';a="b"',
].map((text) => Buffer.from(text, 'latin1'));

function mutate(bytes) {
  const at = random(bytes.length + 1);
  const rest = bytes.subarray(at);
  const front = bytes.subarray(0, at);
  switch (random(6)) {
  case 0: // insert
    return Buffer.concat([front, pick(insertions), rest]);
  case 1: // replace
    return Buffer.concat([front, pick(insertions), rest.subarray(1)]);
  case 2: // delete
    return Buffer.concat([front, rest.subarray(1 + random(3))]);
  case 3: { // repeat a line, or insert one where a line begins
    const start = bytes.lastIndexOf(10, at) + 1;
    const end = bytes.indexOf(10, at) + 1 || bytes.length;
    const line = random(2) ? bytes.subarray(start, end) : pick(insertions);
    return Buffer.concat([bytes.subarray(0, start), line,
                          bytes.subarray(start)]);
  }
  case 4: // cut
    return random(4) ? bytes : front;
  default: { // splice
    const other = pick(seeds).bytes;
    return Buffer.concat([front, other.subarray(random(other.length + 1))]);
  }
  }
}

function makeCases(count) {
  const cases = seeds.slice();
  while (cases.length < count) {
    const {type, bytes} = pick(seeds);
    let changed = bytes;
    for (let i = random(4); i >= 0; i--)
      changed = mutate(changed);
    if (changed.length < 8192)
      cases.push({type, bytes: changed});
  }
  return cases;
}

function ours(probe, cases) {
  const records = [];
  for (const {type, bytes} of cases) {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length + 1, 0);
    head.write(type, 4, 'latin1');
    records.push(head, bytes);
  }
  const run = spawnSync(probe, [], {input: Buffer.concat(records),
                                    encoding: 'latin1',
                                    maxBuffer: 1 << 30});
  if (run.status !== 0)
    throw new Error(`the probe failed: ${run.error || run.stderr}`);
  return run.stdout.split('\n').slice(0, -1);
}

// What llhttp makes of the first message in these bytes.
function theirs(type, bytes) {
  const seen = {fields: 0, body: [], done: false, trailing: false};
  const parser = new HTTPParser();
  parser.initialize(type === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE,
                    {});
  parser[HTTPParser.kOnHeaders | 0] = (headers) => {
    if (!seen.done && !seen.trailing)
      seen.fields += headers.length / 2;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (
      major, minor, headers, method, url, status, message, upgrade,
      keepAlive) => {
    if (seen.done)
      return 0;
    seen.trailing = true; // what kOnHeaders brings from here on are trailers
    seen.fields += headers ? headers.length / 2 : 0;
    seen.start = type === 'q' ? methods[method] : String(status);
    seen.url = type === 'q' ? url : '-';
    seen.keepAlive = keepAlive;
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (part) => {
    if (!seen.done)
      seen.body.push(Buffer.from(part));
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    seen.done = true;
  };
  const result = parser.execute(bytes);
  if (result instanceof Error && !seen.done)
    seen.error = result.code;
  seen.body = Buffer.concat(seen.body).toString('hex');
  return seen;
}

// Why the two disagree in a way that matters, or null.
function disagreement(line, seen, bytes) {
  const words = line.split(' ');
  if (words[0] !== 'accepted')
    return null;
  const [, start, url, fields, keepAlive, upgrade, body, end] = words;
  // llhttp has a list of methods; an unknown one is ours to answer with 405.
  if (seen.error === 'HPE_INVALID_METHOD')
    return null;
  // After an upgrade the bytes are another protocol's.
  if (upgrade === '1' || start === '101')
    return null;
  if (end === 'refused')
    return null;
  // Both read the same body, then llhttp objects to a framing field among the
  // trailers. We discard trailers unread, so it cannot change any framing.
  if (seen.body === body && TRAILER_ERRORS.has(seen.error) &&
      seen.trailing)
    return null;
  if (seen.error)
    return `llhttp refuses it: ${seen.error}`;
  if (seen.start !== start || seen.url !== url)
    return `start line: ${seen.start} ${seen.url}`;
  if (seen.fields !== Number(fields))
    return `fields: ${seen.fields}`;
  if (seen.body !== body)
    return `body: ${seen.body}`;
  if (seen.done !== (end === 'done'))
    return `end: ${seen.done}`;
  // llhttp does not know a Connection token with a tab beside it.
  if (seen.done && keepAlive === '1' && !seen.keepAlive && !bytes.includes(9))
    return 'llhttp would close';
  return null;
}

function main() {
  const [probe, count, seed] = process.argv.slice(2);
  if (!probe) {
    console.error('usage: http_differential.cjs PROBE [CASES [SEED]]');
    process.exit(2);
  }
  state = Number(seed || 1);
  const cases = makeCases(Number(count || 40000));
  const lines = ours(probe, cases);
  if (lines.length !== cases.length)
    throw new Error(`${lines.length} answers to ${cases.length} cases`);
  let accepted = 0;
  for (let i = 0; i < cases.length; i++) {
    const {type, bytes} = cases[i];
    accepted += lines[i].startsWith('accepted');
    const why = disagreement(lines[i], theirs(type, bytes), bytes);
    if (why) {
      console.error(`not ok - case ${i} of seed ${seed || 1}: ${why}\n` +
                    `${JSON.stringify(bytes.toString('latin1'))}\n` +
                    `ours: ${lines[i]}`);
      process.exit(1);
    }
  }
  console.log(`ok - llhttp agrees with all ${accepted} of ` +
              `${cases.length} messages that we accept`);
}

main();
