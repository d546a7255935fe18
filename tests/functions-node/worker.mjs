// A thread that is there at the snapshot, unless END says that it has ended before.
import {Worker} from 'worker_threads';

const worker = new Worker(process.env.END ? '' : 'setInterval(() => {}, 10000)', {eval: true});
if (process.env.END) await new Promise(resolve => worker.on('exit', resolve));
else worker.unref();
export const handler = async () => 'with a worker';
