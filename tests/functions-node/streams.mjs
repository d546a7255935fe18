// Handlers that stream their answers.
const {streamifyResponse, HttpResponseStream} = awslambda;

export const parts = streamifyResponse(async (event, stream) => {
  stream.write('one ');
  stream.write(Buffer.from('two '));
  stream.write(new Uint8Array([0, 255]));
  stream.write({three: 3});
  stream.end('end');
});
export const http = streamifyResponse(async (event, stream, context) => {
  const body = HttpResponseStream.from(stream, {statusCode: 201, headers: {a: context.awsRequestId.length}});
  body.write('body');
  body.end();
});
export const bare = streamifyResponse(async (event, stream) => {
  HttpResponseStream.from(stream, {statusCode: 204}).end();
});
export const late = streamifyResponse(async (event, stream) => {
  stream.end('all of it');
  await new Promise(resolve => setTimeout(resolve, 20));
  throw new RangeError('behind the end');
});
export const slow = streamifyResponse(async (event, stream) => {
  stream.write('first');
  await new Promise(resolve => setTimeout(resolve, 50));
  stream.end('second');
});
export const middle = streamifyResponse(async (event, stream) => {
  stream.write('some');
  throw new RangeError('in the middle');
});
export const open = streamifyResponse(async (event, stream) => {
  stream.write('never ended');
});
export const destroyed = streamifyResponse(async (event, stream) => {
  stream.destroy();
});
export const plain = streamifyResponse((event, stream) => {
  stream.end('not async');
});
export const valued = streamifyResponse(async (event, stream) => {
  stream.end('streamed');
  return 'a value';
});
export const typed = streamifyResponse(async (event, stream) => {
  stream.setContentType('text/plain');
  stream.write('x');
  stream.setContentType('text/html');
});
export const large = streamifyResponse(async (event, stream) => {
  const part = Buffer.alloc(1048576, 'z');
  for (let i = 0; i < event; i++) {
    if (!stream.write(part)) await new Promise(resolve => stream.once('drain', resolve));
  }
  stream.end();
}, {highWaterMark: 65536});
export const malformed = async () => {};
malformed[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request';
export const mark = async () => [parts[Symbol.for('aws.lambda.runtime.handler.streaming')],
  large[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')]];
