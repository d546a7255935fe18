'use strict';
// Answers in parts: awslambda.streamifyResponse, and the stream that such a handler gets.

const channel = require('./channel.cjs');
const {Failure} = require('./errors.cjs');

// Libraries look for these, and for this value.
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const RESPONSE = 'response';

function streamifyResponse(handler, options) {
  handler[STREAMING] = RESPONSE;
  if (options && typeof options.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  return handler;
}

function isStreaming(handler) {
  const mark = handler[STREAMING];
  if (!mark) return false;
  if (mark === RESPONSE) return true;
  throw new Failure('Runtime.MalformedStreamingHandler', 'only the response can be streamed');
}

// Before the body of an answer for an HTTP front: its status and headers as JSON, then eight 0 bytes.
class HttpResponseStream {
  static from(stream, metadata) {
    stream.setContentType('application/vnd.awslambda.http-integration-response');
    stream._onBeforeFirstWrite = write => {
      write(JSON.stringify(metadata));
      write(Buffer.alloc(8));
    };
    return stream;
  }
}

// Numbers the parts and bounds their sum. Every part goes to the host when it is written: it blocks where the reader is slow.
class Sink {
  constructor(call) {
    this.call = call;
    this.sent = 0;
  }

  put(chunk) {
    const data = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.sent += data.length;
    if (this.sent > channel.MAX_PAYLOAD) {
      throw new Failure('Function.ResponseSizeTooLarge', 'Response payload size exceeded maximum allowed payload size ' +
        `(${channel.MAX_PAYLOAD} bytes).`);
    }
    if (data.length > 0) channel.send(channel.DATA, this.call, data);
  }
}

function makeStream(handler, call) {
  const {Writable} = require('stream');
  const sink = new Sink(call);
  let begun = false;

  const begin = stream => {
    if (begun) return;
    begun = true;
    if (typeof stream._onBeforeFirstWrite === 'function') stream._onBeforeFirstWrite(chunk => sink.put(chunk));
  };
  const attempt = (done, work) => {
    try {
      work();
    } catch (e) {
      done(e);
      return;
    }
    done();
  };
  const stream = new Writable({
    highWaterMark: handler[HIGH_WATER_MARK] || undefined,
    write(chunk, encoding, done) {
      attempt(done, () => {
        begin(this);
        sink.put(chunk);
      });
    },
    // An answer without a body has its status and headers all the same.
    final(done) {
      attempt(done, () => begin(this));
    },
  });
  // What is neither text nor bytes is taken for a value.
  const plain = chunk => ['string', 'function', 'undefined'].includes(typeof chunk) || chunk instanceof Uint8Array;
  for (const method of ['write', 'end']) {
    const own = stream[method];
    stream[method] = function (chunk, ...rest) {
      return own.call(this, plain(chunk) ? chunk : JSON.stringify(chunk), ...rest);
    };
  }
  stream.setContentType = type => {
    if (begun) throw new Failure('Runtime.InvalidStreamingOperation', 'the content type comes before the first part');
    stream.contentType = type;
  };
  return stream;
}

// Ends when the handler's promise has settled and the stream is finished, both.
async function run(handler, call, event, context) {
  const stream = makeStream(handler, call);
  const finished = new Promise((resolve, reject) => {
    stream.on('finish', resolve);
    stream.on('error', reject);
    stream.on('close', () => stream.writableFinished ||
      reject(new Failure('Runtime.InvalidStreamingOperation', 'the stream was destroyed before its end')));
  });
  finished.catch(() => {}); // it is looked at below, when the handler has settled
  const result = handler(event, stream, context);
  if (!result || typeof result.then !== 'function') {
    throw new Failure('Runtime.InvalidStreamingOperation', 'a handler that streams must be async');
  }
  // A handler may wait for a stream that is broken.
  if (await Promise.race([result, finished.then(() => result)]) !== undefined) {
    console.warn('What a streaming handler returns is ignored.');
  }
  await finished;
}

function install() {
  globalThis.awslambda = {streamifyResponse, HttpResponseStream};
}

module.exports = {isStreaming, run, install};
