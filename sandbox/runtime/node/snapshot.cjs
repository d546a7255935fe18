'use strict';
// What a snapshot needs of a Node process: hooks, fresh randomness in each clone, draws to compare two of them.
//
// What lies in memory and would be the same in every clone: Math.random's state, the entropy that crypto.randomUUID and
// crypto.randomInt have in stock, OpenSSL's generators and what C libraries have (runtime/assist). crypto.randomBytes,
// getRandomValues and what else asks OpenSSL each time are fresh when that is, and so are workers that are started later.
//
// Not to be reached: workers that run at the snapshot (the host is told); Math.random of other contexts (node:vm), also of
// those made later, for V8 seeds them from a generator of its own; ids that c-ares has in stock for DNS queries; what was
// asked for and has not come yet; the seed of V8's hashes.

const before = [];
const after = [];

const api = {
  // The last registered runs first. May be async.
  onBeforeSnapshot(fn) {
    if (typeof fn !== 'function') throw new TypeError('onBeforeSnapshot: a function is expected');
    before.push(fn);
  },
  // The first registered runs first. May be async.
  onAfterRestore(fn) {
    if (typeof fn !== 'function') throw new TypeError('onAfterRestore: a function is expected');
    after.push(fn);
  },
};

async function runBefore() {
  for (let i = before.length - 1; i >= 0; i--) await before[i]();
}

async function runAfter() {
  for (const fn of after) await fn();
}

// xoshiro128** (Blackman and Vigna), seeded by the kernel. V8's own generator hands out numbers from a stock that nothing can
// empty, so in a cell that will be dumped this one stands in its place from before the function's first line.
const state = new Uint32Array(4);

function rotate(x, k) {
  return (x << k) | (x >>> (32 - k));
}

function next() {
  const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9) >>> 0;
  const t = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= t;
  state[3] = rotate(state[3], 11);
  return result;
}

function random() {
  return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992; // 53 bits
}

function seed() {
  do require('crypto').getRandomValues(state);
  while ((state[0] | state[1] | state[2] | state[3]) === 0);
}

let workers = 0;

// In a cell that will be dumped, before the function's first line.
function getReady() {
  seed();
  Object.defineProperty(Math, 'random', {value: random, writable: true, enumerable: false, configurable: true});
  process.on('worker', worker => {
    workers++;
    worker.once('exit', () => workers--);
  });
}

// Whether everything that draws will be reseeded.
function reachesAll() {
  return workers === 0;
}

const SMALL_HEAP = 8 << 20;

// What a large heap does not need any more is not to be in the image. The function that collects brings a context of its own,
// which would make a small one larger.
function shrink() {
  const v8 = require('v8');
  if (v8.getHeapStatistics().used_heap_size < SMALL_HEAP) return;
  v8.setFlagsFromString('--expose-gc');
  const collect = require('vm').runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  collect();
}

const UUIDS = 128; // that randomUUID() keeps in stock
const INTS = 1024; // draws of 6 bytes that randomInt() keeps in stock
const ANY = 0x800000000000;

// Every stock is drawn empty, past its end once, so that the next draw comes from a fresh one.
function emptyStocks() {
  const crypto = require('crypto');
  for (let i = 0; i < UUIDS; i++) crypto.randomUUID();
  for (let i = 0; i < INTS; i++) crypto.randomInt(1); // takes one of them, or two
}

// After RESTORE. @assist has renewed what C libraries have.
function reseed(assist, keepSeeds) {
  const r = assist.reseed(keepSeeds);
  if (r < 0) throw new Error(`reseeding failed: errno ${-r}`);
  emptyStocks();
  if (!keepSeeds) seed();
}

function draw(assist, keepSeeds) {
  const crypto = require('crypto');
  const body = Buffer.alloc(4096);
  let length = assist.draw(body, keepSeeds);
  const put = (name, value) => {
    if (length + 2 + name.length + value.length > body.length) return;
    body[length] = name.length;
    body[length + 1] = value.length;
    body.write(name, length + 2, 'latin1');
    value.copy(body, length + 2 + name.length);
    length += 2 + name.length + value.length;
  };
  if (!keepSeeds) {
    const value = Buffer.alloc(32);
    for (let i = 0; i < 4; i++) value.writeDoubleLE(Math.random(), i * 8);
    put('node-Math.random', value);
  }
  put('node-randomUUID', Buffer.from(crypto.randomUUID().replace(/-/g, ''), 'hex'));
  const ints = Buffer.alloc(24);
  for (let i = 0; i < 4; i++) ints.writeUIntLE(crypto.randomInt(ANY), i * 6, 6);
  put('node-randomInt', ints);
  put('node-randomBytes', crypto.randomBytes(32));
  put('node-getRandomValues', Buffer.from(crypto.webcrypto.getRandomValues(new Uint8Array(32))));
  return body.subarray(0, length);
}

module.exports = {api, runBefore, runAfter, getReady, reachesAll, shrink, reseed, draw};
