'use strict';
// Answers in parts: awslambda.streamifyResponse, and the stream that such a handler gets.

const channel = require('./channel.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

function streamifyResponse(handler, options) {
  handler[STREAMING] = options && options.highWaterMark ? options : true;
  return handler;
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

// Every part goes to the host when it is written: it blocks where the reader is slow.
function makeStream(call) {
  const {Writable} = require('stream');
  let sent = 0;

  const put = chunk => {
    const data = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    sent += data.length;
    if (sent > channel.MAX_PAYLOAD) {
      const {Failure} = require('./errors.cjs');
      const limit = `maximum allowed payload size (${channel.MAX_PAYLOAD} bytes).`;
      throw new Failure('Function.ResponseSizeTooLarge', `Response payload size exceeded ${limit}`);
    }
    if (data.length > 0) channel.send(channel.DATA, call, data);
  };
  const stream = new Writable({
    write(chunk, encoding, done) {
      try {
        if (this._onBeforeFirstWrite) {
          const before = this._onBeforeFirstWrite;
          this._onBeforeFirstWrite = null;
          before(put);
        }
        put(chunk);
        done();
      } catch (e) {
        done(e);
      }
    },
  });
  stream.setContentType = type => {
    stream.contentType = type;
  };
  return stream;
}

function install() {
  globalThis.awslambda = {streamifyResponse, HttpResponseStream};
}

module.exports = {STREAMING, makeStream, install};
