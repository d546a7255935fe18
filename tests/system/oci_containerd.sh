#!/bin/sh
# containerd's stock shim with fsbox-oci instead of runc. The daemon, its storage and its sockets are the test's own. The last
# test but one counts: forty different commands of ctr have been given and have done what they say. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

ctl() {
	echo "$*" >>"$TAP_DIR/used"
	timeout -k 5 60 ctr -a "$TAP_DIR/cd/s" "$@"
}

# An image archive in docker's form, made by hand, so that podman is not needed.
make_image() {
	rootfs "$TAP_DIR/rootfs"
	printf '#!/bin/sh\nread a\nread b\necho "<$a> <$b>"\nexit 6\n' >"$TAP_DIR/rootfs/bin/reads"
	chmod 755 "$TAP_DIR/rootfs/bin/reads"
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
	# ctr has no word for the runtime's program in "containers create", and forgets it with --no-pivot and --uidmap (1.6): so
	# the shim finds ours under the name of runc as well.
	mkdir "$TAP_DIR/cd/bin"
	ln -s "$OCI" "$TAP_DIR/cd/bin/runc"
	chmod 755 "$TAP_DIR"
	PATH=$TAP_DIR/cd/bin:$PATH containerd --config "$TAP_DIR/cd/config.toml" >"$TAP_DIR/cd/log" 2>&1 </dev/null &
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
	# ctr (1.6) deletes the task when it hears of its end, and cancels what has not been copied by then: on a busy machine the
	# whole output of a short program can be lost to it, which is not what is tested.
	for says_try in 1 2 3; do
		# shellcheck disable=SC2086 # words
		ok run --rm $RUN $options "$image" "$@"
		[ ! -s "$T/out" ] || break
	done
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
	# ctr (1.6) does not wait for what an exec'ed process has written: it gets the time.
	ok task exec --exec-id e1 "$c" sh -c 'id -u; sleep 0.5'
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

# Runs and stays; the id in $c.
started() { # OPTIONS -- COMMAND...
	c=$(oci_id s)
	options=
	while [ "$1" != -- ]; do
		options="$options $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	ok run -d $RUN $options "$image" "$c" "$@"
}

ended() { # kills and removes it
	run ctl task kill -s KILL "$c"
	for ended_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(ctl task ls | awk -v c="$c" '$1 == c { print $3 }')" = RUNNING ] || break
		command sleep 0.2
	done
	ok task rm -f "$c"
	ok container rm "$c"
}

test_more_options_of_run() {
	need_containerd
	printf 'ONE=1\nTWO=2\n' >"$T/env"
	says "1 2" --env-file "$T/env" -- "$(oci_id a)" sh -c 'echo $ONE $TWO'
	says "CapEff: 0000000000002000" --cap-drop CAP_CHOWN --cap-drop CAP_DAC_OVERRIDE --cap-drop CAP_FSETID --cap-drop CAP_FOWNER \
		--cap-drop CAP_MKNOD --cap-drop CAP_SETGID --cap-drop CAP_SETUID --cap-drop CAP_SETFCAP --cap-drop CAP_SETPCAP \
		--cap-drop CAP_NET_BIND_SERVICE --cap-drop CAP_SYS_CHROOT --cap-drop CAP_KILL --cap-drop CAP_AUDIT_WRITE -- \
		"$(oci_id a)" sh -c 'echo $(grep CapEff /proc/self/status)'
	says "Seccomp: 2" --seccomp -- "$(oci_id a)" sh -c 'echo $(grep Seccomp: /proc/self/status)'
	echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' >"$T/seccomp.json"
	# shellcheck disable=SC2086 # words
	run ctl run --rm $RUN --seccomp --seccomp-profile "$T/seccomp.json" "$image" "$(oci_id a)" mkdir /tmp/x
	check_eq "$status" 1
	check_contains "$T/err" "No space left on device"
	says "NoNewPrivs: 0" --allow-new-privs -- "$(oci_id a)" sh -c 'echo $(grep NoNewPrivs /proc/self/status)'
	says "kmsg" --privileged -- "$(oci_id a)" sh -c 'test -e /dev/kmsg && echo kmsg'
	says "zero" --device /dev/zero -- "$(oci_id a)" sh -c 'test -c /dev/zero && echo zero'
	says "moved" --no-pivot -- "$(oci_id a)" echo moved
	says "0 100000 1000" --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- "$(oci_id a)" sh -c 'echo $(cat /proc/self/uid_map)'
	rootfs "$T/own"
	# shellcheck disable=SC2086 # words
	ok run --rm --runc-binary "$OCI" --rootfs "$T/own" "$(oci_id a)" echo own
	check_eq "$(cat "$T/out")" own
	says "" --null-io -- "$(oci_id a)" true
	started --pid-file "$T/pid" --label a=b --annotation run.test=x --rootfs-propagation slave -- sleep 60
	check_eq "$(tr '\0' ' ' <"/proc/$(cat "$T/pid")/cmdline")" "sleep 60 "
	says "$(readlink "/proc/$(cat "$T/pid")/ns/net")" --with-ns "network:/proc/$(cat "$T/pid")/ns/net" -- "$(oci_id b)" readlink /proc/self/ns/net
	ended
}

test_logs_go_where_the_uri_says() {
	need_containerd
	started --log-uri "file://$T/log" -- sh -c 'echo logged; sleep 60'
	for logs_try in 1 2 3 4 5 6 7 8 9 10; do
		! grep -q logged "$T/log" 2>/dev/null || break
		command sleep 0.3
	done
	check_contains "$T/log" logged
	ended
}

test_create_start_and_attach() {
	need_containerd
	c=$(oci_id made)
	ok container create --snapshotter native "$image" "$c" reads
	ok container ls -q
	check_contains "$T/out" "$c"
	ok container info "$c"
	check jq -e ".ID == \"$c\"" "$T/out"
	ok container label "$c" colour=red
	check_contains "$T/out" colour=red
	status=0
	printf 'one\ntwo\n' | timeout -k 5 60 ctr -a "$TAP_DIR/cd/s" task start "$c" >"$T/out" 2>"$T/err" || status=$?
	echo "task start" >>"$TAP_DIR/used"
	check_eq "$(cat "$T/out")" "<one> <two>"
	check_eq "$status" 6
	ok container rm "$c"
	started -- sh -c 'sleep 3; echo late; exit 4'
	run ctl task attach "$c"
	check_eq "$status" 4
	run ctl task rm "$c"
	ok container rm "$c"
}

test_exec_has_its_own_settings() {
	need_containerd
	started -- sleep 60
	ok task exec --exec-id x1 --cwd /tmp --user 1000 "$c" sh -c 'echo $(pwd) $(id -u); sleep 0.5'
	check_eq "$(cat "$T/out")" "/tmp 1000"
	ok task exec --exec-id x2 --detach "$c" touch /tmp/made
	for exec_try in 1 2 3 4 5 6 7 8 9 10; do
		run ctl task exec --exec-id "t$exec_try" "$c" test -e /tmp/made
		[ "$status" != 0 ] || break
		command sleep 0.3
	done
	check_eq "$status" 0
	run ctl task exec --exec-id x3 "$c" nosuchprogram
	check_eq "$status" 1
	check_contains "$T/err" "executable file not found in"
	command -v script >/dev/null || skip "no script (Debian package bsdutils)"
	run script -qec "ctr -a $TAP_DIR/cd/s task exec --exec-id x4 -t $c sh -c 'test -t 0 && echo terminal'" /dev/null
	check_contains "$T/out" terminal
	ok task ps "$c"
	ended
}

test_events_are_told() {
	need_containerd
	timeout -k 5 60 ctr -a "$TAP_DIR/cd/s" events >"$T/events" 2>&1 &
	events=$!
	echo events >>"$TAP_DIR/used"
	command sleep 1
	says "told" -- "$(oci_id a)" echo told
	command sleep 1
	kill "$events"
	for topic in create start exit delete; do
		check_contains "$T/events" "/tasks/$topic"
	done
	check_contains "$T/events" "$(oci_id a)"
}

test_images_contents_and_snapshots() {
	need_containerd
	ok images tag "$image" localhost/other:v1
	ok images label localhost/other:v1 colour=red
	ok images ls -q
	check_contains "$T/out" localhost/other:v1
	ok images check --snapshotter native "name==localhost/other:v1"
	ok images export "$T/out.tar" localhost/other:v1
	ok images rm localhost/other:v1
	ok images import --snapshotter native "$T/out.tar"
	mkdir "$T/mnt"
	ok images mount --snapshotter native "$image" "$T/mnt"
	check test -e "$T/mnt/bin/busybox"
	ok images unmount "$T/mnt"
	ok content ls -q
	digest=$(head -n 1 "$T/out")
	ok content get "$digest"
	ok content label "$digest" colour=red
	ok snapshots --snapshotter native ls
	key=$(awk '$NF == "Committed" { print $1; exit }' "$T/out")
	ok snapshots --snapshotter native info "$key"
	ok snapshots --snapshotter native usage "$key"
	ok snapshots --snapshotter native tree
	ok snapshots --snapshotter native prepare work "$key"
	ok snapshots --snapshotter native mounts "$T/mnt" work
	ok snapshots --snapshotter native rm work
}

test_namespaces_leases_and_the_daemon() {
	need_containerd
	ok namespaces create other
	ok namespaces label other colour=red
	ok namespaces ls -q
	check_contains "$T/out" other
	ok namespaces rm other
	ok leases create --id lease1
	ok leases ls -q
	check_contains "$T/out" lease1
	ok leases rm lease1
	ok version
	ok plugins ls
	check_matches "$T/out" 'io.containerd.runtime.v2 +task .*ok'
	ok oci spec
	check jq -e .ociVersion "$T/out"
}

test_forty_commands_have_been_used() {
	need_containerd
	[ "$(wc -l <"$TAP_DIR/used")" -gt 60 ] || skip_host "the tests before were left out"
	sed 's/^tasks* /task /; s/ --snapshotter native / /; s/^containers* /container /' "$TAP_DIR/used" |
		awk '{ if ($1 ~ /^(run|version|events)$/) print $1; else print $1, $2 }' | sort -u >"$T/commands"
	note "$(wc -l <"$T/commands") commands: $(tr '\n' ',' <"$T/commands")"
	[ "$(wc -l <"$T/commands")" -ge 40 ] || fail "fewer than forty"
}

test_the_daemon_ends() { # last: and with it what the test made
	[ -f "$TAP_DIR/cd/pid" ] || skip_host "containerd was not started"
	kill "$(cat "$TAP_DIR/cd/pid")"
	check_eq "$(find /sys/fs/cgroup -type d -name "fsbox-test-$$-*" 2>/dev/null)" ""
}

run_tests "$@"
