export const part = 'module by package.json';
