'use strict';
// fsbox's runtime for Node.js functions: docs/runtimes.md; its side of the channel: docs/channel.md. Works with Node 18 and
// newer. The build joins these into one file, which loads faster (tools/bundle.awk):
//
//   main      the loop: loads the handler, takes frames
//   channel   frames over descriptors 3 and 4
//   load      from _HANDLER to the function
//   call      one call: context, forms of handlers, answers
//   stream    answers in parts
//   errors    errors as Lambda tells them
//   log       console as Lambda has it
//   snapshot  hooks, reseeding, draws
//
// Between calls it is blocked in a read of the channel, so nothing of the function runs. While a handler is waited for, the
// event loop turns; it turns once before each handler, so that what earlier calls left behind goes first, and once behind it,
// so that what it threw into the void is seen before its answer goes.

const channel = require('./channel.cjs');
const log = require('./log.cjs');
const {Failure, describe} = require('./errors.cjs');
const {Call, readConfig} = require('./call.cjs');
const stream = require('./stream.cjs');

const {setImmediate} = globalThis; // the function may put another one in its place
const EXIT_UNHANDLED = 128;
const EXIT_UNCAUGHT = 129;

let assist; // the Node-API face of runtime/assist
let snapshot;
let keepSeeds = false;
let filtered = false;
let current = null; // the call that is running
let hookError = null; // the type of what fails now, while hooks run
let parked = true; // nothing is waited for that the event loop could bring

// ---- Errors that end something ----

function reportInit(error, what = 'Uncaught Exception') {
  let failure = error;
  if (hookError) {
    const {errorType, errorMessage} = describe(error);
    failure = new Failure(hookError, `${errorType}: ${errorMessage}`, error);
  }
  log.printError(what, failure);
  channel.error(channel.INIT_ERROR, 0, describe(failure));
  process.exit(1);
}

// The process cannot be relied on any more: it says so in the call that is running, and ends.
function endWith(error, what, status) {
  try {
    if (!current) reportInit(error, what);
    log.printError(what, error);
    channel.error(channel.ERROR, current.number, describe(error));
  } catch {
    // the host is gone
  }
  process.exit(status);
}

function onUnhandled(reason) {
  const failure = new Failure('Runtime.UnhandledPromiseRejection', String(reason), reason instanceof Error ? reason : undefined);
  Object.assign(failure, {reason});
  endWith(failure, 'Unhandled Promise Rejection', EXIT_UNHANDLED);
}

// Nothing is left to do.
function onEmpty() {
  if (current) {
    current.onEmpty();
  } else if (!parked) {
    const what = hookError ? 'a hook' : 'the code outside of the handler';
    reportInit(new Failure('Runtime.NodeJsExit', `nothing is left that could settle the promise that ${what} waits for`));
  }
}

function listen() {
  process.on('uncaughtException', error => endWith(error, 'Uncaught Exception', EXIT_UNCAUGHT));
  process.on('unhandledRejection', onUnhandled);
  // What follows is not to run in this listener, behind whose end the process would leave.
  process.on('beforeExit', () => setImmediate(onEmpty));
}

const turn = () => new Promise(resolve => setImmediate(resolve));

// ---- Calls ----

async function serveCall(handler, call) {
  current = call;
  log.setRequestId(call.id);
  if (call.trace) process.env._X_AMZN_TRACE_ID = call.trace;
  else delete process.env._X_AMZN_TRACE_ID;
  if (filtered) assist.call(call.number);
  setImmediate(() => call.start(handler)); // in a context of its own: what it enters there (AsyncLocalStorage) ends with it
  const outcome = await call.ended;
  await turn();
  try {
    if ('error' in outcome) throw outcome.error;
    call.answer(outcome);
  } catch (error) {
    log.printError('Invoke Error', error);
    channel.error(channel.ERROR, call.number, describe(error));
  }
  if (filtered) assist.call(0);
  current = null;
}

// ---- Around snapshots, and filters ----

function installFilter(body) {
  const r = assist.filter(body);
  if (r < 0) {
    const {getSystemErrorName} = require('util');
    reportInit(new Failure('Runtime.InitError', `the policy's filter cannot be installed: ${getSystemErrorName(r)}`));
  }
  filtered = true;
}

async function runHooks(type, hooks) {
  hookError = type;
  parked = false;
  await turn();
  try {
    await hooks();
  } catch (e) {
    reportInit(e);
  }
  await turn();
  parked = true;
  hookError = null;
}

async function park() {
  await runHooks('Runtime.BeforeSnapshotError', snapshot.runBefore);
  snapshot.shrink();
  assist.prepare();
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(snapshot.reachesAll() ? 0 : channel.NOT_RESEEDED);
  channel.send(channel.PARKED, 0, flags);
}

function applyEnvironment(text) {
  for (const pair of text.split('\0')) {
    const equals = pair.indexOf('=');
    if (equals > 0) process.env[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
}

async function restore(body) {
  if (body.length !== 120 + body.readUInt32LE(96)) throw new channel.Broken('lengths that contradict each other');
  const begin = process.hrtime.bigint();
  keepSeeds = (body.readUInt32LE(92) & 1) !== 0;
  applyEnvironment(body.toString('utf8', 120));
  readConfig(body.readUInt32LE(88));
  try {
    snapshot.reseed(assist, keepSeeds);
  } catch (e) {
    hookError = 'Runtime.AfterRestoreError';
    reportInit(e);
  }
  const middle = process.hrtime.bigint();
  await runHooks('Runtime.AfterRestoreError', snapshot.runAfter);
  const times = Buffer.alloc(16);
  times.writeBigUInt64LE(middle - begin, 0);
  times.writeBigUInt64LE(process.hrtime.bigint() - middle, 8);
  channel.send(channel.RESTORED, 0, times);
}

// ---- The loop: docs/channel.md, "Order" ----

async function serve(handler) {
  let at = 'ready';
  for (;;) {
    const frame = channel.next();
    if (frame === null || frame.type === channel.SHUTDOWN) process.exit(0);
    if (frame.type === channel.CALL && at !== 'parked') {
      at = 'called';
      await serveCall(handler, new Call(frame.call, frame.body));
    } else if (frame.type === channel.FILTER && at !== 'called' && at !== 'parked' && !filtered) {
      installFilter(frame.body);
    } else if (frame.type === channel.SNAPSHOT && at === 'ready') {
      at = 'parked';
      await park();
    } else if (frame.type === channel.RESTORE && (at === 'ready' || at === 'parked')) {
      at = 'restored';
      await restore(frame.body);
    } else if (frame.type === channel.DRAW && (at === 'ready' || at === 'restored')) {
      channel.send(channel.DRAWN, 0, snapshot.draw(assist, keepSeeds));
    } else {
      throw new channel.Broken(`a frame of type ${frame.type} out of place`);
    }
  }
}

function fail(error) {
  if (error instanceof channel.Broken) {
    process.stderr.write(`fsbox: the channel: ${error.message}\n`);
    process.exit(1);
  }
  try {
    reportInit(error);
  } catch {
    process.exit(1); // nobody is there to be told
  }
}

function setup() {
  const module = {exports: {}};
  process.dlopen(module, `${__dirname}/../assist.so`);
  assist = module.exports;
  if (assist.own() < 0) {
    process.stderr.write('no channel on descriptors 3 and 4; fsbox starts this program\n');
    process.exit(2);
  }
  process.env.AWS_EXECUTION_ENV = `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`;
  log.install();
  stream.install();
  listen();
  readConfig();
  snapshot = require('./snapshot.cjs');
  // In other cells nobody asks for a restore, and V8's own generator is the faster one.
  if (process.env.AWS_LAMBDA_INITIALIZATION_TYPE === 'snap-start') snapshot.getReady();
  globalThis.fsbox = snapshot.api;
}

async function main() {
  setup();
  parked = false;
  const handler = await require('./load.cjs').load(process.env._HANDLER, process.env.LAMBDA_TASK_ROOT || '/var/task');
  stream.isStreaming(handler);
  parked = true;
  const ready = Buffer.alloc(8);
  ready.writeUInt32LE(channel.VERSION, 0);
  ready.writeUInt32LE(channel.CAN_SNAPSHOT, 4);
  channel.send(channel.READY, 0, ready);
  await serve(handler);
}

main().catch(fail);
