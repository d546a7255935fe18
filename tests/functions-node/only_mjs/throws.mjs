throw new RangeError('at the top');
export const handler = async () => 1;
