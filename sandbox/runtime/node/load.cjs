'use strict';
// From "src/app.handler" to the function: CommonJS and modules, by extension and package.json.

const fs = require('fs');
const path = require('path');
const {isModuleNamespaceObject} = require('util').types;
const {Failure} = require('./errors.cjs');

// Newer versions strip the types.
const EXTENSIONS = ['', '.js', '.mjs', '.cjs', ...(process.features.typescript ? ['.ts', '.mts', '.cts'] : [])];

function isFile(name) {
  const found = fs.statSync(name, {throwIfNoEntry: false});
  return found !== undefined && found.isFile();
}

// Node decides what a .js file is by the nearest package.json.
function isModule(file) {
  if (/\.m[jt]s$/.test(file)) return true;
  if (!/\.[jt]s$/.test(file)) return false;
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    const description = path.join(dir, 'package.json');
    if (isFile(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (dir === path.dirname(dir) || path.basename(dir) === 'node_modules') return false;
  }
}

// What require() would find at this place: a folder with an index.js, a package.
function findAsRequired(name, root, dir) {
  for (const request of [path.join(dir, name), name]) {
    try {
      const file = require.resolve(request, {paths: [root, dir]});
      if (path.isAbsolute(file)) return file; // and not a module of Node's own
    } catch {
      // not this one
    }
  }
  return null;
}

// The file and the names of the function in it. A file's name may have dots as well: the shortest that exists.
function find(handler, root) {
  if (!handler || handler.includes('..')) {
    throw new Failure('Runtime.MalformedHandlerName', `'${handler}' is not a valid handler name: FILE.FUNCTION is expected`);
  }
  const dir = path.resolve(root, path.dirname(handler));
  const base = path.basename(handler);
  const tried = [];
  for (let dot = base.indexOf('.'); dot > 0 && dot < base.length - 1; dot = base.indexOf('.', dot + 1)) {
    const stem = path.join(dir, base.slice(0, dot));
    for (const extension of EXTENSIONS) {
      if (isFile(stem + extension)) return {file: stem + extension, names: base.slice(dot + 1).split('.')};
    }
    tried.push(base.slice(0, dot));
  }
  if (tried.length === 0) {
    throw new Failure('Runtime.MalformedHandlerName', `'${handler}' is not a valid handler name: FILE.FUNCTION is expected`);
  }
  const file = findAsRequired(tried[0], root, dir);
  if (!file) {
    throw new Failure('Runtime.ImportModuleError', `Error: Cannot find module '${tried[0]}' in '${dir}' (tried: ` +
      `${tried.map(name => `${name}{${EXTENSIONS.join()}}`).join(' ')})`);
  }
  return {file, names: base.slice(tried[0].length + 1).split('.')};
}

// Where require() takes modules as well, it is several milliseconds faster than import(), which starts a loader of its own.
// It refuses those with an await at their top, before it runs a line of them.
function requireModule(file) {
  const {emitWarning} = process;
  const filtered = function (warning, ...rest) {
    // That this is experimental is nothing for the function's log.
    if (!/require\(\)/.test(warning) || rest[0] !== 'ExperimentalWarning') emitWarning.call(process, warning, ...rest);
  };
  process.emitWarning = filtered;
  try {
    const found = require(file);
    return isModuleNamespaceObject(found) ? found : null;
  } catch (e) {
    if (e && (e.code === 'ERR_REQUIRE_ASYNC_MODULE' || e.code === 'ERR_REQUIRE_ESM')) return null;
    throw e;
  } finally {
    if (process.emitWarning === filtered) process.emitWarning = emitWarning;
  }
}

async function loadFile(file) {
  if (!isModule(file)) {
    try {
      return require(file);
    } catch (e) {
      // A module after all: Node looks at the syntax of files that no package.json tells about.
      if (!e || (e.code !== 'ERR_REQUIRE_ASYNC_MODULE' && e.code !== 'ERR_REQUIRE_ESM')) throw e;
    }
  } else if (process.features.require_module) {
    const found = requireModule(file);
    if (found) return found;
  }
  return import(require('url').pathToFileURL(file).href);
}

// Of a module that cannot be parsed Node keeps the place to itself, and shows it only where the error ends the process.
function withPlace(e, file) {
  const text = String(e.stack);
  if (/^(file:\/\/)?\/.*:\d+$/m.test(text) || text.includes(path.dirname(file))) return e;
  const {spawnSync} = require('child_process');
  const {stderr} = spawnSync(process.execPath, ['--check', file], {encoding: 'utf8', timeout: 3000, env: {}});
  const end = String(stderr).indexOf(`\n${e.name}`);
  if (end > 0 && stderr.startsWith(file)) e.stack = stderr.slice(0, end + 1) + text;
  return e;
}

function asFailure(e, file) {
  if (e instanceof SyntaxError) return new Failure('Runtime.UserCodeSyntaxError', e.toString(), withPlace(e, file));
  if (e && typeof e === 'object' && /^(ERR_)?MODULE_NOT_FOUND$/.test(e.code)) {
    return new Failure('Runtime.ImportModuleError', e.toString(), e);
  }
  return e;
}

async function load(handler, root) {
  const {file, names} = find(handler, root);
  let found;
  try {
    found = await loadFile(file);
  } catch (e) {
    throw asFailure(e, file);
  }
  for (const name of names) found = found === undefined || found === null ? undefined : found[name];
  if (found === undefined || found === null) {
    throw new Failure('Runtime.HandlerNotFound', `${handler} is undefined or not exported`);
  }
  if (typeof found !== 'function') throw new Failure('Runtime.HandlerNotFound', `${handler} is not a function`);
  return found;
}

module.exports = {load};
