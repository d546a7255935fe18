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
const VERSION = 1, CAN_SNAPSHOT = 2;
const MAX_PAYLOAD = 6291456;
const MAX_BODY = MAX_PAYLOAD + 4096;
const MAX_TYPE = 256, MAX_MESSAGE = 32768, MAX_DOCUMENT = 1048576;

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

// {type, call, body}, the body a copy; null at the end of the channel.
function next() {
  if (!fill(HEAD)) return null;
  const length = buffer.readUInt32LE(at);
  if (length > MAX_BODY || buffer.readUInt16LE(at + 6) !== 0) throw new Broken('a malformed head');
  fill(HEAD + length);
  const frame = {
    type: buffer.readUInt16LE(at + 4),
    call: buffer.readUInt32LE(at + 8) + buffer.readUInt32LE(at + 12) * 0x100000000,
    body: Buffer.from(buffer.subarray(at + HEAD, at + HEAD + length)),
  };
  at += HEAD + length;
  if (at === end) {
    at = end = 0;
    if (buffer.length > CHUNK) buffer = Buffer.allocUnsafeSlow(CHUNK); // what one large event needed
  }
  return frame;
}

function head(type, call, length) {
  const h = Buffer.allocUnsafe(HEAD);
  h.writeUInt32LE(length, 0);
  h.writeUInt16LE(type, 4);
  h.writeUInt16LE(0, 6);
  h.writeUInt32LE(call % 0x100000000, 8);
  h.writeUInt32LE(Math.floor(call / 0x100000000), 12);
  return h;
}

// All of it, with one system call where the pipe has room.
function write(...parts) {
  let data = Buffer.concat(parts);
  while (data.length > 0) data = data.subarray(fs.writeSync(OUT, data, 0, data.length));
}

const EMPTY = Buffer.alloc(0);

function send(type, call = 0, body = EMPTY) {
  write(head(type, call, body.length), body);
}

function answer(call, data) {
  write(head(DATA, call, data.length), data, head(DONE, call, 0));
}

// UTF-8 of at most so many bytes, no character cut in two.
function cut(text, size) {
  const data = Buffer.from(String(text));
  if (data.length <= size) return data;
  let n = size;
  while (n > 0 && (data[n] & 0xc0) === 0x80) n--;
  return data.subarray(0, n);
}

function error(type, call, errorType, message, document) {
  const kind = cut(errorType, MAX_TYPE);
  const text = cut(message, MAX_MESSAGE);
  const whole = Buffer.from(document);
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16LE(kind.length, 0);
  fixed.writeUInt32LE(text.length, 4);
  // Over its limit the host makes a document of type and message.
  send(type, call, Buffer.concat([fixed, kind, text, whole.length > MAX_DOCUMENT ? EMPTY : whole]));
}

module.exports = {
  CALL, FILTER, SHUTDOWN, SNAPSHOT, RESTORE, DRAW, READY, INIT_ERROR, DATA, DONE, ERROR, PARKED, RESTORED, DRAWN,
  VERSION, CAN_SNAPSHOT, MAX_PAYLOAD, Broken, next, send, answer, error,
};
