// A function for Node.js: an answer as an object, a line for the log, a failure of its own.

export const handler = async (event, context) => {
  if (!event.name) throw new RangeError('who is to be greeted? the event has no name');
  console.log(`greeting ${event.name}, ${context.getRemainingTimeInMillis()} ms left`);
  return {message: `Hello, ${event.name}!`};
};
