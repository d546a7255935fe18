export const before = 1;

export const handler = async () => 1 1;
