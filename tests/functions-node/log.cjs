'use strict';
// console, and the streams below it.

exports.levels = async () => {
  for (const method of ['trace', 'debug', 'info', 'log', 'warn', 'error', 'fatal']) console[method](`by ${method}`);
};
exports.lines = async () => console.log('one\ntwo\n%s %d', 'three', 4, {five: 6});
exports.values = async () => {
  const circular = {n: 1n};
  circular.self = circular;
  console.log({a: [1, {b: 'c'}]});
  console.log('with %s', 'words', new RangeError('second'));
  console.error(Object.assign(new TypeError('alone'), {code: 'E_CODE'}));
  console.log(circular);
  console.log('a\nb');
};
exports.much = async event => {
  const text = 'y'.repeat(500000);
  if (event === 'console') console.log(`${text}END`);
  else process[event].write(`${text}END\n`);
};
exports.order = async () => {
  process.stdout.write('1\n');
  console.log('2');
  process.stderr.write('3\n');
  console.log('4');
};
