#!/bin/sh
# podman with its default on hosts with systemd: --cgroup-manager systemd, fsbox-oci as its runtime, conmon between. Needs systemd
# as PID 1. Storage and state are the test's own; no image is fetched.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
# shellcheck source=tests/lib/podman.sh
. "$(dirname "$0")/../lib/podman.sh"
ROOT=/sys/fs/cgroup

pod() {
	CONTAINERS_CONF=$TAP_DIR/containers.conf timeout 120 podman --root "$TAP_DIR/storage" --runroot "$TAP_DIR/run" --storage-driver vfs \
		--cgroup-manager systemd --events-backend file --runtime "$OCI" "$@"
}

test_an_image() {
	need_oci
	command -v podman >/dev/null || skip "no podman"
	cat >"$TAP_DIR/containers.conf" <<-EOF
		[containers]
		netns = "none"
		log_driver = "k8s-file"
		[engine]
		events_logger = "file"
	EOF
	rootfs "$TAP_DIR/rootfs"
	tar -C "$TAP_DIR/rootfs" -cf "$TAP_DIR/image.tar" .
	ok import "$TAP_DIR/image.tar" bb
}

test_run_is_in_a_scope_below_machine_slice() {
	says "0::/" run --rm bb cat /proc/self/cgroup
	says "33554432" run --rm --memory 32m bb cat /sys/fs/cgroup/memory.max
	says "17" run --rm --pids-limit 17 bb cat /sys/fs/cgroup/pids.max
	says "50000 100000" run --rm --cpus 0.5 bb cat /sys/fs/cgroup/cpu.max
	run pod run --rm bb sh -c 'exit 42'
	check_eq "$status" 42
}

test_a_days_work() {
	ok run -d --name day --memory 64m bb sleep 600
	id=$(pod inspect -f '{{.Id}}' day)
	u=libpod-$id.scope g=$ROOT/machine.slice/libpod-$id.scope
	check_eq "$(systemctl show -P MemoryMax "$u")" 67108864
	check_eq "$(cat "$g/memory.max")" 67108864
	says in exec day echo in
	ok update --memory 128m day
	check_eq "$(cat "$g/memory.max")" 134217728
	check_eq "$(systemctl show -P MemoryMax "$u")" 134217728
	ok pause day
	check_eq "$(cat "$g/cgroup.freeze")" 1
	ok unpause day
	ok stats --no-stream day
	ok top day
	ok stop -t 1 day
	ok start day
	check_eq "$(systemctl show -P ActiveState "$u")" active
	ok rm -f -t 0 day
	check_eq "$(systemctl show -P LoadState "$u")" not-found
	[ ! -e "$g" ] || fail "$g is still there"
}

test_nothing_is_left() {
	check_eq "$(systemctl list-units --all --no-legend 'libpod-*.scope' | grep -v conmon)" ""
}
run_tests
