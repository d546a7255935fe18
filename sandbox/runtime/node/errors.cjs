'use strict';
// Errors as Lambda tells them.

// What the runtime itself finds wrong, with Lambda's type of it. The stack is the cause's, where there is one.
class Failure extends Error {
  constructor(type, message, cause) {
    super(message);
    Object.defineProperty(this, 'name', {value: type});
    if (!cause) {
      this.stack = `${type}: ${message}`; // the frames would be the runtime's
    } else if (typeof cause.stack === 'string') {
      this.stack = `${type}: ${cause.stack}`;
    }
  }
}

// {errorType, errorMessage, trace}: whatever was thrown, which need not be an Error, nor behave.
function describe(error) {
  try {
    if (error instanceof Error || (error && typeof error === 'object' && typeof error.stack === 'string')) {
      const trace = typeof error.stack === 'string' ? error.stack.split('\n') : [];
      return {errorType: String(error.name), errorMessage: String(error.message), trace};
    }
    return {errorType: typeof error, errorMessage: String(error), trace: []};
  } catch {
    return {errorType: 'handled', errorMessage: 'the error cannot be read: its name, message or stack throws', trace: []};
  }
}

module.exports = {Failure, describe};
