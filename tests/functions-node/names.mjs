// Where a handler can be.
export const handler = async () => 'mjs';
export const a = {b: {c: async () => 'deep'}};
export const text = 'no function';
export const none = undefined;
