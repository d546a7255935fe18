'use strict';
// Errors as Lambda tells them.

// What the runtime itself finds wrong, with Lambda's type of it.
class Failure extends Error {
  constructor(type, message, cause) {
    super(message);
    this.name = type;
    if (cause && cause.stack) this.stack = cause.stack;
  }
}

// {errorType, errorMessage, trace}: whatever was thrown, which need not be an Error, nor behave.
function describe(error) {
  try {
    if (error instanceof Error || (error && typeof error === 'object' && typeof error.stack === 'string')) {
      const trace = String(error.stack || '').split('\n');
      return {errorType: String(error.name), errorMessage: String(error.message), trace};
    }
    return {errorType: typeof error, errorMessage: String(error), trace: []};
  } catch {
    return {errorType: 'handled', errorMessage: 'callback called with Error argument, but there was a problem while ' +
      'retrieving one or more of its message, name, and stack', trace: []};
  }
}

module.exports = {Failure, describe};
