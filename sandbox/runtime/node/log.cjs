'use strict';
// console as Lambda has it: each message is one record with time, request id and level, as text or as JSON.

const LEVELS = {TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6};

const asJson = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
const threshold = LEVELS[(process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()] || 0;

let requestId = ''; // of the call that is running

function setRequestId(id) {
  requestId = id;
}

function errorFields(error) {
  const {describe} = require('./errors.cjs');
  const {errorType, errorMessage, trace} = describe(error);
  return {errorType, errorMessage, stackTrace: trace};
}

function jsonRecord(level, args) {
  const record = {timestamp: new Date().toISOString(), level, requestId: requestId || undefined};
  const error = args.find(a => a instanceof Error);
  if (args.length === 1 && typeof args[0] === 'object' && args[0] !== null && !error) {
    record.message = args[0];
  } else {
    record.message = require('util').format(...args);
  }
  if (error) Object.assign(record, errorFields(error));
  const seen = new WeakSet();
  return JSON.stringify(record, (key, value) => {
    if (typeof value === 'bigint') return value.toString();
    if (value instanceof Error) return errorFields(value);
    if (typeof value === 'object' && value !== null) {
      if (seen.has(value)) return '[Circular]';
      seen.add(value);
    }
    return value;
  });
}

function textRecord(level, args) {
  const message = args.length === 1 && typeof args[0] === 'string' ? args[0] : require('util').format(...args);
  return `${new Date().toISOString()}\t${requestId || 'undefined'}\t${level}\t${message}`.replace(/\n/g, '\r');
}

function print(level, args) {
  if (LEVELS[level] < threshold) return;
  process.stdout.write((asJson ? jsonRecord(level, args) : textRecord(level, args)) + '\n');
}

// An error that ends a call or the runtime: "…\tERROR\tInvoke Error \t{…}".
function printError(what, {errorType, errorMessage, trace}) {
  if (asJson) {
    print('ERROR', [Object.assign({}, {errorType, errorMessage, stackTrace: trace})]);
  } else {
    print('ERROR', [`${what} \t${JSON.stringify({errorType, errorMessage, stack: trace})}`]);
  }
}

function install() {
  const methods = {log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE', fatal: 'FATAL'};
  for (const [name, level] of Object.entries(methods)) console[name] = (...args) => print(level, args);
}

module.exports = {install, setRequestId, printError};
