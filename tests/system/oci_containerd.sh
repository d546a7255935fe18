#!/bin/sh
# containerd's stock shim with fsbox-oci instead of runc. The daemon, its storage and its sockets are the test's own.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

ctl() { timeout 60 ctr -a "$TAP_DIR/cd/s" "$@"; }

# An image archive in docker's form, made by hand, so that podman is not needed.
make_image() {
	rootfs "$TAP_DIR/rootfs"
	mkdir -p "$TAP_DIR/img/l"
	tar -C "$TAP_DIR/rootfs" -cf "$TAP_DIR/img/l/layer.tar" .
	sum=$(sha256sum "$TAP_DIR/img/l/layer.tar" | cut -d ' ' -f 1)
	echo "{\"architecture\":\"$(dpkg --print-architecture 2>/dev/null || echo amd64)\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"sh\"],\"Env\":[\"PATH=/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$sum\"]}}" >"$TAP_DIR/img/config.json"
	echo '[{"Config":"config.json","RepoTags":["localhost/bb:latest"],"Layers":["l/layer.tar"]}]' >"$TAP_DIR/img/manifest.json"
	tar -C "$TAP_DIR/img" -cf "$TAP_DIR/image.tar" manifest.json config.json l/layer.tar
}

need_containerd() {
	need_oci
	command -v ctr >/dev/null || skip "no containerd (Debian package containerd)"
	[ -z "${CD_FAILED-}" ] || skip_host "containerd does not start here"
	[ ! -S "$TAP_DIR/cd/s" ] || return 0
	mkdir -p "$TAP_DIR/cd"
	cat >"$TAP_DIR/cd/config.toml" <<-EOF
		version = 2
		root = "$TAP_DIR/cd/root"
		state = "$TAP_DIR/cd/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$TAP_DIR/cd/s"
		[ttrpc]
		address = "$TAP_DIR/cd/t"
	EOF
	containerd --config "$TAP_DIR/cd/config.toml" >"$TAP_DIR/cd/log" 2>&1 </dev/null &
	echo $! >"$TAP_DIR/cd/pid"
	for need_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		ctl version >/dev/null 2>&1 && break
		command sleep 0.25
	done
	make_image
	ctl images import --snapshotter native "$TAP_DIR/image.tar" >"$TAP_DIR/import" 2>&1 || {
		cat "$TAP_DIR/import"
		skip_host "containerd does not start here"
	}
}

ok() {
	run ctl "$@"
	check_eq "$status" 0
}
RUN="--snapshotter native --runc-binary $OCI"
image=localhost/bb:latest

says() { # TEXT OPTIONS -- ID COMMAND...
	said=$1
	shift
	options=
	while [ "$1" != -- ]; do
		options="$options $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	ok run --rm $RUN $options "$image" "$@"
	check_eq "$(tr -d '\r' <"$T/out")" "$said"
}

test_run() {
	need_containerd
	says "0" -- "$(oci_id a)" id -u
	says "b" --env A=b -- "$(oci_id a)" sh -c 'echo $A'
	says "/root" --cwd /root -- "$(oci_id a)" pwd
	says "$(readlink /proc/self/ns/net)" --net-host -- "$(oci_id a)" readlink /proc/self/ns/net
	echo text >"$T/file"
	says "text" --mount "type=bind,src=$T/file,dst=/file,options=rbind:ro" -- "$(oci_id a)" cat /file
	# shellcheck disable=SC2086 # words
	run ctl run --rm $RUN "$image" "$(oci_id a)" sh -c 'exit 9'
	check_eq "$status" 9
	# shellcheck disable=SC2086 # words
	run ctl run --rm $RUN "$image" "$(oci_id a)" nosuchprogram
	check_eq "$status" 1
	check_contains "$T/err" "executable file not found in"
	# shellcheck disable=SC2086 # words
	run ctl run --rm $RUN --read-only "$image" "$(oci_id a)" touch /x
	check_eq "$status" 1
	check_contains "$T/err" "Read-only file system"
}

test_a_terminal() {
	need_containerd
	command -v script >/dev/null || skip "no script (Debian package bsdutils)"
	run script -qec "ctr -a $TAP_DIR/cd/s run --rm -t $RUN $image $(oci_id t) sh -c 'test -t 0 && readlink /proc/self/fd/0'" /dev/null
	check_eq "$status" 0
	check_contains "$T/out" /dev/pts/0
}

test_tasks() {
	need_containerd
	c=$(oci_id c)
	# shellcheck disable=SC2086 # words
	ok run -d $RUN "$image" "$c" sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
	task() { ctl task ls | awk -v c="$c" '$1 == c { print $3 }'; }
	check_eq "$(task)" RUNNING
	ok task exec --exec-id e1 "$c" id -u
	check_eq "$(cat "$T/out")" 0
	run ctl task exec --exec-id e2 "$c" sh -c 'exit 5'
	check_eq "$status" 5
	ok task ps "$c"
	check_matches "$T/out" '^[0-9]+'
	ok task metrics "$c"
	ok task pause "$c"
	check_eq "$(task)" PAUSED
	ok task resume "$c"
	check_eq "$(task)" RUNNING
	ok task kill -s TERM "$c"
	for tasks_try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(task)" != STOPPED ] || break
		command sleep 0.3
	done
	check_eq "$(task)" STOPPED
	run ctl task rm "$c"
	ok container rm "$c"
}

# ctr pauses around a checkpoint, and takes an image of it in any case.
test_checkpoints() {
	need_containerd
	"$OCI" --version | grep -q '+CRIU' || skip "no CRIU (make criu)"
	c=$(oci_id k)
	# shellcheck disable=SC2086 # words
	ok run -d $RUN "$image" "$c" sh -c 'i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done'
	count() { # ID FILE
		ok task exec --exec-id "e$2" "$1" sh -c 'until [ -s /count ]; do sleep 0.1; done; cat /count'
		cp "$T/out" "$T/$2"
	}
	task() { ctl task ls | awk -v c="$1" '$1 == c { print $3 }'; }
	ok task checkpoint --image-path "$T/img" --work-path "$T/work" "$c"
	[ -e "$T/img/pages-1.img" ] || fail "no images"
	check_eq "$(task "$c")" RUNNING
	count "$c" one
	ok container checkpoint --task --rw --image "$c" localhost/checkpointed:latest
	check_eq "$(task "$c")" RUNNING
	ok task kill -s KILL "$c"
	command sleep 0.5
	run ctl task rm -f "$c"
	ok container rm "$c"
	ok container restore --live --rw "$c" localhost/checkpointed:latest
	check_eq "$(task "$c")" RUNNING
	command sleep 0.5
	count "$c" two
	[ "$(cat "$T/two")" -ge "$(cat "$T/one")" ] || fail "$(cat "$T/two") after $(cat "$T/one")"
	command sleep 0.5
	count "$c" three
	[ "$(cat "$T/three")" -gt "$(cat "$T/two")" ] || fail "it stands at $(cat "$T/three")"
	ok task kill -s KILL "$c"
	command sleep 0.5
	run ctl task rm -f "$c"
	ok container rm "$c"
}

test_limits() {
	need_containerd
	c=$(oci_id l)
	# shellcheck disable=SC2086 # words
	ok run -d $RUN --memory-limit 33554432 --cpu-shares 512 --cpu-quota 50000 "$image" "$c" sleep 60
	if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
		check_eq "$(find /sys/fs/cgroup/memory -path "*$c/memory.limit_in_bytes" -exec cat {} +)" 33554432
		check_eq "$(find /sys/fs/cgroup/cpu -path "*$c/cpu.cfs_quota_us" -exec cat {} +)" 50000
	fi
	ok task kill -s KILL "$c"
	command sleep 0.5
	run ctl task rm -f "$c"
	ok container rm "$c"
}

test_the_daemon_ends() { # last: and with it what the test made
	[ -f "$TAP_DIR/cd/pid" ] || skip_host "containerd was not started"
	kill "$(cat "$TAP_DIR/cd/pid")"
	check_eq "$(find /sys/fs/cgroup -type d -name "fsbox-test-$$-*" 2>/dev/null)" ""
}

run_tests "$@"
