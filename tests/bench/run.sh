#!/bin/sh
# The benchmark: fsbox beside its floor, bubblewrap, runc and crun, in turns, in one run; then snapshots beside CRIU's command
# line; the runtimes; the daemon, of which daemon.py alone does single parts; fsbox-oci beside crun and runc, which is oci.sh.
# Needs root, for the groups. BENCH_ROUNDS (60), BENCH_CALLS (1000); for the daemon BENCH_CELLS (1000) and BENCH_SECONDS (5, of
# a row of its cold starts and overload).
# Prints Markdown. Asserts nothing: times belong to a machine.
set -u
cd "$(dirname "$0")/../.." || exit 1
rounds=${BENCH_ROUNDS:-60}
calls=${BENCH_CALLS:-1000}
build=$(pwd)/build
B=$build/tests/bench
[ -x "$B/bench" ] || {
	echo "run it by: make bench" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || {
	echo "the benchmark needs root: the floor and runc make groups with limits" >&2
	exit 1
}
handler=$build/examples/hello.so
[ -f "$handler" ] || handler=$build/tests/functions/echo.so
dir=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-bench.XXXXXX") || exit 1
store=
trap 'rm -rf "$dir" ${store:+"$store"}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$dir"

# ---- The floor's world: what a cell finds ready ----
mkdir -p "$dir/root/var/task" "$dir/root/var/runtime" "$dir/dev" "$dir/bin"
for d in usr proc sys dev tmp opt run etc; do
	mkdir -p "$dir/root/$d"
done
for l in bin sbin lib lib64; do
	[ ! -h "/$l" ] || ln -s "$(readlink "/$l")" "$dir/root/$l"
done
: >"$dir/root/var/task/handler.so"
: >"$dir/handler.so"
mknod -m 666 "$dir/dev/null" c 1 3
cp "$B/exit" "$dir/bin/exit"

tab=$(printf '\t')
list=$dir/contestants
words() { # NAME WORD...: a contestant
	name=$1
	shift
	printf '%s' "$name" >>"$list"
	for word in "$@"; do
		printf '%s%s' "$tab" "$word" >>"$list"
	done
	echo >>"$list"
}

words floor "$B/floor" "$dir"
if [ -x "$build/fsbox" ] && [ -f "$handler" ]; then
	words fsbox "$build/fsbox" run "$handler"
	words "fsbox-strict" "$build/fsbox" run --policy strict "$handler"
else
	echo "fsbox is left out: build/fsbox or no function is there"
fi
if bwrap=$(command -v bwrap); then
	words bwrap "$bwrap" --unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp "$B/exit"
else
	echo "bwrap is left out: it is not installed (sh tools/deps.sh bench)"
fi
mkdir -p "$dir/bundle/rootfs"
cp "$B/exit" "$dir/bundle/rootfs/exit"
for oci in runc crun; do
	if path=$(command -v $oci); then
		rm -f "$dir/bundle/config.json"
		(cd "$dir/bundle" && "$path" spec) && sed -i \
			-e 's/"terminal": true/"terminal": false/' \
			-e '/"args": \[/,/\]/c\		"args": ["/exit"],' "$dir/bundle/config.json"
		mkdir -p "$dir/$oci"
		mv "$dir/bundle/config.json" "$dir/$oci/"
		cp -r "$dir/bundle/rootfs" "$dir/$oci/"
		words $oci "$path" --root "$dir/$oci-state" run --bundle "$dir/$oci" "fsbox-bench-%d"
	else
		echo "$oci is left out: it is not installed (sh tools/deps.sh bench)"
	fi
done

echo "machine: $(uname -m), $(nproc) CPUs, Linux $(uname -r)$(sed -n 's/^model name[[:space:]]*: /, /p' /proc/cpuinfo | head -n 1)"
echo "command: make bench BENCH_ROUNDS=$rounds"
for tool in bwrap runc crun; do
	command -v $tool >/dev/null 2>&1 && echo "$tool: $($tool --version | head -n 1)"
done
echo
"$B/bench" "$rounds" "$list" --ratio fsbox:floor --ratio fsbox:bwrap --ratio runc:fsbox

[ -x "$build/fsbox" ] && [ -f "$handler" ] || exit 0

# ---- Calls to a warm cell ----
# With a whole CPU: at a smaller share the quota would be measured. The function says nothing but its answer.
warm=$build/tests/functions/echo.so
[ -f "$warm" ] || exit 0
echo
: >"$list"
words 1-call "$build/fsbox" run --mem 1769 --timeout 60 --event '{}' "$warm"
set -- --mem 1769 --timeout 60
i=0
while [ $i -le "$calls" ]; do
	set -- "$@" --event '{}'
	i=$((i + 1))
done
words "$((calls + 1))-calls" "$build/fsbox" run "$@" "$warm"
"$B/bench" "$((rounds / 4 > 5 ? rounds / 4 : 5))" "$list" --calls "1-call:$((calls + 1))-calls:$calls" | grep -v '^$'

# ---- Memory of the runtime ----
rss=$build/tests/functions/rss.so
[ -f "$rss" ] || exit 0
of() { sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB\$/\1/p" "$2"; }
"$B/bare" >"$dir/bare"
"$build/fsbox" run "$rss" >"$dir/cell" 2>/dev/null || exit 0
echo
echo "resident memory: runtime $(of VmRSS "$dir/cell") kB (anonymous $(of RssAnon "$dir/cell") kB)," \
	"a bare process $(of VmRSS "$dir/bare") kB (anonymous $(of RssAnon "$dir/bare") kB)," \
	"difference $(($(of VmRSS "$dir/cell") - $(of VmRSS "$dir/bare"))) kB"

# ---- Snapshots ----
# On the file system of the build: temporary directories may be where a new file costs a millisecond (ext4 looks for an inode
# that was not in use a moment ago).
echo
store=$(mktemp -d "$build/bench.XXXXXX") || exit 1
chmod 755 "$store"
"$B/snapshots" "$((rounds / 3 > 5 ? rounds / 3 : 5))" "$store"

# ---- Python, Node, the Runtime API ----
[ -x /usr/bin/python3 ] || exit 0
echo
/usr/bin/python3 tests/bench/runtimes.py "$build" "$((rounds / 3 > 5 ? rounds / 3 : 5))"

# ---- The daemon ----
echo
BENCH_SECONDS=${BENCH_SECONDS:-5} /usr/bin/python3 tests/bench/daemon.py "$build" "$rounds"

# ---- The OCI runtime ----
echo
sh tests/bench/oci.sh "$build" "$rounds"
