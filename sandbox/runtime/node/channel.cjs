'use strict';
// Frames over descriptors 3 and 4: a head of 16 bytes (length, type, 0, number of the call) and a body; integers are
// little-endian. Reading and writing block: between calls nothing of the function runs, as in a frozen Lambda.

const fs = require('fs');

const IN = 3;
const OUT = 4;
const HEAD = 16;
const CHUNK = 65536;

const CALL = 1, FILTER = 2, SHUTDOWN = 3, SNAPSHOT = 4, RESTORE = 5, DRAW = 6;
const READY = 16, INIT_ERROR = 17, DATA = 18, DONE = 19, ERROR = 20, PARKED = 23, RESTORED = 24, DRAWN = 25;
const VERSION = 1, CAN_SNAPSHOT = 2, NOT_RESEEDED = 1;
const MAX_PAYLOAD = 6291456;
const MAX_TYPE = 256, MAX_MESSAGE = 32768, MAX_DOCUMENT = 1048576;

// What may come: least and most bytes of the body, and of what the body is a multiple.
const SIZES = {
  [CALL]: [24, 24 + 128 + 3072 + MAX_PAYLOAD, 1],
  [FILTER]: [8, 32768, 8],
  [SHUTDOWN]: [0, 0, 1],
  [SNAPSHOT]: [0, 0, 1],
  [RESTORE]: [120, 120 + 16384, 1],
  [DRAW]: [0, 0, 1],
};

// The host does not keep to the contract, or is gone in the middle of a frame.
class Broken extends Error {}

let buffer = Buffer.allocUnsafeSlow(CHUNK); // what was read: from `at` to `end`
let at = 0;
let end = 0;

// True when `wanted` bytes are there; false at an end of file before the first of them.
function fill(wanted) {
  if (end - at >= wanted) return true;
  if (at > 0) {
    buffer.copyWithin(0, at, end);
    end -= at;
    at = 0;
  }
  if (buffer.length < wanted) {
    const larger = Buffer.allocUnsafeSlow(wanted);
    buffer.copy(larger, 0, 0, end);
    buffer = larger;
  }
  while (end < wanted) {
    const n = fs.readSync(IN, buffer, end, buffer.length - end, null);
    if (n === 0) {
      if (end > 0) throw new Broken('it ended in the middle of a frame');
      return false;
    }
    end += n;
  }
  return true;
}

function checkHead(type, call, length, zero) {
  const size = SIZES[type];
  if (!size || zero !== 0 || (type === CALL) !== (call !== 0)) throw new Broken(`a malformed head, type ${type}`);
  if (length < size[0] || length > size[1] || length % size[2] !== 0) {
    throw new Broken(`a frame of type ${type} with ${length} bytes`);
  }
}

// {type, call, body}; null at the end of the channel. The body lies in the buffer: it is valid until the next call.
function next() {
  if (at === end) {
    at = end = 0;
    if (buffer.length > CHUNK) buffer = Buffer.allocUnsafeSlow(CHUNK); // what one large event needed
  }
  if (!fill(HEAD)) return null;
  const length = buffer.readUInt32LE(at);
  const type = buffer.readUInt16LE(at + 4);
  const call = buffer.readUInt32LE(at + 8) + buffer.readUInt32LE(at + 12) * 0x100000000;
  checkHead(type, call, length, buffer.readUInt16LE(at + 6));
  fill(HEAD + length);
  const body = buffer.subarray(at + HEAD, at + HEAD + length);
  at += HEAD + length;
  return {type, call, body};
}

const out = Buffer.allocUnsafeSlow(CHUNK); // frames that are small enough to be put together

function putHead(offset, type, call, length) {
  out.writeUInt32LE(length, offset);
  out.writeUInt16LE(type, offset + 4);
  out.writeUInt16LE(0, offset + 6);
  out.writeUInt32LE(call % 0x100000000, offset + 8);
  out.writeUInt32LE(Math.floor(call / 0x100000000), offset + 12);
  return offset + HEAD;
}

function write(data, length) {
  for (let done = 0; done < length;) done += fs.writeSync(OUT, data, done, length - done);
}

const EMPTY = Buffer.alloc(0);

function send(type, call = 0, body = EMPTY) {
  putHead(0, type, call, body.length);
  if (HEAD + body.length <= CHUNK) {
    out.set(body, HEAD);
    write(out, HEAD + body.length);
  } else {
    write(out, HEAD);
    write(body, body.length);
  }
}

// The whole answer and its end, with one system call where it is small. False when it is too large.
function answer(call, text) {
  if (3 * text.length <= CHUNK - 2 * HEAD) {
    const length = out.write(text, HEAD, 'utf8');
    putHead(0, DATA, call, length);
    write(out, putHead(HEAD + length, DONE, call, 0));
    return true;
  }
  const data = Buffer.from(text);
  if (data.length > MAX_PAYLOAD) return false;
  send(DATA, call, data);
  send(DONE, call);
  return true;
}

// UTF-8 of at most so many bytes, no character cut in two.
function cut(text, size) {
  const data = Buffer.from(text);
  if (data.length <= size) return data;
  let n = size;
  while (n > 0 && (data[n] & 0xc0) === 0x80) n--;
  return data.subarray(0, n);
}

// @found: what errors.cjs describes.
function error(type, call, found) {
  const kind = cut(found.errorType, MAX_TYPE);
  const text = cut(found.errorMessage, MAX_MESSAGE);
  const whole = Buffer.from(JSON.stringify(found));
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16LE(kind.length, 0);
  fixed.writeUInt32LE(text.length, 4);
  // Over its limit the host makes a document of type and message.
  send(type, call, Buffer.concat([fixed, kind, text, whole.length > MAX_DOCUMENT ? EMPTY : whole]));
}

module.exports = {
  CALL, FILTER, SHUTDOWN, SNAPSHOT, RESTORE, DRAW, READY, INIT_ERROR, DATA, DONE, ERROR, PARKED, RESTORED, DRAWN,
  VERSION, CAN_SNAPSHOT, NOT_RESEEDED, MAX_PAYLOAD, Broken, next, send, answer, error,
};
