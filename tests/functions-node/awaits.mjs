const value = await new Promise(resolve => setTimeout(resolve, 5, 'awaited'));
export const handler = async () => value;
