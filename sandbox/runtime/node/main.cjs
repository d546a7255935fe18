'use strict';
// fsbox's runtime for Node.js functions: docs/runtimes.md; its side of the channel: docs/channel.md.
//
//   main      the loop: loads the handler, takes frames, answers
//   channel   frames over descriptors 3 and 4
//   load      from _HANDLER to the function
//   errors    errors as Lambda tells them
//   log       console as Lambda has it
//   stream    answers in parts
//   snapshot  hooks, reseeding, draws
//
// Between calls it is blocked in a read of the channel, so nothing of the function runs; while a handler is waited for, the
// event loop turns. Works with Node 18 and newer.

const channel = require('./channel.cjs');
const log = require('./log.cjs');
const {Failure, describe} = require('./errors.cjs');
const stream = require('./stream.cjs');

const EXIT_UNCAUGHT = 129;
const EXIT_UNHANDLED = 128;

let assist; // the N-API face of runtime/assist
let snapshot = null; // loaded where a snapshot may come
let keepSeeds = false;
let filtered = false;
let current = null; // the call that is running
let phase = 'init';

// ---- Errors that end something ----

function reportInit(error) {
  const found = describe(error);
  log.printError(error instanceof Failure ? 'Uncaught Exception' : 'Uncaught Exception', found);
  channel.error(channel.INIT_ERROR, 0, found.errorType, found.errorMessage, JSON.stringify(found));
  process.exit(1);
}

// The process cannot be relied on any more: it says so in the call that is running, and ends.
function endWith(error, status) {
  if (phase !== 'serving' || !current) reportInit(error);
  const found = describe(error);
  log.printError('Uncaught Exception', found);
  channel.error(channel.ERROR, current.number, found.errorType, found.errorMessage, JSON.stringify(found));
  process.exit(status);
}

process.on('uncaughtException', error => endWith(error, EXIT_UNCAUGHT));
process.on('unhandledRejection', (reason, promise) => {
  const failure = new Failure('Runtime.UnhandledPromiseRejection', reason instanceof Error ? reason.toString() : String(reason),
    reason instanceof Error ? reason : undefined);
  endWith(failure, EXIT_UNHANDLED);
});

// ---- The context ----

const config = {};

function readConfig() {
  const env = process.env;
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || 'us-east-1';
  config.name = env.AWS_LAMBDA_FUNCTION_NAME;
  config.version = env.AWS_LAMBDA_FUNCTION_VERSION;
  config.memory = env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE;
  config.group = env.AWS_LAMBDA_LOG_GROUP_NAME;
  config.stream = env.AWS_LAMBDA_LOG_STREAM_NAME;
  config.arn = `arn:aws:lambda:${region}:012345678912:function:${config.name}`;
}

function makeContext(call) {
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionName: config.name,
    functionVersion: config.version,
    memoryLimitInMB: config.memory,
    logGroupName: config.group,
    logStreamName: config.stream,
    invokedFunctionArn: config.arn,
    awsRequestId: call.id,
    clientContext: undefined,
    identity: undefined,
    // By the monotonic clock: steps of the wall's do not move it.
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(call.deadline - performance.now())),
  };
  call.context = context;
  context.done = (error, result) => call.callback(error, result);
  context.succeed = result => call.callback(null, result);
  context.fail = error => call.callback(error === undefined || error === null ? 'handled' : error);
  return context;
}

// ---- One call ----

class Call {
  constructor(number, body) {
    const idEnd = 24 + body.readUInt16LE(16);
    const traceEnd = idEnd + body.readUInt16LE(18);
    if (traceEnd + body.readUInt32LE(20) !== body.length) throw new channel.Broken('lengths that contradict each other');
    this.number = number;
    this.deadline = performance.now() + body.readUInt32LE(8) / 1e6 + body.readUInt32LE(12) * 4294.967296;
    this.id = body.toString('utf8', 24, idEnd);
    this.trace = body.toString('utf8', idEnd, traceEnd);
    this.event = body.toString('utf8', traceEnd);
    this.promised = false; // the handler gave a promise, and that alone counts
    this.settled = false;
    this.ended = new Promise(resolve => {
      this.end = resolve;
    });
  }

  // The first outcome counts.
  settle(outcome) {
    if (this.settled) return;
    this.settled = true;
    this.outcome = outcome;
    this.end();
  }

  // Of the older form: it answers when the event loop is empty, unless the context says otherwise.
  callback(error, result) {
    if (this.settled || this.waiting) return;
    const outcome = error === null || error === undefined ? {result} : {error};
    if (this.context.callbackWaitsForEmptyEventLoop && !outcome.error) {
      this.waiting = outcome;
    } else {
      this.settle(outcome);
    }
  }

  // The event loop has nothing left to do.
  onEmpty() {
    if (this.settled) return;
    if (this.waiting) {
      this.settle(this.waiting);
    } else if (this.promised) {
      this.settle({error: new Failure('Runtime.NodeJsExit',
        'the handler returned a promise that nothing is left to settle')});
    } else {
      this.settle({result: null});
    }
  }
}

function marshal(result) {
  let text;
  try {
    text = JSON.stringify(result === undefined ? null : result);
  } catch (e) {
    throw new Failure('Runtime.MarshalError', `Unable to stringify response body: ${e.message}`, e);
  }
  const data = Buffer.from(text === undefined ? 'null' : text);
  if (data.length > channel.MAX_PAYLOAD) {
    throw new Failure('Function.ResponseSizeTooLarge', `Response payload size (${data.length} bytes) exceeded ` +
      `maximum allowed payload size (${channel.MAX_PAYLOAD} bytes).`);
  }
  return data;
}

function parseEvent(call) {
  try {
    return JSON.parse(call.event);
  } catch (e) {
    throw new Failure('Runtime.UnmarshalError', `Unable to unmarshal input: ${e.message}`, e);
  }
}

function invokeStreaming(handler, call, event) {
  const out = stream.makeStream(call.number);
  out.on('error', error => call.settle({error}));
  out.on('finish', () => call.settle({streamed: true}));
  const result = handler(event, out, makeContext(call));
  if (!result || typeof result.then !== 'function') {
    throw new Failure('Runtime.InvalidStreamingOperation', 'Streaming does not support non-async handlers.');
  }
  call.promised = true;
  result.then(undefined, error => call.settle({error}));
}

function invoke(handler, call) {
  const event = parseEvent(call);
  if (handler[stream.STREAMING]) {
    invokeStreaming(handler, call, event);
    return;
  }
  const result = handler(event, makeContext(call), (error, value) => call.callback(error, value));
  if (result && typeof result.then === 'function') {
    call.promised = true;
    result.then(value => call.settle({result: value}), error => call.settle({error}));
  }
}

async function serveCall(handler, frame) {
  const call = new Call(frame.call, frame.body);
  current = call;
  log.setRequestId(call.id);
  if (call.trace) process.env._X_AMZN_TRACE_ID = call.trace;
  else delete process.env._X_AMZN_TRACE_ID;
  if (filtered) assist.call(call.number);
  try {
    invoke(handler, call);
    await call.ended;
    if ('error' in call.outcome) throw call.outcome.error;
    if (call.outcome.streamed) channel.send(channel.DONE, call.number);
    else channel.answer(call.number, marshal(call.outcome.result));
  } catch (error) {
    const found = describe(error);
    log.printError('Invoke Error', found);
    channel.error(channel.ERROR, call.number, found.errorType, found.errorMessage, JSON.stringify(found));
  }
  if (filtered) assist.call(0);
  current = null;
}

process.on('beforeExit', () => {
  // What follows is not to run in this listener, behind whose end the process would leave.
  if (current) setImmediate(() => current && current.onEmpty());
});

// ---- Around snapshots, and filters ----

function installFilter(body) {
  const r = assist.filter(body);
  if (r < 0) {
    const text = require('util').getSystemErrorName(r);
    reportInit(new Failure('Runtime.InitError', `the policy's filter cannot be installed: ${text}`));
  }
  filtered = true;
}

function hookFailed(type, error) {
  const found = describe(error);
  const failure = new Failure(type, `${found.errorType}: ${found.errorMessage}`);
  failure.stack = found.trace.join('\n');
  reportInit(failure);
}

async function park() {
  try {
    await snapshot.runBefore();
  } catch (e) {
    hookFailed('Runtime.BeforeSnapshotError', e);
  }
  if (global.gc) global.gc();
  assist.prepare();
  channel.send(channel.PARKED);
}

function applyEnvironment(env) {
  for (const pair of env.toString('utf8').split('\0')) {
    const equals = pair.indexOf('=');
    if (equals > 0) process.env[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
}

async function restore(body) {
  if (body.length < 120 || body.length !== 120 + body.readUInt32LE(96)) throw new channel.Broken('a malformed restore');
  const begin = process.hrtime.bigint();
  keepSeeds = (body.readUInt32LE(92) & 1) !== 0;
  let middle = begin;
  try {
    applyEnvironment(body.subarray(120));
    readConfig();
    snapshot.reseed(assist, keepSeeds);
    middle = process.hrtime.bigint();
    await snapshot.runAfter();
  } catch (e) {
    hookFailed('Runtime.AfterRestoreError', e);
  }
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
    if (frame.type === channel.CALL && frame.call !== 0 && at !== 'parked') {
      at = 'called';
      await serveCall(handler, frame);
    } else if (frame.type === channel.FILTER && at !== 'called') {
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
  if (error && error.code === 'EPIPE') process.exit(1); // nobody is there to be told
  if (error instanceof channel.Broken) {
    process.stderr.write(`fsbox: the channel: ${error.message}\n`);
    process.exit(1);
  }
  reportInit(error);
}

function setup() {
  const module = {exports: {}};
  process.dlopen(module, require('path').join(__dirname, '..', 'assist.so'));
  assist = module.exports;
  if (assist.own() < 0) {
    process.stderr.write('no channel on descriptors 3 and 4; fsbox starts this program\n');
    process.exit(2);
  }
  snapshot = require('./snapshot.cjs');
  // In other cells nobody asks for a restore, and V8's own generator is the faster one.
  if (process.env.AWS_LAMBDA_INITIALIZATION_TYPE === 'snap-start') snapshot.replaceRandom();
  globalThis.fsbox = snapshot.api;
  process.env.AWS_EXECUTION_ENV = `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`;
  log.install();
  stream.install();
  readConfig();
}

async function main() {
  setup();
  const handler = await require('./load.cjs').load(process.env._HANDLER, process.env.LAMBDA_TASK_ROOT || '/var/task');
  const ready = Buffer.alloc(8);
  ready.writeUInt32LE(channel.VERSION, 0);
  ready.writeUInt32LE(channel.CAN_SNAPSHOT, 4);
  phase = 'serving';
  channel.send(channel.READY, 0, ready);
  await serve(handler);
}

main().catch(fail);
