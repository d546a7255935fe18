'use strict';
// From "src/app.handler" to the function: CommonJS and modules, by extension and package.json.

const fs = require('fs');
const path = require('path');
const {Failure} = require('./errors.cjs');

function isFile(name) {
  try {
    return fs.statSync(name).isFile();
  } catch {
    return false;
  }
}

// Node decides what a .js file is by the nearest package.json.
function isModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (!file.endsWith('.js')) return false;
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    let text = null;
    try {
      text = fs.readFileSync(path.join(dir, 'package.json'), 'utf8');
    } catch {
      // none here
    }
    if (text !== null) {
      try {
        return JSON.parse(text).type === 'module';
      } catch {
        return false;
      }
    }
    if (dir === path.dirname(dir)) return false;
  }
}

// The file and the names of the function in it. A file's name may have dots as well: the shortest that exists.
function find(handler, root) {
  if (!handler || handler.includes('..')) {
    throw new Failure('Runtime.MalformedHandlerName', `'${handler}' is not a valid handler name. Use absolute paths or FILE.FUNCTION.`);
  }
  const dir = path.resolve(root, path.dirname(handler));
  const base = path.basename(handler);
  const tried = [];
  for (let dot = base.indexOf('.'); dot > 0 && dot < base.length - 1; dot = base.indexOf('.', dot + 1)) {
    const stem = path.join(dir, base.slice(0, dot));
    for (const extension of ['', '.js', '.mjs', '.cjs']) {
      if (isFile(stem + extension)) return {file: stem + extension, names: base.slice(dot + 1).split('.')};
    }
    tried.push(base.slice(0, dot));
  }
  if (tried.length === 0) throw new Failure('Runtime.MalformedHandlerName', 'Bad handler: FILE.FUNCTION is expected');
  throw new Failure('Runtime.ImportModuleError', `Error: Cannot find module '${tried[0]}'`);
}

async function loadFile(file) {
  if (!isModule(file)) return require(file);
  return import(require('url').pathToFileURL(file).href);
}

async function load(handler, root) {
  const {file, names} = find(handler, root);
  let found;
  try {
    found = await loadFile(file);
  } catch (e) {
    if (e instanceof SyntaxError) {
      throw new Failure('Runtime.UserCodeSyntaxError', e.toString(), e);
    } else if (e && typeof e.code === 'string' && /^(ERR_)?MODULE_NOT_FOUND$/.test(e.code)) {
      throw new Failure('Runtime.ImportModuleError', e.toString(), e);
    }
    throw e;
  }
  for (const name of names) found = found === undefined || found === null ? undefined : found[name];
  if (found === undefined || found === null) {
    throw new Failure('Runtime.HandlerNotFound', `${handler} is undefined or not exported`);
  }
  if (typeof found !== 'function') throw new Failure('Runtime.HandlerNotFound', `${handler} is not a function`);
  return found;
}

module.exports = {load};
