export const before = 1;

export const handler = async () => {{;
