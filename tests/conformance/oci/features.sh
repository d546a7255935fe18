#!/bin/sh
# runtime-spec, features.md and features-linux.md: what the document lists is taken in config.json. Which sentence each test
# stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

listed() { "$OCI" features | jq -r "$1 // [] | .[]"; } # JQ-PATH: one a line
quoted() { jq -Rsc 'split("\n") | map(select(. != ""))'; } # lines as an array

test_the_document_is_json_and_has_both_versions() {
	need_oci
	"$OCI" features >"$T/out"
	check jq -e '(.ociVersionMin | type == "string") and (.ociVersionMax | type == "string")' "$T/out"
	[ "$(jq -r '.ociVersionMin, .ociVersionMax' "$T/out" | sort -V | head -n 1)" = "$(jq -r .ociVersionMin "$T/out")" ] || fail "Max is less than Min"
}

test_both_versions_are_taken() {
	need_oci
	for which in ociVersionMin ociVersionMax; do
		in_container true ".ociVersion = \"$("$OCI" features | jq -r ".$which")\""
		check_eq "$status" 0
	done
}

test_the_document_has_only_properties_of_the_spec() {
	need_oci
	"$OCI" features >"$T/out"
	keys() { jq -r "$1 | keys[]" "$T/out" | grep -vxE "$2" || :; }
	check_eq "$(keys . 'ociVersionMin|ociVersionMax|hooks|mountOptions|linux|annotations|potentiallyUnsafeConfigAnnotations')" ""
	check_eq "$(keys .linux 'namespaces|capabilities|cgroup|seccomp|apparmor|selinux|intelRdt|memoryPolicy|mountExtensions|netDevices')" ""
	check_eq "$(keys .linux.cgroup 'v1|v2|systemd|systemdUser|rdma')" ""
	check_eq "$(keys .linux.seccomp 'enabled|actions|operators|archs|knownFlags|supportedFlags')" ""
	check_eq "$(keys .linux.intelRdt 'enabled|schemata|monitoring')" ""
	check_eq "$(keys .linux.mountExtensions idmap)" ""
	check_eq "$(jq '[.. | select(. == null)] | length' "$T/out")" 0
}

test_the_document_does_not_depend_on_who_asks_and_where() {
	need_oci
	static() { jq -S 'del(.annotations["io.fsbox.checkpoint.enabled"])'; } # which says whether this machine has a CRIU for us
	"$OCI" features | static >"$T/root"
	mkdir "$T/bin"
	cp "$OCI" "$T/bin/fsbox-oci"
	[ ! -e "${OCI%/*}/fsbox-scope" ] || cp "${OCI%/*}/fsbox-scope" "$T/bin/" # with it there is systemd's driver
	chmod 755 "$TAP_DIR" "$T" "$T/bin"
	(cd / && env -i setpriv --reuid 65534 --regid 65534 --clear-groups "$T/bin/fsbox-oci" features) | static >"$T/nobody"
	check cmp "$T/root" "$T/nobody"
	unshare -m sh -c "mount -t tmpfs none /sys && mount -t tmpfs none /run && $OCI features" | static >"$T/bare"
	check cmp "$T/root" "$T/bare"
}

test_listed_hooks_run() {
	need_oci
	jq_program='.process.args = ["true"] | .root.readonly = false'
	for kind in $(listed .hooks); do
		jq_program="$jq_program | .hooks.$kind = [{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo $kind >>$([ "$kind" = startContainer ] || echo "$T")/ran\"]}]"
	done
	bundle b "$jq_program"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(cat "$T/ran" "$T/rootfs/ran" | sort)" "$(listed .hooks | sort)"
	check_eq "$(listed .hooks | sort | tr '\n' ' ')" "createContainer createRuntime poststart poststop prestart startContainer "
}

# A file system refuses a word that it does not know, so what a tmpfs can be mounted with is recognised.
test_listed_mount_options_are_recognised() {
	need_oci
	mkdir "$T/src"
	list="" n=0
	for option in $(listed .mountOptions); do
		n=$((n + 1))
		case $option in
		bind | rbind | copy-symlink | src-nofollow | dest-nofollow | r*time | r[dn]* | rro | rrw | rexec | rsuid | rsymfollow)
			mount="\"source\": \"$T/src\", \"options\": [\"rbind\", \"$option\"]"
			;;
		idmap | ridmap | remount) continue ;;
		*) mount="\"type\": \"tmpfs\", \"source\": \"t\", \"options\": [\"$option\"]" ;;
		esac
		case $option in relatime | rprivate | rshared | rslave | runbindable | remount) mount="\"type\": \"tmpfs\", \"source\": \"t\", \"options\": [\"$option\"]" ;; esac
		list="$list, {\"destination\": \"/m/$n\", $mount}"
	done
	in_container 'grep -c " /m/" /proc/self/mountinfo' ".mounts += [${list#, }]"
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" "$((n - $(listed .mountOptions | grep -cxE 'idmap|ridmap|remount')))"
	refused '.mounts += [{"destination": "/x", "type": "tmpfs", "source": "t", "options": ["nosuchoption"]}]' nosuchoption
}

test_listed_mount_options_are_all_that_the_spec_demands() {
	need_oci
	for option in async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec \
		noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared rslave \
		runbindable rw shared silent slave strictatime suid sync unbindable \
		nosymfollow ratime rdev rdiratime rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
		rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow symfollow idmap ridmap; do
		listed .mountOptions | grep -qx "$option" || fail "no $option"
	done
	! listed .mountOptions | grep -E '^(size|mode|nr_inodes|uid|gid|newinstance|ptmxmode)' || fail "a file system's own option"
}

test_listed_namespaces_are_taken() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	in_container true ".linux.namespaces = ($(listed .linux.namespaces | quoted) | map({\"type\": .})) | .linux.uidMappings = [{\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}] | .linux.gidMappings = .linux.uidMappings"
	check_eq "$status" 0
	check_eq "$(listed .linux.namespaces | sort | tr '\n' ' ')" "cgroup ipc mount network pid time user uts "
}

test_listed_capabilities_are_given() {
	need_oci
	in_container 'awk "/CapBnd/ { print \$2 }" /proc/self/status' ".process.capabilities = {\"bounding\": $(listed .linux.capabilities | quoted)}"
	check_eq "$(cat "$T/out")" "$(awk '/CapBnd/ { print $2 }' /proc/self/status)"
	check_eq "$(listed .linux.capabilities | wc -l)" "$(($(cat /proc/sys/kernel/cap_last_cap) + 1))"
}

test_listed_words_of_seccomp_are_taken() {
	need_oci
	for action in $(listed .linux.seccomp.actions); do
		[ "$action" != SCMP_ACT_NOTIFY ] || continue # wants somebody who listens: see seccomp.sh
		in_container true ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"swapon\"], \"action\": \"$action\"}]}"
		check_eq "$status" 0
	done
	for op in $(listed .linux.seccomp.operators); do
		in_container true ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"swapon\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": [{\"index\": 0, \"value\": 1, \"valueTwo\": 1, \"op\": \"$op\"}]}]}"
		check_eq "$status" 0
	done
	for flag in $(listed .linux.seccomp.supportedFlags); do
		in_container 'grep Seccomp: /proc/self/status' ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"$flag\"], \"syscalls\": [{\"names\": [\"swapon\"], \"action\": \"SCMP_ACT_ERRNO\"}]}"
		check_matches "$T/out" '2$'
	done
	in_container true ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": $(listed .linux.seccomp.archs | quoted), \"syscalls\": [{\"names\": [\"swapon\"], \"action\": \"SCMP_ACT_ERRNO\"}]}"
	check_eq "$status" 0
	for flag in $(listed .linux.seccomp.knownFlags); do # known: parsed, whatever this kernel does with it
		in_container true ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"$flag\"], \"syscalls\": [{\"names\": [\"swapon\"], \"action\": \"SCMP_ACT_ERRNO\"}]}"
		check_lacks "$T/err" "unknown flag"
	done
	check_eq "$(for flag in $(listed .linux.seccomp.supportedFlags); do listed .linux.seccomp.knownFlags | grep -qx "$flag" || echo "$flag"; done)" ""
}

test_listed_memory_policies_are_taken() {
	need_oci
	[ -n "$(listed .linux.memoryPolicy.modes)" ] || skip "this build has no memory policies"
	for mode in $(listed .linux.memoryPolicy.modes); do
		nodes=', "nodes": "0"'
		case $mode in MPOL_DEFAULT | MPOL_LOCAL) nodes= ;; esac
		in_container true ".linux.memoryPolicy = {\"mode\": \"$mode\"$nodes}"
		check_lacks "$T/err" '$.linux.memoryPolicy'
	done
	for flag in $(listed .linux.memoryPolicy.flags); do
		in_container true ".linux.memoryPolicy = {\"mode\": \"MPOL_BIND\", \"nodes\": \"0\", \"flags\": [\"$flag\"]}"
		check_lacks "$T/err" '$.linux.memoryPolicy'
	done
}

test_idmapped_mounts_are_announced() {
	need_oci
	check_eq "$("$OCI" features | jq .linux.mountExtensions.idmap.enabled)" true
}

run_tests "$@"
