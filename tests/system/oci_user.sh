#!/bin/sh
# fsbox-oci without root: as an ordinary user with one id, with a range of ids through newuidmap(1), as root of a user
# namespace (what rootless podman is), without groups of his own and with delegated ones.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
OLGA=61717

# The user exists, and has a range of ids, in a mount namespace of each command alone: the machine's /etc stays as it is.
need_user() {
	need_oci
	command -v newuidmap >/dev/null || skip "no newuidmap (Debian package uidmap)"
	for need_file in /etc/subuid /etc/subgid; do
		[ -e "$need_file" ] || skip "no $need_file (Debian package uidmap)"
	done
	chmod 755 "$TAP_DIR" "$T"
	mkdir -p "$T/etc" "$T/bin" "$T/run" "$T/home"
	cp "$OCI" "$T/bin/fsbox-oci"
	{
		cat /etc/passwd
		echo "olga:x:$OLGA:$OLGA::$T/home:/bin/sh"
	} >"$T/etc/passwd"
	{
		cat /etc/group
		echo "olga:x:$OLGA:"
	} >"$T/etc/group"
	echo olga:300000:65536 | tee "$T/etc/subuid" >"$T/etc/subgid"
	chown "$OLGA:$OLGA" "$T/run" "$T/home"
	chmod 700 "$T/run"
	rootfs "$T/rootfs"
	chown -R "$OLGA:$OLGA" "$T/rootfs"
	trap 'olga_ends; oci_end_all' EXIT
	as_olga unshare --user true || skip_host "no user namespaces for ordinary users"
}

olga_ends() { # what a failed test leaves
	for ends_left in "$T/run/fsbox-oci"/*/; do
		[ ! -d "$ends_left" ] || as_olga "$T/bin/fsbox-oci" delete -f "$(basename "$ends_left")" || :
	done
	[ -z "${GROUP-}" ] || find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -exec rmdir {} + || :
}

# GROUP is that of the caller, or one below each hierarchy that the user's shell starts in.
as_olga() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --propagation private sh -c '
		etc=$1 group=$2 run=$3 id=$4
		shift 4
		for f in passwd group subuid subgid; do mount --bind "$etc/$f" "/etc/$f" || exit 99; done
		[ -z "$group" ] || for d in /sys/fs/cgroup/*/$group /sys/fs/cgroup/$group; do
			[ ! -e "$d/shell/cgroup.procs" ] || echo $$ >"$d/shell/cgroup.procs" || exit 99
		done
		exec setpriv --reuid "$id" --regid "$id" --clear-groups --inh-caps=-all \
			env -i PATH="$PATH" HOME="${run%run}home" XDG_RUNTIME_DIR="$run" "$@"' \
		sh "$T/etc" "${GROUP-}" "$T/run" "$OLGA" "$@"
}
rootless() { run as_olga "$T/bin/fsbox-oci" "$@"; }
rootless_ok() {
	rootless "$@"
	check_eq "$status" 0
}

# A bundle as `spec --rootless` has it, changed by a jq program.
rootless_bundle() { # [JQ-PROGRAM]
	rm -rf "$T/b"
	mkdir "$T/b"
	ln -s ../rootfs "$T/b/rootfs"
	chown "$OLGA" "$T/b"
	as_olga "$T/bin/fsbox-oci" spec --rootless --bundle "$T/b"
	jq ".process.terminal = false | ${1:-.}" "$T/b/config.json" >"$T/new"
	cat "$T/new" >"$T/b/config.json"
}

# 0 is the user himself, and the others are of his range.
RANGE='.linux.uidMappings = [{"containerID": 0, "hostID": 61717, "size": 1}, {"containerID": 1, "hostID": 300000, "size": 65535}] | .linux.gidMappings = .linux.uidMappings'

nothing_of_olgas() {
	check_eq "$(find "$T/run" -mindepth 2)" ""
	# Whoever adopts what has ended takes a moment to bury it.
	check_eq "$(pgrep -u "$OLGA" --runstates DIRSTt || :)" ""
}

test_one_id_is_enough() {
	need_user
	rootless_bundle '.process.args = ["sh", "-c", "id -u; cat /proc/self/uid_map; touch /made; hostname; exit 7"] | .root.readonly = false'
	rootless run --bundle "$T/b" "$(oci_id u)"
	check_eq "$status" 7
	check_eq "$(head -n 1 "$T/out")" 0
	check_matches "$T/out" "^ +0 +$OLGA +1\$"
	check_eq "$(stat -c %u "$T/rootfs/made")" "$OLGA"
	nothing_of_olgas
}

test_the_life_of_a_container() {
	need_user
	c=$(oci_id u)
	rootless_bundle '.process.args = ["sleep", "60"]'
	rootless_ok create --bundle "$T/b" "$c"
	rootless_ok state "$c"
	check_eq "$(jq -r .status "$T/out")" created
	rootless_ok start "$c"
	rootless exec "$c" sh -c 'id -u; exit 5'
	check_eq "$status" 5
	check_eq "$(cat "$T/out")" 0
	rootless_ok list -q
	check_eq "$(cat "$T/out")" "$c"
	rootless delete "$c"
	check_eq "$status" 1
	rootless_ok kill "$c" KILL
	for life_try in 1 2 3 4 5 6 7 8 9 10; do
		rootless_ok state "$c"
		[ "$(jq -r .status "$T/out")" != stopped ] || break
		command sleep 0.2
	done
	check_eq "$(jq -r .status "$T/out")" stopped
	rootless_ok delete "$c"
	nothing_of_olgas
}

test_a_range_of_ids_by_newuidmap() {
	need_user
	rootless_bundle "$RANGE | .process.args = [\"sh\", \"-c\", \"touch /tmp/x; busybox chown 1000:7 /tmp/x; stat -c '%u %g' /tmp/x; id\"] | .process.user = {\"uid\": 0, \"gid\": 0, \"additionalGids\": [5]} | .process.capabilities |= map_values(. + [\"CAP_CHOWN\", \"CAP_SETUID\", \"CAP_SETGID\"]) | .mounts += [{\"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"t\"}]"
	rootless_ok run --bundle "$T/b" "$(oci_id u)"
	check_eq "$(head -n 1 "$T/out")" "1000 7"
	check_contains "$T/out" "groups=5"
	rootless_bundle "$RANGE | .process.args = [\"sleep\", \"60\"] | .process.user = {\"uid\": 1000, \"gid\": 1000}"
	c=$(oci_id v)
	rootless_ok run -d --bundle "$T/b" "$c"
	rootless_ok state "$c"
	check_eq "$(awk '/^Uid/ { print $2 }' "/proc/$(jq .pid "$T/out")/status")" 300999
	rootless_ok exec --user 7:8 "$c" id
	check_contains "$T/out" "uid=7 gid=8"
	rootless_ok delete -f "$c"
	nothing_of_olgas
}

test_ids_that_are_not_his_are_refused() {
	need_user
	rootless_bundle '.linux.uidMappings = [{"containerID": 0, "hostID": 0, "size": 1}] | .process.args = ["id"]'
	rootless run --bundle "$T/b" "$(oci_id u)"
	check_eq "$status" 1
	check_contains "$T/err" "see /etc/subuid" # beside it stands what newuidmap says
	nothing_of_olgas
}

test_without_delegation_limits_are_an_error_and_nothing_else_is() {
	need_user
	rootless_bundle '.process.args = ["true"] | .linux.resources = {"devices": [{"allow": false, "access": "rwm"}]}'
	rootless_ok run --bundle "$T/b" "$(oci_id u)"
	rootless_bundle '.process.args = ["true"] | .linux.resources = {"pids": {"limit": 10}}'
	rootless run --bundle "$T/b" "$(oci_id u)"
	check_eq "$status" 1
	check_contains "$T/err" cgroup
	nothing_of_olgas
}

hierarchies() { # that groups can be made in
	for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ ! -f "$hierarchy/cgroup.procs" ] || echo "$hierarchy"
	done
}

test_with_delegation_limits_and_the_freezer_are_his() {
	need_user
	GROUP=fsbox-test-$$-olga
	for hierarchy in $(hierarchies); do
		case $hierarchy in /sys/fs/cgroup/[a-z]*) [ ! -e /sys/fs/cgroup/cgroup.controllers ] || continue ;; esac
		mkdir "$hierarchy/$GROUP"
		if [ -e "$hierarchy/$GROUP/cpuset.cpus" ] && [ ! -e "$hierarchy/cgroup.controllers" ]; then
			cat "$hierarchy/cpuset.cpus" >"$hierarchy/$GROUP/cpuset.cpus"
			cat "$hierarchy/cpuset.mems" >"$hierarchy/$GROUP/cpuset.mems"
			echo 1 >"$hierarchy/$GROUP/cgroup.clone_children"
		fi
		mkdir "$hierarchy/$GROUP/shell"
		chown -R "$OLGA" "$hierarchy/$GROUP"
	done
	c=$(oci_id u)
	rootless_bundle ".process.args = [\"sleep\", \"60\"] | .linux.cgroupsPath = \"/$GROUP/$c\" | .linux.resources = {\"pids\": {\"limit\": 10}}"
	rootless_ok run -d --bundle "$T/b" "$c"
	check_eq "$(group_file "$c" pids pids.max pids.max)" 10
	rootless_ok ps --format json "$c"
	check_eq "$(jq length "$T/out")" 1
	rootless_ok pause "$c"
	rootless_ok state "$c"
	check_eq "$(jq -r .status "$T/out")" paused
	rootless_ok resume "$c"
	rootless_ok update --pids-limit 11 "$c"
	check_eq "$(group_file "$c" pids pids.max pids.max)" 11
	rootless_ok delete -f "$c"
	find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -exec rmdir {} +
	nothing_of_olgas
}

# Root of a user namespace that the engine has made: no namespace of its own in config.json.
test_as_root_of_a_user_namespace_as_rootless_podman_is() {
	need_user
	rootless_bundle 'del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= map(select(.type != "user")) | .process.args = ["sh", "-c", "id -u; exit 3"]'
	run as_olga unshare --user --map-root-user --mount "$T/bin/fsbox-oci" run --bundle "$T/b" "$(oci_id u)"
	check_eq "$status" 3
	check_eq "$(cat "$T/out")" 0
	nothing_of_olgas
}

# PID and time namespaces are entered there, and nobody gets back from them into the machine's.
test_root_of_a_user_namespace_enters_and_shares_what_is_made_there() {
	need_user
	rootless_bundle 'del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= (map(select(.type != "user")) + [{"type": "time"}])
		| .linux.timeOffsets = {"boottime": {"secs": 7}} | .process.args = ["sleep", "60"]'
	cat >"$T/twice.sh" <<-'END'
		oci=$1 b=$2 id=$3
		"$oci" run -d --bundle "$b" "$id" </dev/null >/dev/null || exit 20
		pid=$("$oci" state "$id" | jq .pid)
		"$oci" exec "$id" sh -c 'for n in pid time; do readlink /proc/self/ns/$n; done; exit 3'
		[ $? = 3 ] || exit 21
		readlink "/proc/$pid/ns/pid" "/proc/$pid/ns/time"
		jq "(.linux.namespaces[] | select(.type == \"pid\")).path = \"/proc/$pid/ns/pid\"
			| .process.args = [\"readlink\", \"/proc/self/ns/pid\"]" "$b/config.json" >"$b/shared.json"
		"$oci" run --bundle "$b" --config "$b/shared.json" "$id-2" </dev/null || exit 22
		"$oci" delete --force "$id" || exit 23
	END
	chmod 644 "$T/twice.sh"
	run as_olga unshare --user --map-root-user --mount sh "$T/twice.sh" "$T/bin/fsbox-oci" "$T/b" "$(oci_id u)"
	check_eq "$status" 0
	check_eq "$(sed -n 1,2p "$T/out")" "$(sed -n 3,4p "$T/out")"
	check_eq "$(sed -n 5p "$T/out")" "$(sed -n 1p "$T/out")"
	nothing_of_olgas
}

# ---- podman ----

pod() {
	as_olga env CONTAINERS_CONF="$T/containers.conf" timeout 120 podman --root "$T/home/storage" --runroot "$T/run/containers" --storage-driver vfs \
		--cgroup-manager cgroupfs --events-backend file --runtime "$T/bin/fsbox-oci" "$@"
}
pod_says() { # TEXT COMMAND...: podman succeeds and prints this
	said=$1
	shift
	run pod "$@"
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" "$said"
}
# It keeps a process that holds its user namespace.
podman_ends() {
	pod rm --all --force --time 0 || :
	pod system migrate || :
	[ ! -s "$T/run/libpod/tmp/pause.pid" ] || kill -KILL "$(cat "$T/run/libpod/tmp/pause.pid")" || :
} >>"$T/ends" 2>&1

test_podman_of_an_ordinary_user() {
	need_user
	command -v podman >/dev/null || skip "no podman (Debian packages podman and conmon)"
	cat >"$T/containers.conf" <<-EOF
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
		netns = "none"
		log_driver = "k8s-file"
		[engine]
		events_logger = "file"
	EOF
	trap 'podman_ends; olga_ends; oci_end_all' EXIT
	tar -C "$T/rootfs" -cf "$T/image.tar" .
	pod import "$T/image.tar" bb >"$T/import" 2>&1 || skip_host "podman cannot import an image here: $(tail -n 1 "$T/import")"
	pod_says 0 run --rm bb id -u
	check_eq "$(pod run --rm bb cat /proc/self/uid_map | awk '{ print $1, $2, $3 }' | head -n 1)" "0 $OLGA 1"
	pod_says 1000 run --rm --user 1000 bb id -u
	run pod run --rm bb sh -c 'exit 42'
	check_eq "$status" 42
	run pod run --rm bb nosuchprogram
	check_eq "$status" 127
	run pod run -d --name day bb sh -c 'echo begun; trap "exit 0" TERM; while :; do sleep 0.1; done'
	check_eq "$status" 0
	pod_says "in 0" exec day sh -c 'echo in $(id -u)'
	run pod exec day sh -c 'exit 7'
	check_eq "$status" 7
	pod_says day ps --format '{{.Names}}'
	# By fsbox-oci, and as root of podman's user namespace.
	check_eq "$(find "$T/run/fsbox-oci" -name state.json | wc -l)" 1
	pod_says day stop --time 20 day
	pod_says begun logs day
	check_eq "$(pod inspect -f '{{.State.Status}} {{.State.ExitCode}}' day)" "exited 0"
	pod_says day start day
	run pod kill --signal KILL day
	check_eq "$status" 0
	run pod rm --force day
	check_eq "$status" 0
	check_eq "$(find "$T/run/fsbox-oci" -mindepth 1)" ""
	podman_ends
	trap 'olga_ends; oci_end_all' EXIT
	check_eq "$(pgrep -u "$OLGA" --runstates DIRSTt || :)" ""
}

run_tests "$@"
