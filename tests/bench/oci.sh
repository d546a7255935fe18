#!/bin/sh
# fsbox-oci beside crun and runc: run, the steps of an engine, exec, a hundred at once, memory (oci.c). First in a mount
# namespace that shows cgroup2 alone, because crun refuses hosts with both, then on the host as it is.
#
#     sh tests/bench/oci.sh BUILD ROUNDS
set -u
build=$(cd "$1" && pwd) || exit 1
rounds=$2
B=$build/tests/bench
dir=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-bench-oci.XXXXXX") || exit 1
state=$dir/state
# Runtimes keep their state below /run, which is in memory wherever systemd boots; here it may be on a disk.
for memory in /run /dev/shm; do
	[ "$(stat -f -c %T "$memory")" = tmpfs ] && state=$(mktemp -d "$memory/fsbox-bench-oci.XXXXXX") && break
done
trap 'rm -rf "$dir" "$state"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$dir"

[ -x "$build/fsbox-oci" ] || {
	echo "fsbox-oci is left out: build/fsbox-oci is not there"
	exit 0
}
# The bundle is what `runc spec` writes, with another program and no terminal; ours writes the same where there is no runc.
# Without CAP_SYS_RESOURCE crun cannot load the program that device rules are on cgroup2, so there are none in the bundle
# (fsbox-oci and runc load one all the same).
mkdir -p "$dir/rootfs" "$dir/run" "$dir/hold"
cp "$B/exit" "$B/hold" "$dir/rootfs/"
for program in run:exit hold:hold; do
	bundle=$dir/${program%%:*}
	(cd "$bundle" && { runc spec 2>/dev/null || "$build/fsbox-oci" spec; }) || exit 1
	sed -i -e 's/"terminal": true/"terminal": false/' -e "s|\"path\": \"rootfs\"|\"path\": \"$dir/rootfs\"|" \
		-e "/\"args\": \\[/,/\\]/c\\		\"args\": [\"/${program#*:}\"]," \
		-e '/"devices": \[/,/\]/d' "$bundle/config.json"
done
set -- "fsbox-oci=$build/fsbox-oci"
for tool in crun runc; do
	if path=$(command -v $tool); then
		set -- "$@" "$tool=$path"
		echo "$tool: $($tool --version | head -n 1)"
	else
		echo "$tool is left out: it is not installed (sh tools/deps.sh bench)"
	fi
done
echo "command: sh tests/bench/oci.sh build $rounds"
if [ -d /sys/fs/cgroup/unified ]; then
	echo
	echo "In a mount namespace with cgroup2 alone (no controllers there: no limits are written)"
	"$B/oci" --only-v2 "$rounds" "$dir" "$state" "$@"
fi
echo
echo "On the host as it is"
"$B/oci" "$rounds" "$dir" "$state" "$@"
