'use strict';
// Hooks around snapshots; HOOK says which of them misbehaves.
const {onBeforeSnapshot, onAfterRestore} = require('fsbox');

const said = [];
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const hook = (register, name, wait) => register(async () => {
  if (wait) await sleep(10);
  said.push(name);
  if (process.env.HOOK === `${name} throws`) throw new RangeError('asked to');
  if (process.env.HOOK === `${name} is stuck`) await new Promise(() => {});
});

hook(onBeforeSnapshot, 'before 1', false);
hook(onBeforeSnapshot, 'before 2', true);
hook(onBeforeSnapshot, 'before 3', false);
hook(onAfterRestore, 'after 1', true);
hook(onAfterRestore, 'after 2', false);
onAfterRestore(() => said.push(`${process.env.COLOUR} ${process.env.KEPT}`));

exports.handler = async (event, context) => [...said, context.memoryLimitInMB, context.logStreamName];
exports.same = async () => globalThis.fsbox.onAfterRestore === onAfterRestore;
exports.refuses = async () => {
  try {
    onBeforeSnapshot('no function');
    return 'taken';
  } catch (e) {
    return e.name;
  }
};
