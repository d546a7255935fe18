import {part} from './part.js';
export const handler = async () => part;
