#!/bin/sh
# Generated bundles on fsbox-oci and on runc: what the process finds is the same, or the difference is explained
# (tests/lib/oci_bundles.py). FSBOX_OCI_BUNDLES is the number (40), FSBOX_OCI_SEED where the generator begins (1).
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

test_generated_bundles_find_the_same_on_runc() {
	need_oci
	command -v runc >/dev/null || skip "no runc (Debian package runc)"
	[ ! -e /sys/fs/cgroup/cgroup.controllers ] || skip_host "the probe looks at v1's files"
	chmod 755 "$TAP_DIR" "$T"
	rootfs "$T/rootfs"
	run timeout 500 python3 "$FSBOX_SRC/tests/lib/oci_bundles.py" "$T" "${FSBOX_OCI_BUNDLES:-40}" "${FSBOX_OCI_SEED:-1}" \
		"$OCI --root $T/state" "runc --root $T/peer"
	check_eq "$status" 0
	note "$(cat "$T/out")"
	check_nothing_left
}

run_tests "$@"
