// @middy/core around a handler that logs, counts and traces with @aws-lambda-powertools.
import middy from '@middy/core';
import {Logger} from '@aws-lambda-powertools/logger';
import {Metrics, MetricUnit} from '@aws-lambda-powertools/metrics';
import {Tracer} from '@aws-lambda-powertools/tracer';

const logger = new Logger({serviceName: 'clients'});
const metrics = new Metrics({namespace: 'clients', serviceName: 'clients'});
const tracer = new Tracer({serviceName: 'clients', enabled: false});

export const handler = middy(async (event, context) => {
	logger.addContext(context);
	logger.info('called', {event});
	metrics.captureColdStartMetric();
	metrics.addMetric('calls', MetricUnit.Count, 1);
	metrics.publishStoredMetrics();
	if (event === 'fail') throw new RangeError('as asked');
	return {traced: tracer.isTracingEnabled(), left: context.getRemainingTimeInMillis() > 0};
}).onError(request => {
	if (request.event === 'fail') request.response = {caught: request.error.name};
});
