#!/bin/sh
# Fetches and builds the software that tests/system/run_clients.sh runs unmodified in cells, into build/clients:
#
#   sh tools/clients.sh        says what it did in one line; does nothing when everything is there
#
# build/clients/ric          a package for a custom runtime: npm's aws-lambda-ric (with its C++ client, built from what the
#                            package brings), @middy/core, @aws-lambda-powertools
# build/clients/cpp/bootstrap  a program on aws-lambda-cpp, from inside that npm package
#
# Needs what `sh tools/deps.sh clients` installs, and the npm registry.
set -u
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.." || exit 1
to=build/clients
stamp=$(cat tests/clients/package.json tests/clients/package-lock.json tests/clients/*.cpp tests/clients/*js tools/clients.sh 2>/dev/null | cksum)
[ "$(cat $to/stamp 2>/dev/null)" != "$stamp" ] || {
	echo "clients.sh: $to has everything already"
	exit 0
}

say() { printf 'clients.sh: %s\n' "$*" >&2; }
command -v npm >/dev/null 2>&1 || {
	say "npm is missing: sh tools/deps.sh clients"
	exit 1
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cp tests/clients/package.json tests/clients/package-lock.json "$work/" || exit 1
# Its add-on is built against the headers of the node that is there.
[ ! -d /usr/include/node ] || {
	npm_config_nodedir=/usr
	export npm_config_nodedir
}
(cd "$work" && npm ci --no-audit --no-fund --foreground-scripts >log 2>&1) || {
	tail -n 20 "$work/log" >&2
	say "npm ci has failed"
	exit 1
}
ric=$work/node_modules/aws-lambda-ric
[ -f "$ric/dist/rapid-client.node" ] || {
	say "aws-lambda-ric has no rapid-client.node: were its install scripts run?"
	exit 1
}
deps=$ric/deps
mkdir -p "$work/to/cpp" "$work/to/ric"
g++ -O2 -o "$work/to/cpp/bootstrap" tests/clients/echo.cpp -I"$(echo "$deps"/aws-lambda-cpp-*/include)" \
	-I"$(echo "$deps"/curl-*/include)" "$deps"/aws-lambda-cpp-*/build/libaws-lambda-runtime.a "$deps"/curl-*/lib/.libs/libcurl.a \
	-lpthread >"$work/log" 2>&1 || {
	tail -n 20 "$work/log" >&2
	say "the C++ client does not build"
	exit 1
}
rm -rf "$deps" # sources and objects, which no function needs
mv "$work/node_modules" "$work/to/ric/"
cp tests/clients/app.cjs tests/clients/tools.mjs "$work/to/ric/"
# shellcheck disable=SC2016 # for the program's shell
printf '#!/bin/sh\nexec /usr/bin/node node_modules/aws-lambda-ric/bin/index.mjs "$_HANDLER"\n' >"$work/to/ric/bootstrap"
chmod 755 "$work/to/ric/bootstrap"
chmod -R o+rX "$work/to"
echo "$stamp" >"$work/to/stamp"
rm -rf $to
mkdir -p build
mv "$work/to" $to || exit 1
echo "clients.sh: $to has $(cd $to/ric && node -p 'const v = n => n + " " + require("./node_modules/" + n + "/package.json").version; [v("aws-lambda-ric"), v("@middy/core"), v("@aws-lambda-powertools/logger")].join(", ")'), and a C++ client"
