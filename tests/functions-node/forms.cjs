'use strict';
// The forms that handlers have, and the ways in which they end.

exports.echo = async event => event;
exports.nothing = async () => {};
exports.thenable = () => ({then: resolve => setTimeout(resolve, 1, 'thenable')});
exports.returned = () => 'a value that is no promise is not the answer';
exports.callback = (event, context, callback) => callback(null, 'now');
exports.later = (event, context, callback) => setTimeout(callback, 5, null, 'later');
exports.twice = (event, context, callback) => {
  callback(null, 'first');
  callback(null, 'second');
  callback(new Error('third'));
};
exports.both = async (event, context, callback) => {
  setTimeout(callback, 20, new Error('too late'));
  return 'promise';
};
exports.failed = (event, context, callback) => callback(new RangeError('by callback'));
exports.text = (event, context, callback) => callback('only text');

// Whether the answer waits for what is left in the event loop.
function leave() {
  const result = {waited: false};
  setTimeout(() => {
    result.waited = true;
  }, 20);
  return result;
}
exports.waits = (event, context, callback) => callback(null, leave());
exports.hurries = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false;
  callback(null, leave());
};
exports.done = (event, context) => context.done(null, leave());
exports.succeed = (event, context) => context.succeed(leave());
exports.fail = (event, context) => context.fail(new TypeError('by context'));
exports.failSilently = (event, context) => context.fail();

exports.never = async () => {
  await new Promise(() => {});
};
exports.silent = () => {};

class Odd extends Error {
  constructor(message) {
    super(message);
    this.name = 'Odd.Kind';
    this.detail = 7;
  }
}
exports.throws = async event => {
  switch (event) {
    case 'odd': throw new Odd('it is "odd"\nand ä');
    case 'text': throw 'only text';
    case 'undefined': throw undefined;
    case 'object': throw {name: 'NoError', reason: 1};
    case 'hostile': throw Object.defineProperty(new Error(''), 'message', {get() {
      throw new Error('no');
    }});
    case 'long': throw new Error('ä'.repeat(20000));
    case 'huge': throw new Error('x'.repeat(600000));
    default: throw new Error('plain');
  }
};
exports.throwsAtOnce = () => {
  throw new Odd('at once');
};

exports.unhandled = async () => {
  Promise.reject(new Odd('into the void'));
  return 'answered';
};
exports.uncaught = async () => {
  setTimeout(() => {
    throw new Odd('from a timer');
  }, 1);
  await new Promise(resolve => setTimeout(resolve, 5000));
};
exports.exits = async event => process.exit(event);

exports.answers = async event => {
  switch (event) {
    case 'bigint': return 1n;
    case 'circular': {
      const a = {};
      a.a = a;
      return a;
    }
    case 'function': return () => {};
    case 'surrogate': return '\ud800';
    case 'toJSON': return {toJSON: () => [1]};
    default: return 'x'.repeat(event);
  }
};

exports.context = async (event, context) => {
  const {done, succeed, fail, getRemainingTimeInMillis, ...plain} = context;
  const functions = [done, succeed, fail, getRemainingTimeInMillis].every(f => typeof f === 'function');
  return {...plain, functions, keys: Object.keys(context).length, trace: process.env._X_AMZN_TRACE_ID,
    engine: process.env.AWS_EXECUTION_ENV === `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`};
};
exports.remaining = async (event, context) => {
  const before = context.getRemainingTimeInMillis();
  await new Promise(resolve => setTimeout(resolve, 50));
  const after = context.getRemainingTimeInMillis();
  return before <= 3000 && before > 0 && before - after >= 45;
};
