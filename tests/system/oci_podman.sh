#!/bin/sh
# podman's usual commands with fsbox-oci as its runtime: conmon calls it, podman reads its errors. Storage, network and state are
# the test's own; no image is fetched.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

pod() {
	CONTAINERS_CONF=$TAP_DIR/containers.conf timeout 60 podman --root "$TAP_DIR/storage" --runroot "$TAP_DIR/run" --storage-driver vfs \
		--cgroup-manager cgroupfs --events-backend file --runtime "$OCI" "$@"
}

# An image of busybox, and limits that this process may give.
need_podman() {
	need_oci
	command -v podman >/dev/null || skip "no podman (Debian packages podman and conmon)"
	[ ! -e "$TAP_DIR/image" ] || return 0
	cat >"$TAP_DIR/containers.conf" <<-EOF
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
		netns = "none"
		log_driver = "k8s-file"
		[engine]
		events_logger = "file"
	EOF
	rootfs "$TAP_DIR/rootfs"
	tar -C "$TAP_DIR/rootfs" -cf "$TAP_DIR/image.tar" .
	pod import "$TAP_DIR/image.tar" bb >"$TAP_DIR/image" 2>&1 || {
		cat "$TAP_DIR/image"
		rm "$TAP_DIR/image"
		skip_host "podman cannot import an image here"
	}
}

ok() { # COMMAND...: podman succeeds
	run pod "$@"
	check_eq "$status" 0
}

says() { # TEXT COMMAND...: and prints this
	said=$1
	shift
	ok "$@"
	check_eq "$(tr -d '\r' <"$T/out")" "$said"
}

test_run() {
	need_podman
	says "out" run --rm bb echo out
	run pod run --rm bb sh -c 'exit 42'
	check_eq "$status" 42
	run pod run --rm bb nosuchprogram
	check_eq "$status" 127
	run pod run --rm bb /etc
	check_eq "$status" 126
	says "named" run --rm --hostname named bb hostname
	says "1000" run --rm --user 1000:1000 bb id -u
	says "/root" run --rm -w /root bb pwd
	says "b" run --rm -e A=b bb sh -c 'echo $A'
}

test_run_with_limits_and_rights() {
	need_podman
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		says "33554432" run --rm --memory 32m bb cat /sys/fs/cgroup/memory.max
	else
		says "33554432" run --rm --memory 32m bb cat /sys/fs/cgroup/memory/memory.limit_in_bytes
		says "17" run --rm --pids-limit 17 bb cat /sys/fs/cgroup/pids/pids.max
		says "50000" run --rm --cpus 0.5 bb cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us
	fi
	says "CapEff:	0000000000000000" run --rm --cap-drop all bb grep CapEff /proc/self/status
	says "CapEff:	0000000000002000" run --rm --cap-drop all --cap-add net_raw bb grep CapEff /proc/self/status
	says "NoNewPrivs:	1" run --rm --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status
	says "Seccomp:	2" run --rm bb grep Seccomp: /proc/self/status
	says "Seccomp:	0" run --rm --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status
	says "300" run --rm --oom-score-adj 300 bb cat /proc/self/oom_score_adj
	says "77" run --rm --ulimit nofile=77:77 --ulimit nproc=1024:1024 bb sh -c 'ulimit -n'
	says "1" run --rm --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward
	ok run --rm --privileged bb sh -c 'test -e /dev/kmsg'
}

test_run_with_mounts_and_namespaces() {
	need_podman
	echo text >"$T/file"
	says "text" run --rm -v "$T/file:/file:ro" bb cat /file
	run pod run --rm -v "$T/file:/file:ro" bb touch /file
	check_eq "$status" 1
	says "a" run --rm --read-only --tmpfs /x bb sh -c 'touch /x/a; ls /x'
	ok volume create v1
	ok run --rm -v v1:/v bb sh -c 'echo kept >/v/f'
	says "kept" run --rm -v v1:/v bb cat /v/f
	says "zero" run --rm --device /dev/zero:/dev/zz bb sh -c 'test -c /dev/zz && echo zero'
	says "0 100000 1000" run --rm --uidmap 0:100000:1000 --gidmap 0:100000:1000 bb sh -c 'echo $(cat /proc/self/uid_map)'
	says "$(readlink /proc/self/ns/pid)" run --rm --pid host bb readlink /proc/self/ns/pid
	says "$(readlink /proc/self/ns/net)" run --rm --network host bb readlink /proc/self/ns/net
	says "$(readlink /proc/self/ns/ipc)" run --rm --ipc host bb readlink /proc/self/ns/ipc
	says "$(readlink /proc/self/ns/uts)" run --rm --uts host bb readlink /proc/self/ns/uts
}

test_a_terminal() {
	need_podman
	command -v script >/dev/null || skip "no script (Debian package bsdutils)"
	cat >"$T/sh" <<-EOF
		CONTAINERS_CONF=$TAP_DIR/containers.conf exec podman --root $TAP_DIR/storage --runroot $TAP_DIR/run --storage-driver vfs \
			--cgroup-manager cgroupfs --events-backend file --runtime $OCI "\$@"
	EOF
	run script -qec "sh $T/sh run --rm -it bb sh -c 'test -t 0 && test -t 1 && readlink /proc/self/fd/0'" /dev/null
	check_eq "$status" 0
	check_contains "$T/out" /dev/pts/0
	ok run -d --name tty bb sleep 60
	run script -qec "sh $T/sh exec -it tty sh -c 'test -t 0 && echo terminal'" /dev/null
	check_contains "$T/out" terminal
	ok rm -f -t 0 tty
}

test_the_life_of_a_detached_container() {
	need_podman
	ok run -d --name w bb sh -c 'trap "exit 3" TERM; echo begun; while :; do sleep 0.1; done'
	says "running" inspect --format '{{.State.Status}}' w
	says "0" exec w id -u
	says "7:/tmp:b" exec -u 7 -w /tmp -e A=b w sh -c 'echo $(id -u):$(pwd):$A'
	run pod exec w sh -c 'exit 5'
	check_eq "$status" 5
	run pod exec w nosuchprogram
	check_eq "$status" 127
	ok exec -d w touch /tmp/made
	ok top w
	ok stats --no-stream w
	ok pause w
	says "paused" inspect --format '{{.State.Status}}' w
	ok unpause w
	[ -e /sys/fs/cgroup/cgroup.controllers ] || ok update --memory 64m w
	ok kill -s USR1 w || :
	says "begun" logs w
	echo begun >"$T/begun"
	ok cp "$T/begun" w:/tmp/copied
	says "begun" exec w cat /tmp/copied
	ok stop -t 10 w
	says "3" wait w
	ok start w
	ok restart -t 0 w
	ok kill w
	says "137" wait w
	says "exited" inspect --format '{{.State.Status}}' w
	ok rm w
}

test_pods_share_namespaces() {
	need_podman
	ok run -d --name a --ipc shareable bb sleep 60
	ok exec a readlink /proc/self/ns/net
	net=$(cat "$T/out")
	says "$net" run --rm --network container:a bb readlink /proc/self/ns/net
	ok exec a readlink /proc/self/ns/ipc
	says "$(cat "$T/out")" run --rm --ipc container:a bb readlink /proc/self/ns/ipc
	ok exec a readlink /proc/self/ns/pid
	says "$(cat "$T/out")" run --rm --pid container:a bb readlink /proc/self/ns/pid
	ok rm -f -t 0 a
}

lines() { pod logs "$1" 2>/dev/null | tail -n 1; }

goes_on() { # NAME FROM: what it prints are numbers
	for goes_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		goes_now=$(lines "$1")
		[ "${goes_now:-0}" -le "$2" ] || return 0
		command sleep 0.2
	done
	fail "$1 stands at ${goes_now:-nothing}"
}

test_checkpoints() {
	need_podman
	"$OCI" --version | grep -q '+CRIU' || skip "no CRIU (make criu)"
	criu_in "$TAP_DIR/bin"
	PATH=$TAP_DIR/bin:$PATH
	export PATH
	ok run -d --name w -v "$T:/here:ro" --memory 64m bb sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
	goes_on w 3
	ok container checkpoint w
	says "exited" inspect --format '{{.State.Status}}' w
	stood=$(lines w)
	ok container restore w
	says "running" inspect --format '{{.State.Status}}' w
	goes_on w "$stood"
	check_eq "$(pod logs w | sort -n | uniq -d)" ""
	says "0" exec w id -u
	[ -e /sys/fs/cgroup/cgroup.controllers ] ||
		check_eq "$(cat "/sys/fs/cgroup/memory$(grep memory: "/proc/$(pod inspect --format '{{.State.Pid}}' w)/cgroup" | cut -d: -f3)/memory.limit_in_bytes")" 67108864
	ok container checkpoint --leave-running w
	says "running" inspect --format '{{.State.Status}}' w
	goes_on w "$(lines w)"
	ok container checkpoint --export "$T/w.tar" w
	stood=$(lines w)
	ok rm -f -t 0 w
	ok container restore --import "$T/w.tar"
	goes_on w "$((stood - 1))"
	ok container restore --import "$T/w.tar" --name v
	goes_on v "$((stood - 1))"
	ok rm -f -t 0 w v
	# With a terminal, and over a socket in its own network.
	ok run -d -t --name tty bb sh -c 'while read l; do echo got $l; done'
	ok container checkpoint tty
	ok container restore tty
	says "running" inspect --format '{{.State.Status}}' tty
	ok rm -f -t 0 tty
}

test_building_an_image() {
	need_podman
	mkdir "$T/ctx"
	printf 'FROM localhost/bb\nRUN echo built >/built\nCMD ["cat", "/built"]\n' >"$T/ctx/Containerfile"
	run pod build --isolation oci --network none -q -t made "$T/ctx"
	check_eq "$status" 0
	says "built" run --rm made
	ok commit "$(pod create made)" made2
}

test_nothing_stays() {
	need_podman
	ok rm -a -f -t 0
	check_eq "$(pod ps -aq)" ""
	check_eq "$(find /run/fsbox-oci -maxdepth 1 -type d -newer "$TAP_DIR/image" 2>/dev/null | grep -cE '/[0-9a-f]{64}$' || :)" 0
}

run_tests "$@"
