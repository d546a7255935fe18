#!/bin/sh
# shellcheck disable=SC2086 # units and groups have no blanks
# fsbox-oci with systemd's cgroup driver as an ordinary user: scopes of his own manager. Needs systemd as PID 1.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
USER_ID=1000
USER_NAME=$(sed -n "s/^\([^:]*\):[^:]*:$USER_ID:.*/\1/p" /etc/passwd | head -n 1)
HOME_DIR=/home/$USER_NAME
MANAGER=/user.slice/user-$USER_ID.slice/user@$USER_ID.service
ROOT=/sys/fs/cgroup

as_user() {
	setpriv --reuid "$USER_ID" --regid "$USER_ID" --init-groups env HOME="$HOME_DIR" USER="$USER_NAME" \
		XDG_RUNTIME_DIR=/run/user/$USER_ID DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$USER_ID/bus "$@"
}
sd() {
	run as_user "$OCI" --systemd-cgroup "$@"
}
sd_ok() {
	sd "$@"
	check_eq "$status" 0
}
user_bundle() { # NAME [JQ-PROGRAM]
	[ -d "$HOME_DIR/bundles/rootfs" ] || {
		mkdir -p "$HOME_DIR/bundles"
		rootfs "$HOME_DIR/bundles/rootfs"
	}
	mkdir -p "$HOME_DIR/bundles/$1"
	rm -f "$HOME_DIR/bundles/$1/config.json" "$HOME_DIR/bundles/$1/rootfs"
	ln -s ../rootfs "$HOME_DIR/bundles/$1/rootfs"
	chown -R "$USER_ID:$USER_ID" "$HOME_DIR/bundles"
	as_user "$OCI" spec --rootless --bundle "$HOME_DIR/bundles/$1"
	jq ".process.terminal = false | $2" "$HOME_DIR/bundles/$1/config.json" >"$T/new"
	cat "$T/new" >"$HOME_DIR/bundles/$1/config.json"
}

test_the_users_manager_runs() {
	need_oci
	check systemctl start user@$USER_ID.service
	wait_until /run/user/$USER_ID/bus there
}

test_a_container_runs_in_a_scope_of_the_users_manager() {
	user_bundle r '.process.args = ["cat", "/proc/self/cgroup", "/proc/self/uid_map"]
		| .linux.namespaces = [.linux.namespaces[] | select(.type != "cgroup")]'
	sd_ok run --bundle "$HOME_DIR/bundles/r" r
	check_eq "$(head -n 1 "$T/out")" "0::$MANAGER/user.slice/fsbox-oci-r.scope"
	check_eq "$(sed -n 2p "$T/out" | tr -s ' ')" " 0 $USER_ID 1"
	check_eq "$(as_user systemctl --user show -P LoadState fsbox-oci-r.scope)" not-found
}

test_limits_hold_and_later_commands_find_it() {
	user_bundle l '.process.args = ["sleep", "600"] | .linux.cgroupsPath = "fsu-x.slice:p:l"
		| .linux.resources = {memory: {limit: 50000000}, pids: {limit: 21}}'
	sd_ok create --bundle "$HOME_DIR/bundles/l" l
	sd_ok start l
	g=$ROOT$MANAGER/fsu.slice/fsu-x.slice/p-l.scope
	check_eq "$(cat $g/memory.max $g/pids.max | tr '\n' ' ')" "49999872 21 "
	check_eq "$(as_user systemctl --user show -P TasksMax p-l.scope)" 21
	# From outside of the manager's groups, where only systemd may move a process in; and from inside.
	run as_user "$OCI" exec l cat /proc/self/cgroup
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" "0::/"
	run as_user "$OCI" exec --detach --pid-file "$T/pid" l sleep 600
	run as_user "$OCI" exec --detach --pid-file "$HOME_DIR/pid" l sleep 600
	check_eq "$status" 0
	check_eq "$(cat "/proc/$(cat "$HOME_DIR/pid")/cgroup")" "0::$MANAGER/fsu.slice/fsu-x.slice/p-l.scope"
	run as_user systemd-run --user --quiet --scope "$OCI" exec l echo inside
	check_eq "$(cat "$T/out")" inside
	run as_user "$OCI" update --pids-limit 22 l
	check_eq "$status" 0
	check_eq "$(cat $g/pids.max)" 22
	run as_user "$OCI" pause l
	check_eq "$status" 0
	check_eq "$(cat $g/cgroup.freeze)" 1
	run as_user "$OCI" resume l
	check_eq "$status" 0
	run as_user "$OCI" delete --force l
	check_eq "$status" 0
	check_eq "$(as_user systemctl --user show -P LoadState p-l.scope)" not-found
	[ ! -e $g ] || fail "$g is still there"
	check_eq "$(ls /run/user/$USER_ID/fsbox-oci)" ""
}

test_root_of_a_users_namespace_has_the_users_manager() {
	user_bundle n '.process.args = ["true"] | .linux.namespaces = [.linux.namespaces[] | select(.type != "user")]
		| del(.linux.uidMappings, .linux.gidMappings)'
	run as_user unshare --user --map-root-user --mount "$OCI" --root "/run/user/$USER_ID/inner" --systemd-cgroup create \
		--bundle "$HOME_DIR/bundles/n" n
	check_eq "$status" 0
	check_eq "$(jq -r .cgroup /run/user/$USER_ID/inner/n/state.json)" "$MANAGER/user.slice/fsbox-oci-n.scope"
	run as_user unshare --user --map-root-user --mount "$OCI" --root "/run/user/$USER_ID/inner" delete --force n
	check_eq "$status" 0
	check_eq "$(as_user systemctl --user show -P LoadState fsbox-oci-n.scope)" not-found
}

test_no_bus_is_said_in_a_line() {
	user_bundle b '.process.args = ["true"]'
	run setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups env -i HOME="$HOME_DIR" XDG_RUNTIME_DIR="$HOME_DIR/none" \
		"$OCI" --root "$HOME_DIR/st" --systemd-cgroup run --bundle "$HOME_DIR/bundles/b" b
	check_eq "$status" 1
	check_contains "$T/err" "connecting to the user's bus"
	check_eq "$(wc -l <"$T/err")" 1
}
run_tests
