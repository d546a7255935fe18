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
	trap oci_end_all EXIT # of the test's own shell: what a failed test leaves would be in the way of the next
}

oci_end_all() {
	for oci_left in "$T/state"/*/; do
		[ ! -d "$oci_left" ] || "$OCI" --root "$T/state" delete -f "$(basename "$oci_left")" >/dev/null 2>&1 || :
	done
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
	[ -e "$TAP_DIR/config.json" ] || "$OCI" spec --bundle "$TAP_DIR"
	jq ".process.terminal = false | .process.args = [\"id\"] | ${2:-.}" "$TAP_DIR/config.json" >"$T/$1/new" || fail "jq: ${2-}"
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

oci_pid() { # ID: of its process, as the host sees it
	"$OCI" --root "$T/state" state "$1" | jq -r .pid
}

# create refuses the changed config.json with one line that has TEXT, and makes no container.
refused() { # JQ-PROGRAM TEXT
	bundle refused "$1"
	oci create --bundle "$T/refused" "$(oci_id refused)"
	[ "$status" = 1 ] || fail "exit status $status of create with $1"
	check_contains "$T/err" "$2"
	check_eq "$(wc -l <"$T/err")" 1
	[ ! -e "$T/state/$(oci_id refused)" ] || fail "a container is left of: $1"
}

oci_v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; } # this machine has pure cgroup v2

# A file of the container's group: by its name on v2, or by controller and name on v1. Empty where there is none.
group_file() { # ID V1-CONTROLLER V1-FILE V2-FILE
	if oci_v2; then
		find /sys/fs/cgroup -path "*/$1/$4" -exec cat {} +
	else
		find "/sys/fs/cgroup/$2" -path "*/$1/$3" -exec cat {} + 2>/dev/null
	fi
}
