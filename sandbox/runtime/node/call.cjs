'use strict';
// One call: its context, the forms of handlers, how it ends.

const channel = require('./channel.cjs');
const stream = require('./stream.cjs');
const {Failure} = require('./errors.cjs');

const config = {};

// @memory: MiB that RESTORE tells; without it the environment does.
function readConfig(memory) {
  const env = process.env;
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || 'us-east-1';
  config.name = env.AWS_LAMBDA_FUNCTION_NAME;
  config.version = env.AWS_LAMBDA_FUNCTION_VERSION;
  config.memory = memory ? String(memory) : env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE;
  config.group = env.AWS_LAMBDA_LOG_GROUP_NAME;
  config.stream = env.AWS_LAMBDA_LOG_STREAM_NAME;
  config.arn = `arn:aws:lambda:${region}:012345678912:function:${config.name}`;
}

class Call {
  constructor(number, body) {
    const idEnd = 24 + body.readUInt16LE(16);
    const traceEnd = idEnd + body.readUInt16LE(18);
    if (idEnd > 24 + 128 || traceEnd > idEnd + 3072 || traceEnd + body.readUInt32LE(20) !== body.length) {
      throw new channel.Broken('lengths that contradict each other');
    }
    this.number = number;
    // By the monotonic clock: steps of the wall's do not move it.
    this.deadline = performance.now() + body.readUInt32LE(8) / 1e6 + body.readUInt32LE(12) * 4294.967296;
    this.id = body.toString('utf8', 24, idEnd);
    this.trace = body.toString('utf8', idEnd, traceEnd);
    this.event = body.toString('utf8', traceEnd);
    this.promised = false; // the handler gave a promise
    this.waiting = null; // {result} of a callback, until the event loop is empty
    this.settled = false;
    this.ended = new Promise(resolve => {
      this.end = resolve; // with {result}, {streamed} or {error}
    });
  }

  // The first outcome counts.
  settle(outcome) {
    if (this.settled) return;
    this.settled = true;
    this.end(outcome);
  }

  succeed(result) {
    this.settle({result});
  }

  fail(error) {
    this.settle({error: error === undefined || error === null ? 'handled' : error});
  }

  done(error, result) {
    if (error === undefined || error === null) this.succeed(result);
    else this.fail(error);
  }

  // The third argument of a handler: a result waits until the event loop is empty, unless the context says otherwise.
  callback(error, result) {
    if (this.waiting) return;
    if ((error === undefined || error === null) && this.context.callbackWaitsForEmptyEventLoop && !this.settled) {
      this.waiting = {result};
    } else {
      this.done(error, result);
    }
  }

  // The event loop has nothing left to do. A handler that gave no promise may be done without a word.
  onEmpty() {
    if (this.waiting) {
      this.settle(this.waiting);
    } else if (this.promised) {
      this.fail(new Failure('Runtime.NodeJsExit', 'nothing is left that could settle the promise of the handler'));
    } else {
      this.succeed(null);
    }
  }

  makeContext() {
    this.context = {
      callbackWaitsForEmptyEventLoop: true,
      functionName: config.name,
      functionVersion: config.version,
      memoryLimitInMB: config.memory,
      logGroupName: config.group,
      logStreamName: config.stream,
      invokedFunctionArn: config.arn,
      awsRequestId: this.id,
      clientContext: undefined,
      identity: undefined,
      getRemainingTimeInMillis: () => Math.max(0, Math.floor(this.deadline - performance.now())),
      done: (error, result) => this.done(error, result),
      succeed: result => this.succeed(result),
      fail: error => this.fail(error),
    };
    return this.context;
  }

  parse() {
    try {
      return JSON.parse(this.event);
    } catch (e) {
      throw new Failure('Runtime.UnmarshalError', `Unable to unmarshal input: ${e.message}`, e);
    }
  }

  // Calls the handler. Nothing is thrown: the call ends with it.
  start(handler) {
    try {
      const event = this.parse();
      this.event = null; // the text may be large
      if (stream.isStreaming(handler)) {
        this.promised = true;
        stream.run(handler, this.number, event, this.makeContext()).then(
          () => this.settle({streamed: true}), error => this.settle({error}));
        return;
      }
      const result = handler(event, this.makeContext(), (error, value) => this.callback(error, value));
      if (result && typeof result.then === 'function') {
        this.promised = true;
        result.then(value => this.succeed(value), error => this.fail(error));
      }
    } catch (error) {
      this.settle({error});
    }
  }

  // Sends the answer of an outcome that is no error.
  answer(outcome) {
    if (outcome.streamed) {
      channel.send(channel.DONE, this.number);
      return;
    }
    let text;
    try {
      text = JSON.stringify(outcome.result === undefined ? null : outcome.result);
    } catch (e) {
      throw new Failure('Runtime.MarshalError', `Unable to stringify response body: ${e.message}`, e);
    }
    if (text === undefined) text = 'null'; // functions and symbols have no JSON
    if (channel.answer(this.number, text)) return;
    throw new Failure('Function.ResponseSizeTooLarge', `Response payload size (${Buffer.byteLength(text)} bytes) exceeded ` +
      `maximum allowed payload size (${channel.MAX_PAYLOAD} bytes).`);
  }
}

module.exports = {Call, readConfig};
