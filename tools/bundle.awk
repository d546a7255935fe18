# Joins CommonJS files into one program: awk -f tools/bundle.awk MODULE... MAIN. Each keeps a scope of its own; require() of
# one that is in here, './NAME', gives it, and runs it when it is first asked for. One file is found, read and compiled in a
# fraction of the time that several take.
function name(path) {
	sub(/.*\//, "./", path)
	return path
}
FNR == 1 {
	if (NR == 1)
		print "'use strict';\n// Made of sandbox/runtime/node by tools/bundle.awk.\nconst bundled = {"
	else
		print "},"
	print "'" name(FILENAME) "': function (module, exports, require) {"
	main = name(FILENAME)
}
{ print }
END {
	print "},\n};"
	print "const loaded = {};"
	print "function bundledRequire(name) {"
	print "  if (!Object.hasOwn(bundled, name)) return require(name);"
	print "  if (!loaded[name]) {"
	print "    loaded[name] = {exports: {}};"
	print "    bundled[name](loaded[name], loaded[name].exports, bundledRequire);"
	print "  }"
	print "  return loaded[name].exports;"
	print "}"
	print "bundledRequire.resolve = require.resolve;"
	print "bundledRequire('" main "');"
}
