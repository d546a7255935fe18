'use strict';
// For aws-lambda-ric and for our own runtime.
let n = 0;
exports.handler = async (event, context) => {
	if (event === 'fail') throw new TypeError('as asked');
	if (event === 'big') return 'x'.repeat(6291454);
	if (event === 'sleep') await new Promise(done => setTimeout(done, 60000));
	return {n: ++n, event, id: context.awsRequestId, left: context.getRemainingTimeInMillis()};
};
exports.stream = awslambda.streamifyResponse(async (event, stream) => {
	stream.write('one ');
	await new Promise(done => setTimeout(done, 5));
	stream.write('two');
	stream.end();
});
