'use strict';
// console as Lambda has it: each message is one record with time, request id and level, as text or as JSON.

const fs = require('fs');
const {format} = require('util');
const {Failure, describe} = require('./errors.cjs');

const LEVELS = {TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6};
const METHODS = {
  trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL',
};

const asJson = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
const threshold = LEVELS[(process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()] || 0;

let requestId; // of the call that is running, or ran last

function setRequestId(id) {
  requestId = id;
}

// What is printed must be out before the call ends, so it is not left to the event loop, which stands still between calls.
function writeOut(text) {
  let data = Buffer.from(text);
  while (data.length > 0) {
    try {
      data = data.subarray(fs.writeSync(1, data));
    } catch (e) {
      if (e.code !== 'EAGAIN') return; // nobody reads it any more
      // A child process shares the pipe, and has made it non-blocking.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

// For the same reason: streams on pipes write what finds no room later, from the event loop.
function makeBlocking(name) {
  const own = Object.getOwnPropertyDescriptor(process, name);
  if (!own || !own.get || !own.configurable) return;
  Object.defineProperty(process, name, {...own, get() {
    const stream = own.get.call(process);
    Object.defineProperty(process, name, own);
    if (stream._handle && typeof stream._handle.setBlocking === 'function') stream._handle.setBlocking(true);
    return stream;
  }});
}

function errorFields(error) {
  const {errorType, errorMessage, trace} = describe(error);
  const kind = error.constructor && error.constructor.name;
  return {errorType: error instanceof Failure || !kind ? errorType : kind, errorMessage, stackTrace: trace};
}

function jsonRecord(level, args) {
  const record = {timestamp: new Date().toISOString(), level, requestId};
  if (args.length < 2) {
    // An object stays one.
    const replacer = (key, value) => value instanceof Error ? {...errorFields(value), ...value} : value;
    try {
      return JSON.stringify({...record, message: args[0]}, replacer);
    } catch {
      // circular, or with a BigInt in it
    }
  }
  record.message = format(...args);
  const error = args.find(a => a instanceof Error);
  return JSON.stringify(error && args.length > 1 ? {...record, ...errorFields(error)} : record);
}

function textRecord(level, args) {
  const message = args.length === 1 && typeof args[0] === 'string' ? args[0] : format(...args);
  return `${new Date().toISOString()}\t${requestId}\t${level}\t${message}`.replace(/\n/g, '\r');
}

function print(level, args) {
  if (LEVELS[level] >= threshold) writeOut((asJson ? jsonRecord(level, args) : textRecord(level, args)) + '\n');
}

// An error that ends a call or the runtime: "…\tERROR\tInvoke Error \t{…}".
function printError(what, error) {
  if (asJson) {
    print('ERROR', [error instanceof Error ? error : new Error(describe(error).errorMessage)]);
    return;
  }
  const {errorType, errorMessage, trace} = describe(error);
  const own = error instanceof Error ? error : {};
  let text;
  try {
    text = JSON.stringify({errorType, errorMessage, code: own.code, ...own, stack: trace},
      (key, value) => value instanceof Error ? describe(value) : value);
  } catch {
    text = JSON.stringify({errorType, errorMessage, stack: trace});
  }
  print('ERROR', [`${what} \t${text}`]);
}

function install() {
  for (const [method, level] of Object.entries(METHODS)) {
    console[method] = LEVELS[level] < threshold ? () => {} : (message, ...rest) => print(level, [message, ...rest]);
  }
  makeBlocking('stdout');
  makeBlocking('stderr');
}

module.exports = {install, setRequestId, printError};
