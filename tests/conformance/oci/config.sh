#!/bin/sh
# runtime-spec, bundle.md and config.md: the bundle, version, root, names, annotations, what is unknown, the example. Which
# sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# ---- Bundle ----

test_a_bundle_is_a_folder_with_config_json() {
	need_oci
	bundle b '.process.args = ["true"]'
	mv "$T/b/config.json" "$T/b/Config.json"
	oci create --bundle "$T/b" "$(oci_id c)"
	check_eq "$status" 1
	check_contains "$T/err" config.json
	mv "$T/b/Config.json" "$T/b/config.json"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
}

test_a_bundle_may_move() {
	need_oci
	bundle b '.process.args = ["cat", "/file"]'
	rm "$T/b/rootfs"
	mv "$T/rootfs" "$T/b/rootfs"
	echo moved >"$T/b/rootfs/file"
	mkdir "$T/elsewhere"
	mv "$T/b" "$T/elsewhere/c"
	oci_ok run --bundle "$T/elsewhere/c" "$(oci_id c)"
	check_eq "$(cat "$T/out")" moved
}

# ---- Version ----

test_versions_of_the_spec_are_taken() {
	need_oci
	for version in 1.0.0 1.0.2-dev 1.1.0-rc.1 1.2.1 1.3.0 1.3.0+build.7; do
		bundle b ".process.args = [\"true\"] | .ociVersion = \"$version\""
		oci_ok run --bundle "$T/b" "$(oci_id c)"
	done
}

test_a_version_that_is_none_is_an_error() {
	need_oci
	for version in '"1.0"' '"1"' '""' '"v1.0.0"' '"1.0.x"' '"1.0.0-"' '"01.0.0"' '"1.0.0.0"' '"1.0.0 "' 1 null; do
		refused ".ociVersion = $version" ociVersion
	done
	refused 'del(.ociVersion)' ociVersion
	refused '.ociVersion = "2.0.0"' ociVersion
	refused '.ociVersion = "0.5.0"' ociVersion
}

# ---- Root ----

test_the_root_is_required_and_a_folder() {
	need_oci
	echo >"$T/file"
	refused 'del(.root)' root
	refused 'del(.root.path)' path
	refused '.root.path = "nosuch"' nosuch
	refused ".root.path = \"$T/file\"" "$T/file"
}

test_the_path_of_the_root_is_absolute_or_of_the_bundle() {
	need_oci
	rootfs "$T/other"
	echo other >"$T/other/name"
	in_container 'cat /name' ".root.path = \"$T/other\""
	check_eq "$(cat "$T/out")" other
	in_container 'cat /name' '.root.path = "../other"'
	check_eq "$(cat "$T/out")" other
}

test_a_read_only_root_cannot_be_written() {
	need_oci
	in_container 'touch /x' '.root.readonly = true'
	check_eq "$status" 1
	check_contains "$T/err" "Read-only file system"
}

test_a_root_can_be_written_by_default() {
	need_oci
	in_container 'touch /x' 'del(.root.readonly)'
	check_eq "$status" 0
	[ -e "$T/rootfs/x" ] || fail "not written"
}

# ---- Names ----

test_host_and_domain_name_are_the_containers() {
	need_oci
	in_container 'hostname; cat /proc/sys/kernel/domainname' '.hostname = "mrs-dalloway" | .domainname = "party.example"'
	check_eq "$(tr '\n' ' ' <"$T/out")" "mrs-dalloway party.example "
	[ "$(cat /proc/sys/kernel/hostname)" != mrs-dalloway ] || fail "the host is renamed"
}

# ---- Annotations ----

test_annotations_are_strings_by_keys_that_are_not_empty() {
	need_oci
	refused '.annotations = {"": "x"}' annotation
	refused '.annotations = {"com.example.n": 1}' com.example.n
	refused '.annotations = ["x"]' annotations
}

test_annotations_that_are_unknown_change_nothing() {
	need_oci
	bundle b '.process.args = ["sleep", "60"] | .annotations = {"com.example.unknown": "x", "org.opencontainers.image.os": "linux", "org.opencontainers.nosuch": "1", "empty": ""}'
	c=$(oci_id c)
	oci_ok run -d --bundle "$T/b" "$c"
	oci_ok state "$c"
	check jq -e '.annotations["com.example.unknown"] == "x" and .annotations.empty == "" and (.annotations | length) == 4' "$T/out"
	oci_ok delete -f "$c"
}

# ---- Extensibility, valid values ----

test_unknown_properties_are_ignored() {
	need_oci
	unknown='{"a": [1, null, {"b": -1.5e3}]}'
	in_container true ".nosuch = $unknown | .process.nosuch = $unknown | .process.user.nosuch = $unknown | .process.capabilities.nosuch = $unknown | .root.nosuch = $unknown | .mounts[0].nosuch = $unknown | .hooks = {\"nosuch\": $unknown} | .linux.nosuch = $unknown | .linux.namespaces[0].nosuch = $unknown | .linux.resources.nosuch = $unknown | .linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"nosuch\": $unknown}"
	check_eq "$status" 0
}

test_other_platforms_are_ignored() {
	need_oci
	in_container true '.windows = {"layerFolders": ["C:\\x"]} | .solaris = {"milestone": "x"} | .vm = {"kernel": {"path": "/x"}} | .zos = {} | .process.commandLine = "x" | .process.user.username = "x"'
	check_eq "$status" 0
}

test_values_of_another_type_are_errors() {
	need_oci
	refused '.root.readonly = "yes"' '$.root.readonly'
	refused '.process.args = "sh"' '$.process.args'
	refused '.process.user.uid = "0"' '$.process.user.uid'
	refused '.process.user.uid = -1' '$.process.user.uid'
	refused '.process.terminal = 1' '$.process.terminal'
	refused '.process.env = [1]' '$.process.env'
	refused '.hostname = 1' '$.hostname'
	refused '.mounts = {}' '$.mounts'
	refused '.mounts[0].options = "ro"' '$.mounts[0].options'
	refused '.linux.namespaces[0] = "pid"' '$.linux.namespaces[0]'
	refused '.linux.resources.memory.limit = 1.5' '$.linux.resources.memory.limit'
	refused '.linux.devices = [{"path": "/dev/x", "type": "z"}]' '$.linux.devices[0]'
	refused '.linux.rootfsPropagation = "far"' '$.linux.rootfsPropagation'
	refused '.linux.personality = {"domain": "BSD"}' '$.linux.personality.domain'
	refused '.linux.sysctl = {"net.ipv4.ip_forward": 1}' 'ip_forward'
	check_nothing_left
}

test_a_config_that_is_no_json_is_an_error() {
	need_oci
	bundle b .
	for text in '' '{' '[]' 'null' '{"ociVersion": "1.0.0"} x'; do
		printf '%s' "$text" >"$T/b/config.json"
		oci create --bundle "$T/b" "$(oci_id c)"
		check_eq "$status" 1
		check_eq "$(wc -l <"$T/err")" 1
	done
	check_nothing_left
}

# ---- The example ----

# A config.json with every property that the example of the spec has. What a machine must have for them is left out by what
# this one lacks: labels, disks, pages of an odd size, controllers.
full_config() {
	cat <<-EOF
		{
		  "ociVersion": "1.0.1",
		  "process": {
		    "terminal": false, "user": {"uid": 1, "gid": 2, "additionalGids": [5, 6], "umask": 63},
		    "args": ["sh", "-c", "id; umask; hostname; ulimit -n; cat /proc/self/oom_score_adj; cat /proc/sys/net/core/somaxconn; awk '/NoNewPrivs|CapEff/ { print \$2 }' /proc/self/status; ls -l /dev/fuse; cat /proc/uptime"],
		    "env": ["PATH=/usr/bin:/bin", "TERM=xterm"], "cwd": "/",
		    "capabilities": {
		      "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL"], "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL"],
		      "inheritable": ["CAP_AUDIT_WRITE", "CAP_KILL"], "effective": ["CAP_AUDIT_WRITE", "CAP_KILL"], "ambient": ["CAP_KILL"]
		    },
		    "rlimits": [{"type": "RLIMIT_CORE", "hard": 1024, "soft": 512}, {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1000}],
		    "oomScoreAdj": 100, "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4}, "noNewPrivileges": true
		  },
		  "root": {"path": "rootfs", "readonly": true},
		  "hostname": "magrathea",
		  "mounts": [
		    {"destination": "/proc", "type": "proc", "source": "proc"},
		    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
		    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
		    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
		    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
		    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]},
		    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
		  ],
		  "hooks": {
		    "prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "cat >$T/prestart"], "env": ["key1=value1"]}, {"path": "/bin/true"}],
		    "poststart": [{"path": "/bin/true", "timeout": 5}],
		    "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "cat >$T/poststop"]}]
		  },
		  "linux": {
		    "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
		    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 32000}],
		    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 32000}],
		    "sysctl": {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "256"},
		    "cgroupsPath": "/fsbox-test-$$-runtime/$1",
		    "resources": {
		      "pids": {"limit": 32771},
		      "memory": {"limit": 536870912, "reservation": 536870912, "swappiness": 60, "disableOOMKiller": false},
		      "cpu": {"shares": 1024, "quota": 1000000, "period": 500000, "cpus": "0"},
		      "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}, {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"}]
		    },
		    "rootfsPropagation": "slave",
		    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [{"names": ["getcwd", "chmod"], "action": "SCMP_ACT_ERRNO"}]},
		    "timeOffsets": {"monotonic": {"secs": 172800, "nanosecs": 0}, "boottime": {"secs": 604800, "nanosecs": 0}},
		    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "user"}, {"type": "cgroup"}, {"type": "time"}],
		    "maskedPaths": ["/proc/kcore", "/proc/latency_stats", "/proc/timer_stats", "/proc/sched_debug"],
		    "readonlyPaths": ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
		  },
		  "annotations": {"com.example.key1": "value1", "com.example.key2": "value2"}
		}
	EOF
}

test_the_example_with_all_its_properties() {
	need_oci
	[ -e /dev/fuse ] || skip_host "no /dev/fuse"
	chmod 755 "$TAP_DIR" "$T"
	c=$(oci_id c)
	bundle b .
	mkdir -p "$T/rootfs/dev" "$T/rootfs/sys"
	full_config "$c" >"$T/b/config.json"
	oci_ok run --bundle "$T/b" "$c"
	check_contains "$T/out" "uid=1 gid=2 groups=5,6"
	check_eq "$(sed -n '2,6p' "$T/out" | tr '\n' ' ')" "0077 magrathea 1000 100 256 "
	check_matches "$T/out" '^c.* 10, *229 .*/dev/fuse$'
	[ "$(tail -n 1 "$T/out" | cut -d . -f 1)" -ge 604800 ] || fail "boottime is not set"
	check_eq "$(jq -r '.annotations["com.example.key2"]' "$T/prestart")" value2
	check_eq "$(jq -r .status "$T/poststop")" stopped
	find /sys/fs/cgroup -depth -type d -name "fsbox-test-$$-runtime" -exec rmdir {} + # the parent is nobody's to remove
	check_nothing_left
}

run_tests "$@"
