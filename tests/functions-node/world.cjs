'use strict';
// What handlers see of the runtime between and around calls.

const {AsyncLocalStorage} = require('async_hooks');
const {spawnSync} = require('child_process');

let ticks = 0;
exports.ticks = async event => {
  if (event === 'start') setInterval(() => ticks++, 1).unref();
  return ticks;
};

const store = new AsyncLocalStorage();
exports.store = async event => {
  const found = store.getStore();
  store.enterWith(event);
  await null;
  return found === undefined ? 'empty' : found;
};

exports.children = async () => {
  const script = 'for d in 3 4; do [ ! -e /proc/$$/fd/$d ] || echo $d; done';
  return spawnSync('/bin/sh', ['-c', script], {encoding: 'utf8'}).stdout;
};

exports.ppid = async () => process.ppid > 0;
exports.works = async () => {
  const kept = [];
  for (let i = 0; i < 300000; i++) kept.push({i});
  await new Promise(resolve => setTimeout(resolve, 2));
  return kept.length;
};

process.on('exit', status => {
  if (process.env.SAY_EXIT) process.stdout.write(`exit ${status}\n`);
});
