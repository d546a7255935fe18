#!/bin/sh
# podman's usual commands with fsbox-oci as its runtime: conmon calls it, podman reads its errors. Storage, network and state are
# the test's own; no image is fetched. The last test counts: forty different commands, and as many options of `run`, have been
# given and have done what they say. time-limit: 600 beside-guest
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
# shellcheck source=tests/lib/podman.sh
. "$(dirname "$0")/../lib/podman.sh"

pod() {
	echo "$*" >>"$TAP_DIR/used"
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

# podman on a pseudoterminal, with what comes on standard input typed there. An input that has an end at once is no input:
# script(1) types it, and podman, with any runtime, may leave before the container's output is there.
on_terminal() { # ARGUMENTS of podman
	command -v script >/dev/null || skip "no script (Debian package bsdutils)"
	cat >"$T/sh" <<-EOF
		CONTAINERS_CONF=$TAP_DIR/containers.conf exec podman --root $TAP_DIR/storage --runroot $TAP_DIR/run --storage-driver vfs \
			--cgroup-manager cgroupfs --events-backend file --runtime $OCI $*
	EOF
	echo "$*" >>"$TAP_DIR/used"
	status=0
	timeout 60 script -qec "sh $T/sh" /dev/null >"$T/out" 2>&1 || status=$?
}

test_a_terminal() {
	need_podman
	mkfifo "$T/quiet"
	on_terminal "run --rm -it bb sh -c 'test -t 0 && test -t 1 && readlink /proc/self/fd/0'" <>"$T/quiet"
	check_eq "$status" 0
	check_contains "$T/out" /dev/pts/0
	ok run -d -t --name tty bb sh -c 'while read line; do echo "<$line>"; done'
	{
		command sleep 2
		printf 'test -t 0 && echo "typed $((6 * 7))"\rexit\r'
		command sleep 2
	} | on_terminal "exec -it tty sh"
	check_contains "$T/out" "typed 42"
	on_terminal "exec -it tty sh -c 'exit 3'" <>"$T/quiet"
	check_eq "$status" 3
	{
		command sleep 2
		printf 'hello\r'
		command sleep 2
		printf '\020\021' # what detaches
		command sleep 1
	} | on_terminal "attach tty"
	check_contains "$T/out" "<hello>"
	says "running" inspect --format '{{.State.Status}}' tty
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

test_more_options_of_run() {
	need_podman
	echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' >"$T/seccomp.json"
	run pod run --rm --security-opt "seccomp=$T/seccomp.json" bb mkdir /tmp/x
	check_eq "$status" 1
	check_contains "$T/err" "No space left on device"
	printf 'ONE=1\nTWO=2\n' >"$T/env"
	says "1 2 3" run --rm --env-file "$T/env" --env THREE=3 bb sh -c 'echo $ONE $TWO $THREE'
	says "x y" run --rm --entrypoint echo bb x y
	says "0027" run --rm --umask 0027 bb sh -c umask
	says "uid=1000(ada) gid=7 groups=7,8" run --rm --user ada:7 --group-add 8 bb id
	says "32768" run --rm --shm-size 32m --read-only bb sh -c "awk '\$5 == \"/dev/shm\"' /proc/self/mountinfo | sed 's/.*size=//; s/k.*//'"
	says "198.51.100.1" run --rm --network host --add-host other:198.51.100.1 bb sh -c "awk '/other/ { print \$1 }' /etc/hosts"
	says "$(cat /proc/self/oom_score_adj)" run --rm --pids-limit -1 bb cat /proc/self/oom_score_adj
	says "0" run --rm --cpuset-cpus 0 bb sh -c "awk '/Cpus_allowed_list/ { print \$2 }' /proc/self/status"
	says "hidden" run --rm --security-opt mask=/etc/passwd bb sh -c 'test -s /etc/passwd || echo hidden'
	echo in | pod run --rm -i bb cat >"$T/out"
	check_eq "$(cat "$T/out")" in
	says "lab" run --rm --label a=lab --annotation run.test=x --name lab bb echo lab
	mkdir "$T/m"
	echo m >"$T/m/f"
	says "m" run --rm --mount "type=bind,src=$T/m,dst=/m,ro=true" --mount type=tmpfs,dst=/t,tmpfs-size=64k bb cat /m/f
	ok run --rm --cidfile "$T/cid" --pidfile "$T/pid" --timeout 30 bb true
	check_eq "$(wc -c <"$T/cid")" 64
	ok run --name limited --stop-signal USR1 --stop-timeout 3 --memory 64m --memory-reservation 32m --cpu-shares 512 -d bb sh -c 'trap "exit 9" USR1; while :; do sleep 0.1; done'
	ok stop limited
	says "9" wait limited
	ok rm limited
}

test_an_init_reaps() {
	need_podman
	command -v catatonit >/dev/null || skip "no catatonit (Debian package catatonit)"
	says "podman-init" run --rm --init --init-path "$(command -v catatonit)" bb cat /proc/1/comm
}

test_a_check_of_health() {
	need_podman
	ok run -d --name sick --health-cmd 'test -e /tmp/well' --health-interval disable --health-retries 1 bb sleep 60
	run pod healthcheck run sick
	check_eq "$status" 1
	ok exec sick touch /tmp/well
	ok healthcheck run sick
	ok rm -f -t 0 sick
}

test_containers_are_looked_at() {
	need_podman
	ok create --name c1 --cidfile "$T/id" --hostname c1 bb sh -c 'echo out; echo err >&2; touch /new; exit 4'
	says "created" inspect --format '{{.State.Status}}' c1
	ok init c1
	says "initialized" inspect --format '{{.State.Status}}' c1
	run pod start -a c1
	check_eq "$status" 4
	check_eq "$(cat "$T/out") $(cat "$T/err")" "out err"
	ok logs c1
	check_eq "$(cat "$T/out" "$T/err" | sort | tr '\n' ' ')" "err out "
	ok diff c1
	check_contains "$T/out" "A /new"
	ok rename c1 c2
	ok ps -a --format '{{.Names}} {{.Status}}'
	check_matches "$T/out" '^c2 Exited \(4\)'
	ok export -o "$T/export.tar" c2
	tar -tf "$T/export.tar" >"$T/list"
	check_matches "$T/list" '^(\./)?new$'
	ok mount c2
	check test -e "$(cat "$T/out")/new"
	ok umount c2
	ok container exists c2
	ok events --stream=false --filter "container=$(cat "$T/id")" --since 10m --format '{{.Status}}'
	for event in create init start died rename; do
		check_matches "$T/out" "^$event\$"
	done
	ok port c2
	echo from >"$T/from"
	ok cp "$T/from" c2:/to
	ok cp c2:/to "$T/back"
	check_eq "$(cat "$T/back")" from
	ok container prune -f
	run pod container exists c2
	check_eq "$status" 1
}

test_the_group_of_a_container() {
	need_podman
	ok run -d --name g --cgroup-parent /fsbox-test-$$-parent --memory 64m bb sleep 60
	ok top g pid comm
	check_matches "$T/out" '^1 +sleep'
	ok stats --no-stream --format '{{.PIDs}}' g
	check_eq "$(cat "$T/out")" 1
	pid=$(pod inspect --format '{{.State.Pid}}' g)
	check_matches "/proc/$pid/cgroup" "/fsbox-test-$$-parent/"
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		ok update --memory 32m g
		says "33554432" exec g cat /sys/fs/cgroup/memory.max
	fi
	ok rm -f -t 0 g
}

test_images() {
	need_podman
	ok create --name base bb true
	ok commit -q --change 'CMD ["echo", "committed"]' base derived
	says "committed" run --rm derived
	ok tag derived other:v1
	ok save -q -o "$T/saved.tar" other:v1
	ok rmi other:v1 derived
	ok load -q -i "$T/saved.tar"
	says "committed" run --rm other:v1
	ok history other:v1
	ok images --format '{{.Repository}}:{{.Tag}}'
	check_contains "$T/out" "localhost/other:v1"
	ok image inspect other:v1
	check jq -e '.[0].Config.Cmd == ["echo", "committed"]' "$T/out"
	ok push -q other:v1 "dir:$T/pushed"
	check test -s "$T/pushed/manifest.json"
	ok untag other:v1
	ok rm base
	ok system df
	ok info --format '{{.Host.OCIRuntime.Path}}'
	check_eq "$(cat "$T/out")" "$OCI"
	ok version
	ok network ls
}

test_pods() {
	need_podman
	ok pod create --name p --infra-image bb --infra-command 'sleep 60' --share ipc,uts,pid --hostname podhost
	ok run -d --pod p --name p1 bb sleep 60
	says "podhost" run --rm --pod p bb hostname
	ok exec p1 sh -c 'ps | grep -c "sleep 60"'
	ok pod ps --format '{{.Name}} {{.Status}}'
	check_contains "$T/out" "p Running"
	ok pod inspect p
	ok pod pause p
	says "paused" inspect --format '{{.State.Status}}' p1
	ok pod unpause p
	ok pod stop -t 0 p
	ok pod start p
	says "running" inspect --format '{{.State.Status}}' p1
	ok generate kube p
	check_contains "$T/out" "kind: Pod"
	ok pod rm -f -t 0 p
}

test_volumes() {
	need_podman
	ok volume create kept
	ok run --rm -v kept:/v bb sh -c 'echo kept >/v/f'
	ok volume inspect --format '{{.Mountpoint}}' kept
	check_eq "$(cat "$(cat "$T/out")/f")" kept
	ok volume ls -q
	check_contains "$T/out" kept
	ok volume rm kept
}

# Nothing but a tar archive goes in.
test_an_image_from_scratch() {
	need_podman
	mkdir "$T/ctx"
	tar -C "$TAP_DIR/rootfs" -cf "$T/ctx/root.tar" .
	printf 'FROM scratch\nADD root.tar /\nENV PATH=/bin\nRUN mkdir /w && chmod 777 /w\nUSER 1000\nWORKDIR /w\nRUN id -u >who && test $(pwd) = /w\nCMD ["cat", "/w/who"]\n' >"$T/ctx/Containerfile"
	ok build --isolation oci --network none -q -t scratched "$T/ctx"
	says "1000" run --rm scratched
}

test_buildah() {
	need_podman
	command -v buildah >/dev/null || skip "no buildah (Debian package buildah)"
	on_store() {
		timeout 60 buildah --root "$TAP_DIR/storage" --runroot "$TAP_DIR/run" --storage-driver vfs "$@"
	}
	run on_store from scratch
	check_eq "$status" 0
	c=$(cat "$T/out")
	tar -C "$TAP_DIR/rootfs" -cf "$T/root.tar" .
	for step in "add $c $T/root.tar /" "run --isolation oci --runtime $OCI --network none $c sh -c 'echo ran >/ran'" "config --cmd cat\ /ran $c" "commit -q $c built"; do
		eval "run on_store $step"
		check_eq "$status" 0
	done
	says "ran" run --rm built
	run on_store rm "$c"
	check_eq "$status" 0
}

# As words at the beginning of what was called: "pod create" is another than "create".
test_forty_commands_have_been_used() {
	need_podman
	[ "$(wc -l <"$TAP_DIR/used")" -gt 60 ] || skip_host "the tests before were left out"
	awk '{ if ($1 ~ /^(pod|container|volume|image|network|healthcheck|system|generate)$/) print $1, $2; else print $1 }' "$TAP_DIR/used" | sort -u >"$T/commands"
	note "$(wc -l <"$T/commands") commands: $(tr '\n' ',' <"$T/commands")"
	[ "$(wc -l <"$T/commands")" -ge 40 ] || fail "fewer than forty"
	sed -n 's/^run //p' "$TAP_DIR/used" | tr ' ' '\n' | sed -n 's/^\(--[a-z-]*\|-[a-z]\)\(=.*\)\{0,1\}$/\1/p' | sort -u >"$T/options"
	note "$(wc -l <"$T/options") options of run: $(tr '\n' ' ' <"$T/options")"
	[ "$(wc -l <"$T/options")" -ge 40 ] || fail "fewer than forty options"
}

test_nothing_stays() {
	need_podman
	ok rm -a -f -t 0
	check_eq "$(pod ps -aq)" ""
	# podman's own groups, below the parent that a test has named, go when conmon has gone.
	for stays_try in 1 2 3 4 5 6 7 8 9 10; do
		find /sys/fs/cgroup -depth -type d -path "*/fsbox-test-$$-parent*" -exec rmdir {} + 2>/dev/null && break
		command sleep 0.2
	done
	check_eq "$(find /sys/fs/cgroup -type d -name "fsbox-test-$$-*")" ""
	check_eq "$(find /run/fsbox-oci -maxdepth 1 -type d -newer "$TAP_DIR/image" 2>/dev/null | grep -cE '/[0-9a-f]{64}$' || :)" 0
}

run_tests "$@"
