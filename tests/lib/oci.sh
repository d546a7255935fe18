# What the tests of fsbox-oci share, beside tap.sh: bundles with a root of busybox, and the runtime with a state of its own.
#
#     bundle b '.process.args = ["sh", "-c", "id"]'     makes $T/b from `fsbox-oci spec`, changed by a jq program
#     oci run ID --bundle $T/b                          fsbox-oci --root $T/state; streams in $T/out, $T/err, $status
#
# shellcheck shell=sh
OCI=${OCI:-$FSBOX_BUILD/fsbox-oci}
PATH=$PATH:/usr/sbin:/sbin

need_oci() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$OCI" ] || skip "no $OCI"
	busybox true 2>/dev/null || skip "no busybox (Debian package busybox-static)"
	command -v jq >/dev/null || skip "no jq"
}

# Containers, and with them groups, are named after the test's process, so that tests beside each other do not meet.
oci_id() { echo "fsbox-test-$$-$1"; }

rootfs() { # DIR: sh, and the usual small programs
	mkdir -p "$1/bin" "$1/etc" "$1/proc" "$1/sys" "$1/dev" "$1/tmp" "$1/root"
	cp "$(command -v busybox)" "$1/bin/busybox"
	for rootfs_name in sh ls cat id ps mount sleep env stat hostname grep head wc test mkdir rm ln readlink sed \
		awk tr kill touch stty umask true false nproc chmod echo pwd cut sort; do
		ln -sf busybox "$1/bin/$rootfs_name"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
	echo 'ada:x:1000:1000::/home/ada:/bin/sh' >>"$1/etc/passwd"
}

bundle() { # NAME [JQ-PROGRAM]: in $T/NAME, without a terminal, the program prints its id
	[ -d "$T/rootfs" ] || rootfs "$T/rootfs"
	mkdir -p "$T/$1"
	[ -e "$T/$1/rootfs" ] || ln -s ../rootfs "$T/$1/rootfs"
	rm -f "$T/$1/config.json"
	"$OCI" spec --bundle "$T/$1"
	jq ".process.terminal = false | .process.args = [\"id\"] | ${2:-.}" "$T/$1/config.json" >"$T/$1/new" || fail "jq: ${2-}"
	mv "$T/$1/new" "$T/$1/config.json"
}

oci() { run "$OCI" --root "$T/state" "$@"; }

oci_ok() {
	oci "$@"
	check_eq "$status" 0
}

# sh -c SCRIPT in a container of its own, whose config.json is changed by a jq program.
in_container() { # SCRIPT [JQ-PROGRAM]
	bundle in "${2:-.} | .process.args = [\"sh\", \"-c\", $(printf '%s' "$1" | jq -Rs .)]"
	oci run --bundle "$T/in" "$(oci_id in)"
}

oci_status() { # ID
	"$OCI" --root "$T/state" state "$1" | jq -r .status
}

wait_status() { # ID STATUS
	for oci_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(oci_status "$1")" != "$2" ] || return 0
		command sleep 0.1
	done
	fail "container $1 is $(oci_status "$1"), wanted $2"
}

# Nothing of this test's is left: groups, state, processes.
check_nothing_left() {
	[ ! -d "$T/state" ] || check_eq "$(ls "$T/state")" ""
	check_eq "$(find /sys/fs/cgroup -type d -name "fsbox-test-$$-*" 2>/dev/null)" ""
}

# A directory with a `criu` for engines that ask for one in PATH: that of the build tree.
criu_in() { # DIR
	mkdir -p "$1"
	for criu_loader in "$FSBOX_BUILD"/criu/lib/ld-linux-*; do :; done
	printf '#!/bin/sh\nexec %s --inhibit-cache --library-path %s %s "$@"\n' "$criu_loader" "$FSBOX_BUILD/criu/lib" \
		"$FSBOX_BUILD/criu/bin/criu" >"$1/criu"
	chmod +x "$1/criu"
}
