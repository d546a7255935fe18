#!/bin/sh
# runtime-spec, config.md: mounts. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# Mounts of folders of their own, NAME OPTION[,OPTION...] a line, as binds of $T/src or as tmpfs; the container prints its
# mountinfo as "NAME MOUNT-OPTIONS TAGS TYPE SUPER-OPTIONS".
mounted() { # bind|tmpfs, lines on standard input
	case $1 in
	bind) how="\"type\": \"none\", \"source\": \"$T/src\"" first='"bind"' ;;
	tmpfs) how='"type": "tmpfs", "source": "t"' first='"rw"' ;;
	esac
	mkdir -p "$T/src"
	list=
	while read -r name options; do
		list="$list${list:+, }{\"destination\": \"/m/$name\", $how, \"options\": [$first, $(echo "$options" | sed 's/[^,]*/"&"/g')]}"
	done
	in_container 'cat /proc/self/mountinfo' ".mounts += [$list]"
	check_eq "$status" 0
	awk '$5 ~ "^/m/" { tags = ""; for (i = 7; $i != "-"; i++) tags = tags " " $i; print substr($5, 4), $6, "tags=" tags, $(i + 1), $(i + 3) }' "$T/out" >"$T/mounts"
}

has() { # NAME OPTION: of the mount point, as mountinfo writes it
	check_matches "$T/mounts" "^$1 ([^ ]*,)?$2(,[^ ]*)? "
}
lacks() {
	! grep -qE "^$1 ([^ ]*,)?$2(,[^ ]*)? " "$T/mounts" || fail "$1 has $2: $(grep "^$1 " "$T/mounts")"
}

test_mounts_are_made_in_the_listed_order() {
	need_oci
	mkdir "$T/src"
	echo second >"$T/src/file"
	in_container 'ls /a; cat /a/b/file; ls /c' ".mounts += [
		{\"destination\": \"/a\", \"type\": \"tmpfs\", \"source\": \"t\"},
		{\"destination\": \"/a/b\", \"source\": \"$T/src\", \"options\": [\"bind\"]},
		{\"destination\": \"/c\", \"source\": \"$T/src\", \"options\": [\"bind\"]},
		{\"destination\": \"/c\", \"type\": \"tmpfs\", \"source\": \"over\"}]"
	check_eq "$status" 0
	check_eq "$(tr '\n' ' ' <"$T/out")" "b second "
}

test_a_destination_may_be_relative_to_the_root() {
	need_oci
	in_container 'cat /proc/self/mountinfo' '.process.cwd = "/tmp" | .mounts += [{"destination": "relative/place", "type": "tmpfs", "source": "t"}]'
	check_matches "$T/out" ' /relative/place '
}

test_the_source_of_a_bind_may_be_relative_to_the_bundle() {
	need_oci
	bundle in .
	mkdir "$T/in/data"
	echo here >"$T/in/data/file"
	cd /
	in_container 'cat /x/file; cat /y' '.mounts += [{"destination": "/x", "source": "data", "options": ["bind"]}, {"destination": "/y", "source": "data/file", "options": ["bind"]}]'
	check_eq "$(tr '\n' ' ' <"$T/out")" "here here "
}

test_bind_and_rbind_make_a_bind_whatever_the_type() {
	need_oci
	mkdir -p "$T/src/sub"
	mount -t tmpfs none "$T/src/sub"
	echo sub >"$T/src/sub/file"
	in_container 'cat /a/sub/file; cat /b/sub/file; cat /c/sub/file' ".mounts += [
		{\"destination\": \"/a\", \"type\": \"ext4\", \"source\": \"$T/src\", \"options\": [\"rbind\"]},
		{\"destination\": \"/b\", \"source\": \"$T/src\", \"options\": [\"rbind\"]},
		{\"destination\": \"/c\", \"type\": \"none\", \"source\": \"$T/src\", \"options\": [\"bind\"]}]"
	umount "$T/src/sub"
	check_eq "$(tr '\n' ' ' <"$T/out")" "sub sub "
	check_contains "$T/err" "/c/sub/file"
}

test_a_type_that_the_kernel_does_not_have_is_an_error() {
	need_oci
	refused '.mounts += [{"destination": "/x", "type": "nosuchfs", "source": "x"}]' nosuchfs
	refused '.mounts += [{"destination": "/x", "source": "x"}]' '$.mounts['
	refused '.mounts += [{"type": "tmpfs", "source": "x"}]' destination
	check_nothing_left
}

test_options_of_a_mount_point_are_set_and_cleared() {
	need_oci
	for kind in bind tmpfs; do
		mounted "$kind" <<-EOF
			ro ro
			rw ro,rw
			nosuid nosuid
			suid nosuid,suid
			nodev nodev
			dev nodev,dev
			noexec noexec
			exec noexec,exec
			defaults defaults
			nosymfollow nosymfollow
			symfollow nosymfollow,symfollow
		EOF
		for option in ro nosuid nodev noexec nosymfollow; do
			has "$option" "$option"
			lacks defaults "$option"
		done
		lacks rw ro
		lacks suid nosuid
		lacks dev nodev
		lacks exec noexec
		lacks symfollow nosymfollow
	done
}

test_options_of_access_times_are_set_and_cleared() {
	need_oci
	for kind in bind tmpfs; do
		mounted "$kind" <<-EOF
			noatime noatime
			atime noatime,atime
			relatime strictatime,relatime
			strictatime strictatime
			nostrictatime strictatime,nostrictatime
			norelatime relatime,norelatime
			nodiratime nodiratime
			diratime nodiratime,diratime
		EOF
		has noatime noatime
		lacks atime noatime
		has relatime relatime
		for name in strictatime norelatime; do
			lacks "$name" relatime
			lacks "$name" noatime
		done
		has nostrictatime relatime
		has nodiratime nodiratime
		lacks diratime nodiratime
	done
}

test_options_of_the_file_system_are_set_and_cleared() {
	need_oci
	mounted tmpfs <<-EOF
		sync sync
		async sync,async
		dirsync dirsync
		lazytime lazytime
		nolazytime lazytime,nolazytime
		iversion iversion
		noiversion noiversion
		silent silent
		loud loud
		mand mand
		nomand nomand
	EOF
	for option in sync dirsync lazytime; do
		check_matches "$T/mounts" "^$option .*[ ,]$option(,|\$)"
	done
	check_lacks "$T/mounts" "async rw,relatime tags= tmpfs rw,sync"
	! grep -qE '^async .*[ ,]sync(,|$)' "$T/mounts" || fail "async has sync"
	! grep -qE '^nolazytime .*[ ,]lazytime(,|$)' "$T/mounts" || fail "nolazytime has lazytime"
	check_eq "$(wc -l <"$T/mounts")" 11
}

test_options_of_propagation_are_set() {
	need_oci
	for kind in bind tmpfs; do
		mounted "$kind" <<-EOF
			shared shared
			rshared rshared
			private shared,private
			rprivate shared,rprivate
			slave shared,slave
			rslave shared,rslave
			unbindable unbindable
			runbindable runbindable
		EOF
		for name in shared rshared; do check_matches "$T/mounts" "^$name .*tags=.* shared:"; done
		for name in private rprivate; do check_matches "$T/mounts" "^$name [^ ]* tags= "; done
		for name in unbindable runbindable; do check_matches "$T/mounts" "^$name .*tags=.* unbindable"; done
		for name in slave rslave; do ! grep -qE "^$name .*tags=.* shared:" "$T/mounts" || fail "$name is shared"; done
	done
}

test_remount_changes_what_is_there() {
	need_oci
	mkdir "$T/src"
	in_container 'touch /t/x /b/x; cat /proc/self/mountinfo' ".mounts += [
		{\"destination\": \"/t\", \"type\": \"tmpfs\", \"source\": \"t\"},
		{\"destination\": \"/t\", \"type\": \"tmpfs\", \"source\": \"t\", \"options\": [\"remount\", \"ro\"]},
		{\"destination\": \"/b\", \"source\": \"$T/src\", \"options\": [\"bind\"]},
		{\"destination\": \"/b\", \"source\": \"$T/src\", \"options\": [\"bind\", \"remount\", \"ro\", \"noexec\"]}]"
	check_eq "$(grep -c 'Read-only file system' "$T/err")" 2
	check_eq "$(grep -cE ' /(t|b) ' "$T/out")" 2
	check_matches "$T/out" ' /b ro,noexec'
}

# A bind of a folder with a mount below it: both have the option.
test_recursive_options_reach_what_is_below() {
	need_oci
	mkdir -p "$T/src/sub"
	mount -t tmpfs none "$T/src/sub"
	list=
	while read -r name options wanted; do
		list="$list, {\"destination\": \"/m/$name\", \"source\": \"$T/src\", \"options\": [\"rbind\", $(echo "$options" | sed 's/[^,]*/"&"/g')]}"
	done <<-EOF
		rro rro
		rrw rro,rrw
		rnosuid rnosuid
		rsuid rnosuid,rsuid
		rnodev rnodev
		rdev rnodev,rdev
		rnoexec rnoexec
		rexec rnoexec,rexec
		rnodiratime rnodiratime
		rdiratime rnodiratime,rdiratime
		rnoatime rnoatime
		ratime rnoatime,ratime
		rstrictatime rstrictatime
		rnorelatime rnorelatime
		rrelatime rstrictatime,rrelatime
		rnostrictatime rstrictatime,rnostrictatime
		rnosymfollow rnosymfollow
		rsymfollow rnosymfollow,rsymfollow
	EOF
	in_container 'cat /proc/self/mountinfo' ".mounts += [${list#, }]"
	umount "$T/src/sub"
	check_eq "$status" 0
	awk '$5 ~ "^/m/[a-z]*/sub$" { sub("/sub$", "", $5); print substr($5, 4), $6, "" }' "$T/out" >"$T/mounts"
	for option in ro nosuid nodev noexec nodiratime noatime nosymfollow; do
		has "r$option" "$option"
	done
	lacks rrw ro
	lacks rsuid nosuid
	lacks rdev nodev
	lacks rexec noexec
	lacks rdiratime nodiratime
	lacks ratime noatime
	lacks rsymfollow nosymfollow
	for name in rstrictatime rnorelatime; do lacks "$name" relatime; done
	for name in rrelatime rnostrictatime; do has "$name" relatime; done
}

test_options_that_nobody_knows_are_the_file_systems() {
	need_oci
	mounted tmpfs <<-EOF
		x size=64k,mode=700,nr_inodes=77
	EOF
	check_matches "$T/mounts" 'size=64k,nr_inodes=77,mode=700'
	refused '.mounts += [{"destination": "/x", "type": "tmpfs", "source": "t", "options": ["nosuchoption"]}]' nosuchoption
}

test_tmpcopyup_brings_what_was_there() {
	need_oci
	rootfs "$T/rootfs"
	mkdir "$T/rootfs/data"
	echo lower >"$T/rootfs/data/file"
	in_container 'cat /data/file; echo upper >/data/file' '.mounts += [{"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}]'
	check_eq "$(cat "$T/out")" lower
	check_eq "$(cat "$T/rootfs/data/file")" lower
}

# ---- Ids ----

idmapped() { # OPTIONS [MAPS]: uid and gid of a file of 1000:1000, as the container sees it
	mkdir -p "$T/src/sub"
	echo >"$T/src/file"
	chown 1000:1000 "$T/src/file"
	in_container 'stat -c "%u %g" /tmp/file' "${3:-.} | .mounts += [{\"destination\": \"/tmp\", \"source\": \"$T/src\", \"options\": [$1]${2-}}]"
	! grep -q "mapping the ids.*Invalid argument" "$T/err" || skip_host "this file system maps no ids"
}
maps=', "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1000, "hostID": 7, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1000, "hostID": 8, "size": 1}]'

test_idmap_uses_the_mounts_own_maps() {
	need_oci
	for option in idmap ridmap; do
		idmapped "\"rbind\", \"$option\"" "$maps"
		check_eq "$(cat "$T/out")" "7 8"
	done
	idmapped '"bind"' "$maps" # without the word, which only keeps old runtimes from being silent
	check_eq "$(cat "$T/out")" "7 8"
}

test_idmap_without_maps_uses_the_containers_or_is_an_error() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	for option in idmap ridmap; do
		refused ".mounts += [{\"destination\": \"/b\", \"source\": \"$T\", \"options\": [\"bind\", \"$option\"]}]" '$.mounts['
	done
	idmapped '"bind", "idmap"' '' '.linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] | .linux.gidMappings = .linux.uidMappings'
	check_eq "$(cat "$T/out")" "1000 1000"
}

test_maps_of_uids_and_gids_come_together() {
	need_oci
	one='[{"containerID": 0, "hostID": 0, "size": 1}]'
	for which in uidMappings gidMappings; do
		refused ".mounts += [{\"destination\": \"/b\", \"source\": \"$T\", \"options\": [\"bind\", \"idmap\"], \"$which\": $one}]" "belong together"
	done
}

run_tests "$@"
